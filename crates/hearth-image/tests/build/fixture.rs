//! A node, bases, and artifacts made on the spot.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hearth_image::{
    Artifact, ArtifactLimits, Bases, BuildError, BuildLimits, BuildRequest, Builder, BuiltRoot,
    LayerCaches, Registries, Root, write_initramfs,
};
use hearth_net::Egress;
use hearth_node::{AgentError, BootRequest, Node, NodeOptions};
use hearth_wire::agent::{AppStatus, ControlReply, ControlRequest, ExitStatus};
use hearth_wire::frame::FrameError;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Self-tests of the kernel that take long under emulation and prove nothing here.
const KERNEL_ARGUMENTS: &str = "initcall_blacklist=load_system_certificate_list";

/// Another name of a base image.
pub(crate) const ALIAS: &str = "registry.example/team/base:1.0";

/// RAM of the tests' builders, in MiB.
const BUILDER_MIB: u32 = 1024;

pub(crate) struct Fixture {
    directory: TempDir,
    node: Node,
    bases: Bases,
    /// Whether builders begin from a template of the booted guest: for tests of more than one build.
    has_boot_templates: bool,
    /// Of [`Self::build_cached`].
    pub(crate) caches: Arc<LayerCaches>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = NodeOptions::new(directory.path().join("n"), program());
        let bases = Bases::open(&variable("HEARTH_TEST_BASES")).unwrap();
        write_initramfs(
            &variable("HEARTH_TEST_INITRAMFS"),
            Path::new("/bin/busybox"),
            &directory.path().join("builder.cpio"),
        )
        .unwrap();
        Self {
            node: Node::open(options).unwrap(),
            bases: bases.expect("the bases are not complete"),
            has_boot_templates: false,
            caches: Arc::new(LayerCaches::new(directory.path().join("caches"), 1 << 30)),
            directory,
        }
    }

    pub(crate) fn with_boot_templates() -> Self {
        Self {
            has_boot_templates: true,
            ..Self::new()
        }
    }

    /// The same with a network.
    pub(crate) fn with_network(network: hearth_net::Network) -> Self {
        let mut fixture = Self::with_boot_templates();
        let options = NodeOptions {
            network: Some(network),
            ..NodeOptions::new(fixture.directory.path().join("n"), program())
        };
        fixture.node = Node::open(options).unwrap();
        fixture
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    pub(crate) fn builder(&self) -> Builder {
        Builder {
            node: self.node.clone(),
            bases: self.bases.clone(),
            kernel: variable("HEARTH_TEST_KERNEL"),
            initramfs: self.directory.path().join("builder.cpio"),
            command_line: KERNEL_ARGUMENTS.to_owned(),
            has_boot_templates: self.has_boot_templates,
            aliases: [(ALIAS.to_owned(), "hearth/debian:12".to_owned())].into(),
            registries: Registries::default(),
        }
    }

    pub(crate) fn request(
        &self,
        name: &str,
        artifact: Artifact,
        limits: BuildLimits,
    ) -> (BuildRequest, mpsc::Receiver<String>) {
        let (log, lines) = mpsc::channel(16);
        let request = BuildRequest {
            machine: name.parse().unwrap(),
            artifact,
            layer: self.layer(name),
            egress: Egress::closed(),
            registry_proxy: None,
            cache: None,
            limits: BuildLimits {
                memory_mib: BUILDER_MIB,
                ..limits
            },
            log,
        };
        (request, lines)
    }

    fn layer(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.erofs"))
    }

    pub(crate) async fn build(
        &self,
        name: &str,
        files: &[(&str, &str)],
        limits: BuildLimits,
    ) -> (Result<BuiltRoot, BuildError>, Vec<String>) {
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(name, text)| (*name, text.as_bytes()))
            .collect();
        self.build_artifact(name, artifact(&files), limits).await
    }

    pub(crate) async fn build_artifact(
        &self,
        name: &str,
        artifact: Artifact,
        limits: BuildLimits,
    ) -> (Result<BuiltRoot, BuildError>, Vec<String>) {
        let (request, lines) = self.request(name, artifact, limits);
        self.run_build(name, request, lines).await
    }

    /// Builds with the layers of earlier builds of the same account.
    pub(crate) async fn build_cached(
        &self,
        name: &str,
        dockerfile: &str,
    ) -> (Result<BuiltRoot, BuildError>, Vec<String>) {
        let artifact = artifact(&[("Dockerfile", dockerfile.as_bytes())]);
        let (mut request, lines) = self.request(name, artifact, BuildLimits::default());
        request.cache = self.caches.lease("111122223333", &self.bases.id);
        self.run_build(name, request, lines).await
    }

    /// Where the layers that [`Self::build_cached`] kept are.
    pub(crate) fn cached(&self, number: u32) -> PathBuf {
        let place = self.directory.path().join("caches/111122223333");
        place.join(&self.bases.id).join(format!("{number}.qcow2"))
    }

    async fn run_build(
        &self,
        name: &str,
        request: BuildRequest,
        mut lines: mpsc::Receiver<String>,
    ) -> (Result<BuiltRoot, BuildError>, Vec<String>) {
        let builder = self.builder();
        let collect = async {
            let mut log = Vec::new();
            while let Some(line) = lines.recv().await {
                println!("{name}: {line}");
                log.push(line);
            }
            log
        };
        tokio::join!(builder.build(request), collect)
    }

    /// Neither a machine nor half a layer.
    pub(crate) fn assert_nothing_is_left(&self) {
        assert!(self.node.machines().is_empty());
        let leftovers: Vec<_> = fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name != "n" && name != "builder.cpio" && name != "caches")
            .collect();
        assert!(leftovers.is_empty(), "{leftovers:?}");
    }

    /// Runs an image to its end; answers what it wrote.
    pub(crate) async fn run(&self, name: &str, root: &Root) -> (Vec<String>, ExitStatus) {
        let request = BootRequest {
            kernel: variable("HEARTH_TEST_KERNEL"),
            initramfs: variable("HEARTH_TEST_INITRAMFS"),
            command_line: KERNEL_ARGUMENTS.to_owned(),
            vcpus: 1,
            memory_mib: 256,
            disks: root.disk_requests(&self.bases.scratch()),
            egress: Egress::closed(),
        };
        let mut machine = self
            .node
            .boot(&name.parse().unwrap(), request)
            .await
            .unwrap()
            .machine;
        machine
            .start_application(root.start_spec(name.to_owned()))
            .await
            .unwrap();
        let mut logs = machine.agent().logs().await.unwrap();
        let mut output = Vec::new();
        loop {
            match logs.next().await {
                Ok(line) => output.push(String::from_utf8(line.bytes).unwrap()),
                Err(AgentError::Stream(FrameError::Closed)) => break,
                Err(error) => panic!("{error}: {output:?}"),
            }
        }
        // Its output may end before it does.
        let ended = async {
            loop {
                let status = machine.agent().control(ControlRequest::Status).await;
                if let ControlReply::Status(AppStatus::Exited(status)) = status.unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let status = tokio::time::timeout(Duration::from_secs(10), ended).await;
        let status = status.expect("it still runs");
        machine.terminate().await.unwrap();
        (output, status)
    }
}

/// A zip with these files.
pub(crate) fn artifact(files: &[(&str, &[u8])]) -> Artifact {
    let entries: Vec<(&str, u32, &[u8])> = files
        .iter()
        .map(|(name, content)| (*name, 0o100_755, *content))
        .collect();
    artifact_of(&entries)
}

/// When every file of [`artifact_of`] was changed, in seconds since 1970.
pub(crate) const MODIFIED: i64 = 1_600_000_000;

/// A zip with these names, modes and contents; a name with a slash at its end is an empty folder.
pub(crate) fn artifact_of(entries: &[(&str, u32, &[u8])]) -> Artifact {
    let mut archive = rawzip::ZipArchiveWriter::new(Vec::new());
    let modified = rawzip::time::UtcDateTime::from_unix(MODIFIED);
    for (name, mode, content) in entries {
        if name.ends_with('/') {
            let directory = archive.new_dir(*name).last_modified(modified);
            directory.unix_permissions(*mode).create().unwrap();
            continue;
        }
        let file = archive.new_file(*name).last_modified(modified);
        let file = file.unix_permissions(*mode);
        let (mut entry, config) = file.start().unwrap();
        let mut writer = config.wrap(&mut entry);
        writer.write_all(content).unwrap();
        let (_, descriptor) = writer.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&archive.finish().unwrap()).unwrap();
    Artifact::open(file.path(), &ArtifactLimits::default()).unwrap()
}

fn program() -> PathBuf {
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .map(|directory| directory.join("hearth-vmm"))
        .find(|path| path.is_file())
        .expect("hearth-vmm is not in PATH; run these tests with `cargo xtask test`")
}

fn variable(name: &str) -> PathBuf {
    let value = env::var_os(name);
    value
        .unwrap_or_else(|| panic!("{name} is not set; run these tests with `cargo xtask test`"))
        .into()
}
