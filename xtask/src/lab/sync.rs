//! Files into the lab, each content once.
//!
//! Beside every file that was sent is its digest (`<file>.b3`), written after the file. A file is sent if its digest is
//! missing or differs. The digests are lost together with the files, so a new boot sends everything again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use hearth_emulated::{HostAgentClient, HostAgentError};
use hearth_wire::agent::{ExecPlace, ExecSpec, ExitStatus};

/// Sends `source` to `target` unless the same bytes are there.
pub(super) fn send(agent: &HostAgentClient, source: &Path, target: &Path) -> Result<()> {
    let content = fs::read(source).context("cannot read it")?;
    let digest = blake3::hash(&content).to_hex().to_string();
    let path = target.to_str().context("its path is not UTF-8")?;
    let record = format!("{path}.b3");
    match agent.read_file(&record, digest.len()) {
        Ok(there) if there == digest.as_bytes() => return Ok(()),
        Ok(_) => {}
        // Most often it was never sent, so neither is its directory sure to be there.
        Err(HostAgentError::Refused(_)) => make_directory(agent, target)?,
        Err(error) => return Err(error.into()),
    }
    let permissions = fs::metadata(source)?.permissions().mode() & 0o777;
    agent.write_file(path, permissions, &mut content.as_slice())?;
    agent.write_file(&record, 0o644, &mut digest.as_bytes())?;
    Ok(())
}

fn make_directory(agent: &HostAgentClient, target: &Path) -> Result<()> {
    let directory = target.parent().context("it has no directory")?;
    shell(agent, &format!("mkdir -p '{}'", directory.display()))
}

/// Runs a line of shell in the lab that is expected to succeed silently.
pub(super) fn shell(agent: &HostAgentClient, line: &str) -> Result<()> {
    let spec = ExecSpec {
        argv: ["/bin/busybox", "sh", "-c", line]
            .map(str::to_owned)
            .to_vec(),
        env: BTreeMap::from([("PATH".into(), "/bin".into())]),
        cwd: "/".into(),
        user: String::new(),
        tty: None,
        place: ExecPlace::Agent,
    };
    let mut complaints = Vec::new();
    match agent.exec(spec, None, &mut io::sink(), &mut complaints)? {
        ExitStatus::Code(0) => Ok(()),
        status => bail!(
            "`{line}` failed in the lab ({status:?}): {}",
            String::from_utf8_lossy(&complaints).trim()
        ),
    }
}
