//! Copies files into the emulated host.
//!
//! Every byte crosses an emulated network card, so neither holes nor files that are there already are sent.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail};
use hearth_emulated::HostAgentClient;
use hearth_wire::agent::ExitStatus;

use super::{run_inside, spec};

/// Length of a digest in hexadecimal.
const DIGEST_BYTES: usize = 64;

/// Unit in which busybox places an extent; holes of files are at least as large.
const BLOCK_BYTES: u64 = 4096;

/// Sends a file, unless a file with the same content was sent to that path before. Its digest is kept beside it.
pub(super) fn once(agent: &HostAgentClient, from: &Path, mode: u32, to: &str) -> Result<()> {
    let (mut file, digest) = open(from)?;
    let beside = format!("{to}.blake3");
    let known = agent.read_file(&beside, DIGEST_BYTES);
    if known.is_ok_and(|known| known == digest.as_bytes()) {
        return Ok(());
    }
    let failed = || format!("cannot send {} inside", from.display());
    agent.write_file(to, mode, &mut file).with_context(failed)?;
    let mut digest = digest.as_bytes();
    agent
        .write_file(&beside, 0o444, &mut digest)
        .with_context(failed)
}

/// Sends a file with the holes that it has.
pub(super) fn sparse(agent: &HostAgentClient, from: &Path, to: &str) -> Result<()> {
    let mut file = File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
    let length = file.metadata()?.len();
    let parent = Path::new(to).parent().unwrap_or(Path::new("/"));
    let busybox = |words: &[&str]| {
        let words = ["/bin/busybox"].iter().chain(words);
        run_inside(agent, words.map(|word| (*word).to_owned()).collect())
    };
    busybox(&["mkdir", "-p", &parent.display().to_string()])?;
    let extents = hearth_image::data_extents(&file)?;
    let has_holes = extents
        .iter()
        .map(|extent| extent.end - extent.start)
        .sum::<u64>()
        < length;
    if !has_holes {
        // The search for holes has moved the position.
        file.rewind()?;
        return agent
            .write_file(to, 0o444, &mut file)
            .with_context(|| format!("cannot send {} inside", from.display()));
    }
    busybox(&["rm", "-f", to])?;
    busybox(&["truncate", "-s", &length.to_string(), to])?;
    for extent in extents {
        send_extent(agent, &mut file, &extent, to)
            .with_context(|| format!("cannot send {} inside", from.display()))?;
    }
    busybox(&["chmod", "0444", to])
}

fn send_extent(
    agent: &HostAgentClient,
    file: &mut File,
    extent: &Range<u64>,
    to: &str,
) -> Result<()> {
    if !extent.start.is_multiple_of(BLOCK_BYTES) {
        bail!("data begins at {}, within a block", extent.start);
    }
    file.seek(SeekFrom::Start(extent.start))?;
    let content = file.try_clone()?.take(extent.end - extent.start);
    let block = extent.start / BLOCK_BYTES;
    let argv = [
        "/bin/busybox",
        "dd",
        &format!("of={to}"),
        &format!("bs={BLOCK_BYTES}"),
        &format!("seek={block}"),
        "conv=notrunc",
        "iflag=fullblock",
    ];
    let argv = argv.map(str::to_owned).to_vec();
    let mut said = Vec::new();
    let status = agent.exec(
        spec(argv),
        Some(Box::new(content)),
        &mut io::sink(),
        &mut said,
    )?;
    if status != ExitStatus::Code(0) {
        bail!("dd failed: {}", String::from_utf8_lossy(&said).trim());
    }
    Ok(())
}

fn open(path: &Path) -> Result<(File, String)> {
    let failed = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(failed)?;
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut file, &mut hasher).with_context(failed)?;
    file.rewind().with_context(failed)?;
    Ok((file, hasher.finalize().to_hex().to_string()))
}
