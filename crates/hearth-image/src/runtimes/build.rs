//! Builds a runtime on this host, as the base images are built: Debian's packages by mmdebstrap, then the packages of
//! the interface client, then a disk.
//!
//! `runtime.sh` makes the tree, in mount and PID namespaces of its own. The disk is written here. What a killed build
//! leaves is removed by the next one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use hearth_base::Progress;
use hearth_wire::agent::FUNCTION_SCRATCH_BYTES;

use super::recipe::{RUNTIMES, RuntimeKind, RuntimeRecipe, recipe_of};
use super::{EMPTY, FORMAT, PACKAGES, RECORD, ROOT, RuntimeVersion, Runtimes, SCRATCH};
use crate::erofs::{self, Attributes, Tree, WalkError, WriteError, walk};
use crate::prepare::search_path;

const SCRIPT: &str = include_str!("runtime.sh");

/// Files that the script puts into a Python runtime.
const PYTHON: [(&str, &str); 2] = [
    ("bootstrap", include_str!("python/bootstrap")),
    ("bootstrap.py", include_str!("python/bootstrap.py")),
];

/// Size of the disk for `/tmp`: the most that a function may have. Sparse.
const SCRATCH_DISK_BYTES: u64 = 10_240 << 20;

/// The time of every file of a root, in seconds since 1970: equal files make equal roots.
const MODIFIED: u64 = 1_700_000_000;

/// Lines of a failed build's output that are shown.
const LAST_LINES: usize = 12;

/// How a runtime is built.
pub struct RuntimeOptions<'a> {
    /// Where the runtimes of this host are.
    pub runtimes: Runtimes,
    /// Apt sources instead of Debian's own.
    pub sources: Vec<String>,
    /// Is called with each step.
    pub progress: Progress<'a>,
}

/// Why a runtime could not be built.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeBuildError {
    /// There is no recipe.
    #[error("there is no runtime {name}; there are {}", names())]
    Unknown {
        /// The name that was asked for.
        name: String,
    },
    /// This process is not root.
    #[error("building a runtime needs root: owners and mounts")]
    NotRoot,
    /// A needed program is not installed.
    #[error("mmdebstrap is not installed (package mmdebstrap)")]
    NoMmdebstrap,
    /// A file cannot be used.
    #[error("cannot {step} ({path})")]
    Io {
        /// The step that failed.
        step: &'static str,
        /// Its file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The script failed.
    #[error("building the root failed; the end of {log}:\n{tail}")]
    Script {
        /// File with all of its output.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The tree cannot be read.
    #[error(transparent)]
    Walk(#[from] WalkFailure),
    /// The record cannot be written.
    #[error("the record of the runtime cannot be written")]
    Record(#[from] serde_json::Error),
}

/// Why a tree did not become a disk.
#[derive(Debug, thiserror::Error)]
#[error("the root did not become a disk: {0}")]
pub struct WalkFailure(String);

fn names() -> String {
    let names: Vec<_> = RUNTIMES.iter().map(|recipe| recipe.name).collect();
    names.join(", ")
}

/// Builds the runtime `name`, or finds that its newest version was made by this release's recipe. With `refresh` it is
/// built from today's packages in any case; if that gives the same root, the version stays the same. Takes about two
/// minutes, and needs root, Debian's `mmdebstrap`, a Debian mirror and the registry of the interface client.
///
/// # Errors
///
/// [`RuntimeBuildError`] names the step.
pub fn build_runtime(
    options: &RuntimeOptions<'_>,
    name: &str,
    refresh: bool,
) -> Result<RuntimeVersion, RuntimeBuildError> {
    let unknown = || RuntimeBuildError::Unknown {
        name: name.to_owned(),
    };
    let recipe = recipe_of(name).ok_or_else(unknown)?;
    let directory = options.runtimes.directory();
    let newest = || {
        let newest = options.runtimes.newest(name);
        newest.map_err(failed("read", directory))
    };
    let is_current = |version: &RuntimeVersion| !refresh && version.recipe == digest_of(recipe);
    if let Some(version) = newest()?.filter(is_current) {
        return Ok(version);
    }
    check_host()?;
    let work = directory.join("work").join(name);
    fs::create_dir_all(&work).map_err(failed("make the directory", &work))?;
    let _lock = lock(options, name)?;
    // Another process may have built it while this one waited.
    if let Some(version) = newest()?.filter(is_current) {
        return Ok(version);
    }
    empty(&work)?;
    (options.progress)(&format!(
        "building the runtime {name} from Debian's packages"
    ));
    run_script(recipe, options, &work)?;
    (options.progress)(&format!("writing the disk of {name}"));
    let version = pack(recipe, newest()?, &work)?;
    let version = publish(version, options, &work)?;
    empty(&work)?;
    Ok(version)
}

/// Digest of everything that decides what is built, but for the packages' versions.
fn digest_of(recipe: &RuntimeRecipe) -> String {
    let mut digest = blake3::Hasher::new();
    digest.update(SCRIPT.as_bytes());
    digest.update(recipe.suite.as_bytes());
    digest.update(recipe.packages().as_bytes());
    for (name, text) in files_of(recipe) {
        digest.update(name.as_bytes());
        digest.update(text.as_bytes());
    }
    digest.finalize().to_hex()[..16].to_owned()
}

fn files_of(recipe: &RuntimeRecipe) -> Vec<(&'static str, &'static str)> {
    match recipe.kind {
        RuntimeKind::Python { requirements } => {
            let requirements = ("requirements.txt", requirements);
            PYTHON.into_iter().chain([requirements]).collect()
        }
        RuntimeKind::Provided => Vec::new(),
    }
}

fn check_host() -> Result<(), RuntimeBuildError> {
    if !rustix::process::geteuid().is_root() {
        return Err(RuntimeBuildError::NotRoot);
    }
    let is_there = std::env::split_paths(&search_path())
        .any(|directory| directory.join("mmdebstrap").exists());
    match is_there {
        true => Ok(()),
        false => Err(RuntimeBuildError::NoMmdebstrap),
    }
}

fn lock(options: &RuntimeOptions<'_>, name: &str) -> Result<File, RuntimeBuildError> {
    let path = options
        .runtimes
        .directory()
        .join("work")
        .join(format!("{name}.lock"));
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed("open", &path))?;
    if file.try_lock().is_err() {
        (options.progress)("waiting for another process that builds the same runtime");
        file.lock().map_err(failed("lock", &path))?;
    }
    Ok(file)
}

/// Removes what is in the working directory.
fn empty(work: &Path) -> Result<(), RuntimeBuildError> {
    fs::remove_dir_all(work).map_err(failed("remove", work))?;
    fs::create_dir_all(work).map_err(failed("make the directory", work))
}

fn run_script(
    recipe: &RuntimeRecipe,
    options: &RuntimeOptions<'_>,
    work: &Path,
) -> Result<(), RuntimeBuildError> {
    for (name, text) in files_of(recipe) {
        let path = work.join(name);
        fs::write(&path, text).map_err(failed("write", &path))?;
    }
    // Beside the working directory, so that it is there after a failure.
    let log = work.with_extension("log");
    let output = File::create(&log).map_err(failed("open", &log))?;
    let kind = match recipe.kind {
        RuntimeKind::Python { .. } => "python",
        RuntimeKind::Provided => "provided",
    };
    let status = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", SCRIPT, "runtime.sh"])
        .current_dir(work)
        .env("PATH", search_path())
        .env("LC_ALL", "C.UTF-8")
        .env("SUITE", recipe.suite)
        .env("PACKAGES", recipe.packages())
        .env("TOOLS", recipe.tools)
        .env("KIND", kind)
        .env("SOURCES", options.sources.join("\n"))
        .env("TMP_BYTES", FUNCTION_SCRATCH_BYTES.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::from(
            output.try_clone().map_err(failed("open", &log))?,
        ))
        .stderr(Stdio::from(output))
        .status()
        .map_err(failed("start", Path::new("unshare")))?;
    if status.success() {
        return Ok(());
    }
    let text = fs::read(&log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    Err(RuntimeBuildError::Script {
        tail: lines[lines.len().saturating_sub(LAST_LINES)..].join("\n"),
        log,
    })
}

/// Writes the files of the version into `work/version`. The record comes with [`publish`].
fn pack(
    recipe: &RuntimeRecipe,
    before: Option<RuntimeVersion>,
    work: &Path,
) -> Result<RuntimeVersion, RuntimeBuildError> {
    let directory = work.join("version");
    fs::create_dir(&directory).map_err(failed("make the directory", &directory))?;
    let tree = walk(&work.join("tree"), MODIFIED).map_err(|error: WalkError| told(&error))?;
    let root = directory.join(ROOT);
    let (id, bytes) = write_disk(&tree, &root)?;
    let nothing = Tree::new(Attributes::of_root(0o755, MODIFIED));
    write_disk(&nothing, &directory.join(EMPTY))?;
    for name in [SCRATCH, PACKAGES] {
        let from = work.join(name);
        fs::rename(&from, directory.join(name)).map_err(failed("move", &from))?;
    }
    let scratch = directory.join(SCRATCH);
    OpenOptions::new()
        .write(true)
        .open(&scratch)
        .and_then(|file| file.set_len(SCRATCH_DISK_BYTES))
        .map_err(failed("enlarge", &scratch))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(RuntimeVersion {
        format: FORMAT,
        runtime: recipe.name.to_owned(),
        id,
        number: before.map_or(1, |before| before.number + 1),
        recipe: digest_of(recipe),
        suite: recipe.suite.to_owned(),
        client: recipe.client(),
        built_at: now.unwrap_or_default().as_secs(),
        bytes,
        directory,
    })
}

/// Writes a disk. Answers its digest and its size.
fn write_disk(tree: &Tree<PathBuf>, path: &Path) -> Result<(String, u64), RuntimeBuildError> {
    let file = File::create(path).map_err(failed("create", path))?;
    let mut sink = BufWriter::with_capacity(1 << 20, &file);
    let copy =
        |from: &PathBuf, sink: &mut dyn io::Write| io::copy(&mut File::open(from)?, sink).map(drop);
    let written = erofs::write(tree, &mut sink, copy);
    written.map_err(|error: WriteError<io::Error>| told(&error))?;
    sink.flush().map_err(failed("write", path))?;
    drop(sink);
    let mut digest = blake3::Hasher::new();
    let mut written = File::open(path).map_err(failed("read", path))?;
    let bytes = io::copy(&mut written, &mut digest).map_err(failed("read", path))?;
    Ok((digest.finalize().to_hex().to_string(), bytes))
}

fn told(error: &dyn std::error::Error) -> RuntimeBuildError {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    WalkFailure(text).into()
}

/// Moves a version to its place, unless the same root is there already.
fn publish(
    version: RuntimeVersion,
    options: &RuntimeOptions<'_>,
    work: &Path,
) -> Result<RuntimeVersion, RuntimeBuildError> {
    let place = options.runtimes.directory().join(&version.runtime);
    let target = place.join(&version.id[..16]);
    if let Some(mut known) = RuntimeVersion::read(&target) {
        // The same packages, by another recipe perhaps.
        known.recipe.clone_from(&version.recipe);
        write_record(&known, &target)?;
        return Ok(known);
    }
    let directory = work.join("version");
    write_record(&version, &directory)?;
    for file in version.files() {
        sync(&file)?;
    }
    fs::create_dir_all(&place).map_err(failed("make the directory", &place))?;
    fs::rename(&directory, &target).map_err(failed("rename", &directory))?;
    sync(&place)?;
    Ok(RuntimeVersion {
        directory: target,
        ..version
    })
}

fn write_record(version: &RuntimeVersion, directory: &Path) -> Result<(), RuntimeBuildError> {
    let record = directory.join(RECORD);
    let unfinished = directory.join("runtime.json.unfinished");
    let text = serde_json::to_vec_pretty(version)?;
    fs::write(&unfinished, text).map_err(failed("write", &unfinished))?;
    sync(&unfinished)?;
    fs::rename(&unfinished, &record).map_err(failed("rename", &unfinished))
}

fn sync(path: &Path) -> Result<(), RuntimeBuildError> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(failed("sync", path))
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RuntimeBuildError {
    let path = path.to_owned();
    move |source| RuntimeBuildError::Io { step, path, source }
}
