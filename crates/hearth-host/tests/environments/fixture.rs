//! A node with a runtime, and zips made on the spot.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hearth_host::{EnvironmentOptions, HostEnvironments};
use hearth_image::{ArtifactLimits, CodeDisks, Runtimes};
use hearth_invoke::{
    CodeFile, Environment, EnvironmentId, EnvironmentSpec, Environments, Program, ProgramKind,
    StartError,
};
use hearth_net::Egress;
use hearth_node::{Node, NodeOptions};
use tempfile::TempDir;

use crate::runtime_api::RuntimeApi;

/// Self-tests of the kernel that take long under emulation and prove nothing here.
const KERNEL_ARGUMENTS: &str = "initcall_blacklist=load_system_certificate_list";

pub(crate) struct Fixture {
    directory: TempDir,
    node: Node,
    environments: HostEnvironments,
}

/// An environment, and what its node knows of it.
pub(crate) struct Running {
    pub(crate) environment: Arc<dyn Environment>,
    node: Node,
    name: String,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let node = Node::open(NodeOptions::new(directory.path().join("n"), program())).unwrap();
        let limits = ArtifactLimits::default();
        let options = EnvironmentOptions {
            kernel: variable("HEARTH_TEST_KERNEL"),
            initramfs: variable("HEARTH_TEST_INITRAMFS"),
            command_line: KERNEL_ARGUMENTS.to_owned(),
            runtimes: Runtimes::new(variable("HEARTH_TEST_RUNTIMES")),
            disks: CodeDisks::open(directory.path().join("disks"), limits, 1 << 30).unwrap(),
            egress: Egress::closed(),
            has_boot_templates: true,
        };
        Self {
            environments: HostEnvironments::new(node.clone(), options),
            node,
            directory,
        }
    }

    pub(crate) async fn start(&self, spec: &EnvironmentSpec) -> Result<Running, StartError> {
        let id = EnvironmentId::random();
        let environment = self.environments.start(id, Arc::new(spec.clone())).await?;
        Ok(Running {
            environment,
            node: self.node.clone(),
            name: format!("environment-{id}"),
        })
    }

    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// A zip with these files, all of them executable.
    pub(crate) fn zip(&self, name: &str, files: &[(&str, &str)]) -> CodeFile {
        let mut archive = rawzip::ZipArchiveWriter::new(Vec::new());
        for (name, content) in files {
            let file = archive.new_file(*name).unix_permissions(0o100_755);
            let (mut entry, config) = file.start().unwrap();
            let mut writer = config.wrap(&mut entry);
            writer.write_all(content.as_bytes()).unwrap();
            let (_, descriptor) = writer.finish().unwrap();
            entry.finish(descriptor).unwrap();
        }
        let bytes = archive.finish().unwrap();
        CodeFile {
            // Any digest tells them apart.
            sha256: *blake3::hash(&bytes).as_bytes(),
            path: self.file(&format!("{name}.zip"), &bytes),
        }
    }

    pub(crate) fn assert_nothing_is_left(&self) {
        assert_eq!(self.node.names(), []);
    }

    pub(crate) async fn wait_until_nothing_is_left(&self) {
        for _ in 0..200 {
            if self.node.names().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.assert_nothing_is_left();
    }
}

impl Running {
    /// Starts the bootstrap, and speaks the Runtime API with it.
    pub(crate) async fn bootstrap(&self) -> RuntimeApi {
        let program = Program {
            kind: ProgramKind::Bootstrap,
            variables: variables(),
        };
        let program = self.environment.spawn(program).await.unwrap();
        RuntimeApi::serve(Arc::clone(&self.environment), program)
    }

    pub(crate) fn kill_vmm(&self) {
        let machine = self.node.machine(&self.name.parse().unwrap()).unwrap();
        machine.record().process.kill();
    }
}

pub(crate) fn spec(code: CodeFile, layers: Vec<CodeFile>) -> EnvironmentSpec {
    EnvironmentSpec {
        account: "111122223333".to_owned(),
        region: "us-east-1".to_owned(),
        function_name: "function".to_owned(),
        function_arn: "arn:aws:lambda:us-east-1:111122223333:function:function".to_owned(),
        version: "$LATEST".to_owned(),
        runtime: "python3.11".to_owned(),
        handler: "app.handler".to_owned(),
        memory_mb: 256,
        ephemeral_storage_mb: 1024,
        code,
        layers,
        variables: BTreeMap::new(),
        tenant: None,
    }
}

pub(crate) fn extension(name: &str) -> Program {
    Program {
        kind: ProgramKind::Extension(name.to_owned()),
        variables: variables(),
    }
}

fn variables() -> BTreeMap<String, String> {
    [
        ("_HANDLER", "app.handler"),
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
        ("AWS_LAMBDA_FUNCTION_NAME", "function"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        (
            "PATH",
            "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        ),
        ("PYTHONPATH", "/var/runtime"),
        ("LANG", "en_US.UTF-8"),
        ("OWN", "variable"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
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
