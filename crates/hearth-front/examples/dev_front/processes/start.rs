//! What a process environment consists of, and which programs run in it.

use std::fs;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use hearth_invoke::{
    CodeFile, EnvironmentSpec, Program, ProgramEnd, ProgramKind, SpawnError, StartError,
};
use hearth_zip::{Archive, ArchiveLimits};
use rustix::process::Pid;
use tokio::process::Command;

/// Where code, layers and temporary files of an environment lie.
const TASK: &str = "task";
const OPT: &str = "opt";
const TMP: &str = "tmp";

/// Unpacks code and layers.
pub(super) fn unpack(spec: &EnvironmentSpec, root: &Path) -> Result<(), StartError> {
    let broken = |error: Error| StartError::Broken(error.to_string());
    for folder in [TASK, OPT, TMP] {
        fs::create_dir_all(root.join(folder)).map_err(broken)?;
    }
    unzip(&spec.code, &root.join(TASK))?;
    for layer in &spec.layers {
        unzip(layer, &root.join(OPT))?;
    }
    Ok(())
}

fn unzip(file: &CodeFile, target: &Path) -> Result<(), StartError> {
    let unusable = |error: &dyn std::fmt::Display| StartError::CodeUnusable(error.to_string());
    let limits = ArchiveLimits {
        archive_bytes: 262_144_000,
        ratio: 2000,
        entries: 250_000,
        content_bytes: 262_144_000,
        name_bytes: 1024,
    };
    let archive = Archive::open(&file.path, &limits).map_err(|error| unusable(&error))?;
    let tar = target.with_extension("tar");
    let sink = fs::File::create(&tar).map_err(|error| unusable(&error))?;
    archive.write_tar(sink).map_err(|error| unusable(&error))?;
    let source = fs::File::open(&tar).map_err(|error| unusable(&error))?;
    let mut unpacked = tar::Archive::new(source);
    unpacked.set_preserve_permissions(true);
    unpacked.unpack(target).map_err(|error| unusable(&error))?;
    drop(fs::remove_file(tar));
    Ok(())
}

/// The executable files directly in `/opt/extensions`.
pub(super) fn extensions(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join(OPT).join("extensions"));
    let entries = entries.into_iter().flatten().flatten();
    let executable = entries.filter(|entry| is_executable(&entry.path()));
    let mut names: Vec<String> = executable
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The command of a program.
pub(super) fn command(
    spec: &EnvironmentSpec,
    root: &Path,
    program: Program,
) -> Result<Command, SpawnError> {
    let (path, arguments) = match &program.kind {
        ProgramKind::Bootstrap => bootstrap(spec, root)?,
        ProgramKind::Extension(name) => (root.join(OPT).join("extensions").join(name), Vec::new()),
    };
    let mut variables = program.variables;
    // These name files of a guest.
    variables.remove("LD_LIBRARY_PATH");
    let of_guest = [
        ("LAMBDA_TASK_ROOT", TASK),
        ("HEARTH_DEV_OPT", OPT),
        ("TMPDIR", TMP),
    ];
    for (name, folder) in of_guest {
        let path = root.join(folder).to_string_lossy().into_owned();
        variables.insert(name.to_owned(), path);
    }
    let mut command = Command::new(path);
    command
        .args(arguments)
        .env_clear()
        .envs(variables)
        .current_dir(root.join(TASK))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    Ok(command)
}

fn bootstrap(spec: &EnvironmentSpec, root: &Path) -> Result<(PathBuf, Vec<String>), SpawnError> {
    let not_built = |name: &str| {
        let text = format!("the tests name no program for {}: set {name}", spec.runtime);
        SpawnError::NotExecutable(text)
    };
    let named = |name: &str| std::env::var(name).map_err(|_| not_built(name));
    if spec.runtime.starts_with("python") {
        let arguments = ["-m", "awslambdaric", &spec.handler].map(str::to_owned);
        return Ok((named("HEARTH_DEV_PYTHON")?.into(), arguments.to_vec()));
    }
    if spec.runtime.starts_with("nodejs") {
        let arguments = vec![named("HEARTH_DEV_NODE_RIC")?, spec.handler.clone()];
        return Ok(("node".into(), arguments));
    }
    let places = [(TASK, "/var/task/bootstrap"), (OPT, "/opt/bootstrap")];
    let found = places
        .iter()
        .map(|(folder, _)| root.join(folder).join("bootstrap"))
        .find(|path| is_executable(path));
    let missing = || SpawnError::NoBootstrap(places.map(|(_, guest)| guest.to_owned()).to_vec());
    Ok((found.ok_or_else(missing)?, Vec::new()))
}

/// Go's words for why a program was not started.
pub(super) fn reason(error: &Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "no such file or directory".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ if error.raw_os_error() == Some(8) => "exec format error".to_owned(),
        _ => error.to_string(),
    }
}

pub(super) fn end(status: ExitStatus) -> ProgramEnd {
    match (status.code(), status.signal()) {
        (Some(code), _) => ProgramEnd::Exited(code),
        (None, Some(signal)) => ProgramEnd::Signaled(signal),
        (None, None) => ProgramEnd::Lost,
    }
}

/// The most memory that a process has had.
pub(super) fn peak_bytes(pid: Pid) -> Option<u64> {
    let status = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = fs::read_to_string(status).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1024)
}
