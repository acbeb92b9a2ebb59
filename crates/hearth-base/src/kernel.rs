//! Unpacked kernels: `vmlinux` and decompressed modules, cached by package version.
//!
//! ```text
//! <data>/kernels/packages/linux-image-..._amd64.deb       as apt verified it
//! <data>/kernels/<package version>/kernel.json
//!                                  vmlinux
//!                                  modules/<name>.ko      the closure of all module lists
//!                                  packed/<name>.ko[.xz]  modules that guests load on demand, as the package has them
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::apt::{self, AptError};
use crate::compression::Format;
use crate::deb::{Deb, DebError};
use crate::image::{self, ImageError};
use crate::modules::{self, EMULATED_HOST_MODULES, GUEST_MODULES, ModuleError, ON_DEMAND_MODULES};
use crate::{Progress, atomic};

/// The source of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelSource {
    /// The newest one that apt offers now.
    Newest,
    /// The newest kernel that was unpacked before. apt is asked only if there is none.
    Cached,
    /// A `.deb` of a Debian kernel, a bzImage, or an uncompressed ELF. With an image alone, modules are
    /// taken from `modules` (a directory tree of `*.ko[.xz|.zst]`), or must be built in.
    Path {
        /// The package or image.
        image: PathBuf,
        /// Directory with its modules.
        modules: Option<PathBuf>,
    },
}

/// Why no kernel could be obtained.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The package could not be downloaded.
    #[error("cannot get a kernel package")]
    Apt(#[from] AptError),
    /// The package cannot be unpacked.
    #[error("cannot unpack the kernel package")]
    Deb(#[from] DebError),
    /// The package holds no kernel.
    #[error("the package has no {0}")]
    Incomplete(&'static str),
    /// The image is unusable.
    #[error("cannot use the kernel image")]
    Image(#[from] ImageError),
    /// A module is unusable.
    #[error("cannot use the kernel's modules")]
    Module(#[from] ModuleError),
    /// The kernel was unpacked without a module that is asked for now.
    #[error("the unpacked kernel lacks module {0}")]
    NotUnpacked(String),
    /// The cache cannot be read or written.
    #[error("cannot use the kernel cache")]
    Cache(#[from] io::Error),
    /// `kernel.json` does not parse.
    #[error("the kernel cache's kernel.json is damaged")]
    Index(#[from] serde_json::Error),
}

/// An unpacked kernel.
#[derive(Debug, Clone)]
pub struct Kernel {
    directory: PathBuf,
    index: Index,
}

/// The content of `kernel.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Index {
    package: String,
    package_version: String,
    release: String,
    unpacked_at: String,
    /// The modules in the cache, each with its dependencies among them.
    modules: BTreeMap<String, Vec<String>>,
    /// The modules that guests load on demand, and those that they need.
    #[serde(default)]
    on_demand: BTreeMap<String, OnDemand>,
    /// The module lists for which the kernel was unpacked. It is unpacked again for other lists.
    wanted: Vec<String>,
}

/// A module that is loaded when something asks for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OnDemand {
    /// Its file in `packed`.
    pub(crate) file: String,
    /// Further names under which the kernel asks for it.
    pub(crate) aliases: Vec<String>,
}

/// A kernel before it is written to the cache.
struct Unpacked {
    package: String,
    package_version: String,
    vmlinux: Vec<u8>,
    /// Modules as in the package (perhaps compressed), by name.
    modules: BTreeMap<String, Vec<u8>>,
}

impl Kernel {
    /// Gets the kernel from `source`, unpacking it below `data_dir` if it is not there yet.
    pub fn obtain(
        data_dir: &Path,
        source: &KernelSource,
        progress: Progress<'_>,
    ) -> Result<Self, KernelError> {
        let kernels = data_dir.join("kernels");
        match source {
            KernelSource::Cached => {
                if let Some(kernel) = newest_cached(&kernels)? {
                    return Ok(kernel);
                }
                Self::obtain(data_dir, &KernelSource::Newest, progress)
            }
            KernelSource::Newest => {
                let package = apt::fetch_newest(&kernels.join("packages"), progress)?;
                Self::from_path(&kernels, &package, None, progress)
            }
            KernelSource::Path { image, modules } => {
                Self::from_path(&kernels, image, modules.as_deref(), progress)
            }
        }
    }

    /// The uncompressed ELF image.
    pub fn vmlinux(&self) -> PathBuf {
        self.directory.join("vmlinux")
    }

    /// Version of the package, for example `6.12.117-1~deb12u1`; of a bare image, its release and digest.
    pub fn package_version(&self) -> &str {
        &self.index.package_version
    }

    /// Name of the package; of a bare image, its file name.
    pub fn package(&self) -> &str {
        &self.index.package
    }

    /// `uname -r` of the kernel.
    pub fn release(&self) -> &str {
        &self.index.release
    }

    /// The modules `wanted` and their dependencies, in load order. Modules that are built into the kernel are left out.
    pub fn load_order(&self, wanted: &[&str]) -> Result<Vec<String>, KernelError> {
        for name in wanted {
            let name = name.replace('-', "_");
            if !self.index.wanted.contains(&name) && !self.index.modules.contains_key(&name) {
                return Err(KernelError::NotUnpacked(name));
            }
        }
        Ok(load_order(wanted, &self.index.modules)?)
    }

    /// A module that guests load on demand, or that one of them needs; `None` where the kernel has it built in.
    pub(crate) fn on_demand(&self, name: &str) -> Option<&OnDemand> {
        self.index.on_demand.get(name)
    }

    /// The file of such a module, as its package has it.
    pub(crate) fn packed(&self, module: &OnDemand) -> PathBuf {
        self.directory.join("packed").join(&module.file)
    }

    /// The decompressed module `name`.
    pub fn module(&self, name: &str) -> PathBuf {
        self.directory.join(format!("modules/{name}.ko"))
    }

    fn from_path(
        kernels: &Path,
        image: &Path,
        module_tree: Option<&Path>,
        progress: Progress<'_>,
    ) -> Result<Self, KernelError> {
        if image
            .extension()
            .is_some_and(|extension| extension == "deb")
        {
            let deb = Deb::read(image)?;
            let version = deb
                .control_field("Version")?
                .ok_or(KernelError::Incomplete("version"))?;
            if let Some(kernel) = open(&kernels.join(&version))? {
                return Ok(kernel);
            }
            progress("unpacking the kernel package");
            return write(kernels, unpack_deb(&deb, version)?, progress);
        }
        progress("reading the kernel image");
        write(kernels, read_image(image, module_tree)?, progress)
    }
}

fn unpack_deb(deb: &Deb, package_version: String) -> Result<Unpacked, KernelError> {
    let mut image = None;
    let mut module_files = BTreeMap::new();
    let is_kernel = |path: &str| path.starts_with("boot/vmlinuz-");
    for (path, content) in
        deb.files(|path| is_kernel(path) || modules::name_of_file(path).is_some())?
    {
        if is_kernel(&path) {
            image = Some(content);
        } else if let Some(name) = modules::name_of_file(&path) {
            module_files.insert(name, content);
        }
    }
    let image = image.ok_or(KernelError::Incomplete("boot/vmlinuz-*"))?;
    Ok(Unpacked {
        package: deb
            .control_field("Package")?
            .ok_or(KernelError::Incomplete("name"))?,
        package_version,
        vmlinux: image::vmlinux(image)?,
        modules: module_files,
    })
}

fn read_image(path: &Path, module_tree: Option<&Path>) -> Result<Unpacked, KernelError> {
    let vmlinux = image::vmlinux(fs::read(path)?)?;
    let mut module_files = BTreeMap::new();
    if let Some(tree) = module_tree {
        collect_modules(tree, &mut module_files)?;
    }
    let package_version = version_of_image(&image::release(&vmlinux)?, &vmlinux, &module_files);
    Ok(Unpacked {
        package: path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        package_version,
        vmlinux,
        modules: module_files,
    })
}

/// A kernel built by hand has the same release after each build, and its modules may differ. The digest distinguishes
/// them.
fn version_of_image(release: &str, vmlinux: &[u8], modules: &BTreeMap<String, Vec<u8>>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(blake3::hash(vmlinux).as_bytes());
    for (name, content) in modules {
        hasher.update(blake3::hash(name.as_bytes()).as_bytes());
        hasher.update(blake3::hash(content).as_bytes());
    }
    format!("{release}-{}", &hasher.finalize().to_hex()[..8])
}

fn collect_modules(
    directory: &Path,
    found: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), io::Error> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        // Symbolic links (`build`, `source`) point outside the tree.
        if entry.file_type()?.is_dir() {
            collect_modules(&path, found)?;
        } else if let Some(name) = modules::name_of_file(&path.to_string_lossy()) {
            found.insert(name, fs::read(&path)?);
        }
    }
    Ok(())
}

fn write(
    kernels: &Path,
    unpacked: Unpacked,
    progress: Progress<'_>,
) -> Result<Kernel, KernelError> {
    let wanted = wanted_modules();
    let mut contents: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut needs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut aliases: BTreeMap<String, Vec<String>> = BTreeMap::new();
    progress("reading the kernel's modules");
    let names: Vec<&str> = wanted.iter().map(String::as_str).collect();
    modules::closure(&names, &mut |name| {
        let Some(packed) = unpacked.modules.get(name) else {
            return Ok(None);
        };
        let content = modules::decompressed(name, packed)?;
        let found = modules::needs(name, &content)?;
        contents.insert(name.to_owned(), content);
        let soft = found.soft.iter();
        let present = soft.filter(|soft| unpacked.modules.contains_key(*soft));
        let mut all: Vec<String> = present.cloned().collect();
        all.extend(found.hard.iter().cloned());
        needs.insert(name.to_owned(), all);
        aliases.insert(name.to_owned(), found.aliases.clone());
        Ok(Some(found))
    })?;
    // Those that only guests load on demand are not kept unpacked.
    let always = [GUEST_MODULES, EMULATED_HOST_MODULES].concat();
    let always = load_order(&always, &needs)?;
    let loaded_later = load_order(ON_DEMAND_MODULES, &needs)?;
    contents.retain(|name, _| always.contains(name));
    let mut on_demand = BTreeMap::new();
    for name in loaded_later {
        let suffix = Format::detect(&unpacked.modules[&name]).map_or("", Format::suffix);
        let module = OnDemand {
            file: format!("{name}.ko{suffix}"),
            aliases: aliases.remove(&name).unwrap_or_default(),
        };
        on_demand.insert(name, module);
    }
    let index = Index {
        release: image::release(&unpacked.vmlinux)?,
        package: unpacked.package,
        package_version: unpacked.package_version,
        unpacked_at: jiff::Timestamp::now().to_string(),
        modules: needs,
        on_demand,
        wanted,
    };
    let target = kernels.join(&index.package_version);
    if target.is_dir() && open(&target)?.is_none() {
        // Unpacked for other module lists. Running guests keep their open files.
        fs::remove_dir_all(&target)?;
    }
    atomic::directory::<KernelError>(&target, |directory| {
        fs::write(directory.join("vmlinux"), &unpacked.vmlinux)?;
        fs::create_dir(directory.join("modules"))?;
        for (name, content) in &contents {
            fs::write(directory.join(format!("modules/{name}.ko")), content)?;
        }
        fs::create_dir(directory.join("packed"))?;
        for (name, module) in &index.on_demand {
            fs::write(
                directory.join("packed").join(&module.file),
                &unpacked.modules[name],
            )?;
        }
        fs::write(
            directory.join("kernel.json"),
            serde_json::to_vec_pretty(&index)?,
        )?;
        Ok(())
    })?;
    Ok(Kernel {
        directory: target,
        index,
    })
}

/// Opens an unpacked kernel; `None` if there is none, or one for other module lists.
fn open(directory: &Path) -> Result<Option<Kernel>, KernelError> {
    let text = match fs::read(directory.join("kernel.json")) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let index: Index = serde_json::from_slice(&text)?;
    let is_current = index.wanted == wanted_modules();
    Ok(is_current.then(|| Kernel {
        directory: directory.to_owned(),
        index,
    }))
}

fn newest_cached(kernels: &Path) -> Result<Option<Kernel>, KernelError> {
    let mut newest: Option<Kernel> = None;
    let entries = match fs::read_dir(kernels) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    for entry in entries {
        let Some(kernel) = open(&entry?.path())? else {
            continue;
        };
        let is_newer = newest.as_ref().is_none_or(|best| {
            apt::version_key(kernel.package_version()) > apt::version_key(best.package_version())
        });
        // Only packages count: a kernel given by path was meant for that one call.
        if is_newer && kernel.package().starts_with("linux-image-") {
            newest = Some(kernel);
        }
    }
    Ok(newest)
}

/// The modules `wanted` and their dependencies, by those of each.
fn load_order(
    wanted: &[&str],
    dependencies: &BTreeMap<String, Vec<String>>,
) -> Result<Vec<String>, ModuleError> {
    modules::closure(wanted, &mut |name| {
        Ok(dependencies.get(name).map(|hard| modules::Needs {
            hard: hard.clone(),
            ..modules::Needs::default()
        }))
    })
}

fn wanted_modules() -> Vec<String> {
    let mut names: Vec<String> = GUEST_MODULES
        .iter()
        .chain(EMULATED_HOST_MODULES)
        .chain(ON_DEMAND_MODULES)
        .map(|name| (*name).to_owned())
        .collect();
    names.sort();
    names.dedup();
    // Their aliases are in the index, too.
    let further = modules::FURTHER_ALIASES.iter();
    names.extend(further.map(|(module, alias)| format!("{module} as {alias}")));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_with_other_modules_is_another_kernel() {
        let modules = |content: &str| BTreeMap::from([("erofs".to_owned(), content.into())]);
        let of = |vmlinux: &[u8], modules| version_of_image("6.12", vmlinux, &modules);
        let version = of(b"kernel", modules("one"));
        assert!(version.starts_with("6.12-"), "{version}");
        assert_eq!(version, of(b"kernel", modules("one")));
        for other in [
            of(b"kernel", modules("two")),
            of(b"kernel", BTreeMap::new()),
            of(b"another", modules("one")),
        ] {
            assert_ne!(version, other);
        }
    }
}
