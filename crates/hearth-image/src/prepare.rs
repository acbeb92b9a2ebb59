//! Makes the bases from Debian's packages, on the host and once.
//!
//! ```text
//! builder tree ─┬─> store (buildah in a chroot of it: add Debian, install Python) ─┬─> disks ──> record
//! Debian tree ──┘                                                                  │
//! scratch disk ────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The result of every step appears by rename. So a call that was killed is continued with the first missing step.
//! `prepare.sh` has the steps.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hearth_base::Progress;

use crate::bases::{BaseImage, Bases, BasesError, RECORD};
use crate::certificates::{self, CertificatesError};
use crate::store::{self, BuildahStoreError, Layers};

const SCRIPT: &str = include_str!("prepare.sh");

/// The provider for OpenSSL in the base images, as the build script has compiled it, and what it was compiled from: another compiler
/// makes other bytes, which is no reason to make the bases anew.
const RANDOM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hearth-random.so"));
const RANDOM_SOURCE: &str = include_str!("../openssl/random.rs");

/// Its name in the working directory.
const RANDOM_FILE: &str = "hearth-random.so";

/// The name of the operator's certificates in the working directory; empty if there are none.
const CERTIFICATES_FILE: &str = "certificates.pem";

/// The directory with a file for each of them. Some programs take a file of several for one.
const CERTIFICATES_DIRECTORY: &str = "certificates";

/// Size of the scratch disk, and so of what a microVM may write. Sparse.
const SCRATCH_BYTES: u64 = 8 << 30;

/// Size of a build's work disk, and of the disk with its account's layers. Sparse. It holds the context, the layers
/// and the disk that is packed from them: four times an image of 8 GiB.
pub const WORK_BYTES: u64 = 32 << 30;

/// Lines of a failed step's output that are shown.
const LAST_LINES: usize = 12;

/// How the bases are prepared.
pub struct PrepareOptions<'a> {
    /// Their directory, made if it is missing. It takes about 1.2 GB while preparing and 0.5 GB afterwards.
    pub directory: PathBuf,
    /// Apt sources (`deb http://mirror.example/debian bookworm main`) instead of Debian's own. The base images get
    /// them too.
    pub sources: Vec<String>,
    /// Is called with each step.
    pub progress: Progress<'a>,
}

/// Why the bases could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// This process is not root.
    #[error("preparing the base images needs root: device nodes, owners and mounts")]
    NotRoot,
    /// A needed program is not installed.
    #[error("{program} is not installed (package {package})")]
    Missing {
        /// The program.
        program: &'static str,
        /// The Debian package that contains it.
        package: &'static str,
    },
    /// The directory cannot be used.
    #[error("cannot {step} ({path})")]
    Io {
        /// The step that failed.
        step: &'static str,
        /// The file or directory of that step.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A step of `prepare.sh` failed.
    #[error("{step} failed; the end of {log}:\n{tail}")]
    Step {
        /// The step, in words.
        step: &'static str,
        /// File with all of its output.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The store that buildah made cannot be read.
    #[error("buildah left a store that cannot be read")]
    Store(#[from] BuildahStoreError),
    /// The record cannot be read.
    #[error(transparent)]
    Record(#[from] BasesError),
    /// The operator's certificates cannot be read.
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
}

/// A step of `prepare.sh`.
struct Step {
    name: &'static str,
    /// Its result in the working directory.
    result: &'static str,
    words: &'static str,
}

const STEPS: &[Step] = &[
    Step {
        name: "builder",
        result: "builder",
        words: "installing the image builder from Debian's packages",
    },
    Step {
        name: "debian",
        result: "debian",
        words: "installing the base image hearth/debian:12 from Debian's packages",
    },
    Step {
        name: "store",
        result: "store",
        words: "making the base images",
    },
    Step {
        name: "pack",
        result: "disks/scratch.ext4",
        words: "writing the base disks",
    },
];

/// Prepares the bases. Returns the existing ones if this release's recipe made them. Takes about 70 s and needs root,
/// Debian's `mmdebstrap` and a Debian mirror. Processes that call it at the same time wait for each other.
pub fn prepare(options: &PrepareOptions<'_>) -> Result<Bases, PrepareError> {
    let directory = &options.directory;
    if let Some(bases) = current(directory)? {
        return Ok(bases);
    }
    check_host()?;
    fs::create_dir_all(directory).map_err(failed("make the directory", directory))?;
    let lock = lock(options)?;
    // Another process may have prepared them while this one waited for the lock.
    if let Some(bases) = current(directory)? {
        return Ok(bases);
    }
    make(options, &lock)
}

/// Makes a new set of bases from today's packages and makes it the current one. Roots of older sets keep their disks.
/// Otherwise as [`prepare`].
pub fn refresh(options: &PrepareOptions<'_>) -> Result<Bases, PrepareError> {
    check_host()?;
    let directory = &options.directory;
    fs::create_dir_all(directory).map_err(failed("make the directory", directory))?;
    let lock = lock(options)?;
    make(options, &lock)
}

fn current(directory: &Path) -> Result<Option<Bases>, PrepareError> {
    let recipe = recipe(&certificates::kept(directory)?);
    let bases = Bases::open(directory)?;
    Ok(bases.filter(|bases| bases.recipe == recipe))
}

/// Digest of `prepare.sh` and of what it is given.
fn recipe(certificates: &str) -> String {
    let mut digest = blake3::Hasher::new();
    digest.update(SCRIPT.as_bytes());
    digest.update(certificates.as_bytes());
    digest.update(RANDOM_SOURCE.as_bytes());
    digest.update(&SCRATCH_BYTES.to_le_bytes());
    digest.update(&WORK_BYTES.to_le_bytes());
    digest.finalize().to_hex()[..16].to_owned()
}

fn check_host() -> Result<(), PrepareError> {
    if !rustix::process::geteuid().is_root() {
        return Err(PrepareError::NotRoot);
    }
    for (program, package) in [
        ("mmdebstrap", "mmdebstrap"),
        ("mount", "mount"),
        ("unshare", "util-linux"),
        ("chroot", "coreutils"),
    ] {
        let is_there = std::env::split_paths(&search_path()).any(|dir| dir.join(program).exists());
        if !is_there {
            return Err(PrepareError::Missing { program, package });
        }
    }
    Ok(())
}

/// Administrators' programs are not in everyone's PATH.
pub(crate) fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin:/usr/bin:/sbin:/bin")
}

fn lock(options: &PrepareOptions<'_>) -> Result<File, PrepareError> {
    let path = options.directory.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .read(true)
        .open(&path)
        .map_err(failed("open", &path))?;
    if file.try_lock().is_err() {
        (options.progress)("waiting for another process that prepares the base images");
        file.lock().map_err(failed("lock", &path))?;
    }
    Ok(file)
}

fn make(options: &PrepareOptions<'_>, lock: &File) -> Result<Bases, PrepareError> {
    let work = options.directory.join("work");
    fs::create_dir_all(&work).map_err(failed("make the directory", &work))?;
    let certificates = certificates::kept(&options.directory)?;
    begin_with(&certificates, &work)?;
    for step in STEPS {
        if !work.join(step.result).exists() {
            (options.progress)(step.words);
            run(step, options, &work, lock)?;
        }
    }
    let bases = describe(&options.directory, &work, recipe(&certificates))?;
    publish(&bases, &options.directory, &work)?;
    Ok(bases)
}

/// Removes what an earlier call has made with other certificates.
fn begin_with(certificates: &str, work: &Path) -> Result<(), PrepareError> {
    let path = work.join(CERTIFICATES_FILE);
    if fs::read(&path).is_ok_and(|before| before == certificates.as_bytes()) {
        return Ok(());
    }
    fs::remove_dir_all(work).map_err(failed("remove", work))?;
    let each = work.join(CERTIFICATES_DIRECTORY);
    fs::create_dir_all(&each).map_err(failed("make the directory", &each))?;
    for (number, certificate) in certificates::each(certificates).into_iter().enumerate() {
        let path = each.join(format!("operator-{}.crt", number + 1));
        fs::write(&path, certificate).map_err(failed("write", &path))?;
    }
    // Last: it says that the others are there.
    fs::write(&path, certificates).map_err(failed("write", &path))
}

fn run(
    step: &Step,
    options: &PrepareOptions<'_>,
    work: &Path,
    lock: &File,
) -> Result<(), PrepareError> {
    remove_unfinished(work, step)?;
    let random = work.join(RANDOM_FILE);
    fs::write(&random, RANDOM).map_err(failed("write", &random))?;
    let log = work.join(format!("{}.log", step.name));
    let output = File::create(&log).map_err(failed("open", &log))?;
    let shared = |file: &File| file.try_clone().map_err(failed("open", &log));
    let status = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", SCRIPT, "prepare.sh", step.name])
        .current_dir(work)
        .env("PATH", search_path())
        .env("LC_ALL", "C.UTF-8")
        .env("SOURCES", options.sources.join("\n"))
        .env("SCRATCH_BYTES", SCRATCH_BYTES.to_string())
        .env("WORK_BYTES", WORK_BYTES.to_string())
        // If this process is killed, the lock is held until the last process of the step has ended.
        .stdin(Stdio::from(shared(lock)?))
        .stdout(Stdio::from(shared(&output)?))
        .stderr(Stdio::from(output))
        .status()
        .map_err(failed("start", Path::new("unshare")))?;
    if status.success() {
        return Ok(());
    }
    let text = fs::read(&log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    Err(PrepareError::Step {
        step: step.words,
        tail: lines[lines.len().saturating_sub(LAST_LINES)..].join("\n"),
        log,
    })
}

/// Removes leftovers of a killed attempt at this step.
fn remove_unfinished(work: &Path, step: &Step) -> Result<(), PrepareError> {
    let leftovers = match step.name {
        "pack" => work.join("disks"),
        name => work.join(format!("{name}.unfinished")),
    };
    match fs::remove_dir_all(&leftovers) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove", &leftovers)(error))
        }
        _ => Ok(()),
    }
}

/// Reads ids, images and layers from the prepared trees.
fn describe(directory: &Path, work: &Path, recipe: String) -> Result<Bases, PrepareError> {
    let read = |path: PathBuf| fs::read(&path).map_err(failed("read", &path));
    let layers = Layers::parse(&read(work.join("store/overlay-layers/layers.json"))?)?;
    let images = store::parse_images(&read(work.join("store/overlay-images/images.json"))?)?;
    let mut digest = blake3::Hasher::new();
    digest.update(recipe.as_bytes());
    digest.update(&read(work.join("builder/var/lib/dpkg/status"))?);
    let mut found = Vec::new();
    for image in &images {
        digest.update(image.id.as_str().as_bytes());
        let chain = layers.whole_chain(image.layer.as_ref())?;
        let directories: Vec<String> = chain.iter().map(store::diff_directory).collect();
        found.extend(image.names.iter().map(|name| BaseImage {
            name: name.strip_prefix("localhost/").unwrap_or(name).to_owned(),
            layers: directories.clone(),
        }));
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let id = digest.finalize().to_hex()[..16].to_owned();
    let directory = directory.to_owned();
    Ok(Bases::new(directory, recipe, id, found, layers))
}

/// Moves the disks into place and writes the record, which makes them current.
fn publish(bases: &Bases, directory: &Path, work: &Path) -> Result<(), PrepareError> {
    let disks = work.join("disks");
    let target = directory.join(&bases.id);
    for entry in fs::read_dir(&disks).map_err(failed("read", &disks))? {
        let path = entry.map_err(failed("read", &disks))?.path();
        sync(&path)?;
    }
    if target.exists() {
        // The id says that the content is the same, and the existing directory may be in use.
        fs::remove_dir_all(&disks).map_err(failed("remove", &disks))?;
    } else {
        fs::rename(&disks, &target).map_err(failed("rename", &disks))?;
    }
    sync(directory)?;
    let record = directory.join(RECORD);
    let unfinished = directory.join("bases.json.unfinished");
    let text = serde_json::to_vec_pretty(bases).map_err(BuildahStoreError::from)?;
    fs::write(&unfinished, text).map_err(failed("write", &unfinished))?;
    sync(&unfinished)?;
    fs::rename(&unfinished, &record).map_err(failed("rename", &unfinished))?;
    sync(directory)?;
    // Only the record matters; trees that cannot be removed only take space.
    let _ = fs::remove_dir_all(work);
    Ok(())
}

fn sync(path: &Path) -> Result<(), PrepareError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(failed("sync", path))
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PrepareError {
    let path = path.to_owned();
    move |source| PrepareError::Io { step, path, source }
}
