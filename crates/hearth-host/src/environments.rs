//! Environments of Lambda functions as microVMs ([`hearth_invoke::Environments`]).
//!
//! ```text
//! start ── runtime (newest version) ── disks of code and layers ── clone of the runtime's template
//!                                                                       │ StartFunction
//!                                                                       v
//! spawn ──> exec in the container          accept <── service streams of the guest (environments/guest.rs)
//! ```
//!
//! The template of a runtime is a booted guest whose root is mounted and whose files are in memory; there is one for
//! each size of guest, made by the first environment of that size. No code of a function has run in it, so each
//! environment begins its own init, with random bytes, clock and identity of its own.
//!
//! An environment is named `environment-<id>` on its node. None outlives the service: the next start ends what is left.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use hearth_image::{CodeDisks, CodeZip, RuntimeVersion, Runtimes, recipe_of};
use hearth_invoke::{
    CodeFile, Environment, EnvironmentId, EnvironmentSpec, Environments, RUNTIME_API_PORT,
    StartError,
};
use hearth_net::Egress;
use hearth_node::{BootRequest, GuestTemplate, MachineName, Node, NodeError, with_causes};
use hearth_wire::agent::{ControlRequest, FunctionStart};

mod guest;
mod lines;
mod program;
mod size;

use guest::Guest;
use size::Size;

/// Prefix of the names of environments on their node.
const PREFIX: &str = "environment-";

/// The user of a function's programs, as the runtimes have it.
const USER: &str = "sbx_user1051";

/// Processes and threads of a function, and open files of each process, as on AWS.
const PROCESSES: u32 = 1024;
const OPEN_FILES: u32 = 1024;

/// What environments are made of on this host.
#[derive(Debug)]
pub struct EnvironmentOptions {
    /// Guest kernel.
    pub kernel: PathBuf,
    /// Initial ramdisk with the agent.
    pub initramfs: PathBuf,
    /// Additions to the kernel's command line.
    pub command_line: String,
    /// The runtimes of this host.
    pub runtimes: Runtimes,
    /// The disks of code and layers.
    pub disks: CodeDisks,
    /// What functions reach on the network. Ignored on a node without networks.
    pub egress: Egress,
    /// Whether environments begin from templates of the booted guest.
    pub has_boot_templates: bool,
}

/// Starts environments on this host.
#[derive(Debug, Clone)]
pub struct HostEnvironments {
    node: Node,
    options: Arc<EnvironmentOptions>,
}

impl HostEnvironments {
    /// Environments on `node`.
    #[must_use]
    pub fn new(node: Node, options: EnvironmentOptions) -> Self {
        Self {
            node,
            options: Arc::new(options),
        }
    }

    async fn runtime(&self, name: &str) -> Result<RuntimeVersion, StartError> {
        let (options, wanted) = (Arc::clone(&self.options), name.to_owned());
        let found = off_the_runtime(move || options.runtimes.newest(&wanted)).await?;
        let found = found.map_err(|error| StartError::Broken(format!("the runtimes: {error}")))?;
        found.ok_or_else(|| StartError::RuntimeNotBuilt(not_built(name)))
    }

    /// The disks with the code and with the layers.
    async fn disks(&self, spec: &EnvironmentSpec) -> Result<(PathBuf, PathBuf), StartError> {
        let zip = |file: &CodeFile| CodeZip {
            path: file.path.clone(),
            sha256: file.sha256,
        };
        let code = [zip(&spec.code)];
        let layers: Vec<_> = spec.layers.iter().map(zip).collect();
        let options = Arc::clone(&self.options);
        let made = off_the_runtime(move || {
            let code = options.disks.make(&code)?;
            Ok((code, options.disks.make(&layers)?))
        });
        made.await?.map_err(|error: hearth_image::CodeDiskError| {
            let text = with_causes(&error);
            match error {
                error if error.is_of_the_code() => StartError::CodeUnusable(text),
                hearth_image::CodeDiskError::Io { source, .. }
                    if source.kind() == io::ErrorKind::StorageFull =>
                {
                    StartError::NoRoom
                }
                _ => StartError::Broken(text),
            }
        })
    }

    async fn launch(
        &self,
        name: &MachineName,
        runtime: &RuntimeVersion,
        disks: &(PathBuf, PathBuf),
        size: Size,
    ) -> Result<Guest, StartError> {
        let options = &self.options;
        let request = BootRequest {
            kernel: options.kernel.clone(),
            initramfs: options.initramfs.clone(),
            command_line: options.command_line.clone(),
            vcpus: size.vcpus,
            memory_mib: size.memory_mib,
            disks: runtime.disk_requests(&disks.0, &disks.1),
            egress: options.egress.clone(),
        };
        let template = GuestTemplate {
            disks: runtime.template_disks(),
            prepare: Some(ControlRequest::MountRuntime(runtime.mount())),
        };
        let launched = match options.has_boot_templates {
            true => self.node.boot_from(name, request, &template).await,
            false => self.node.boot(name, request).await,
        };
        let launched = launched.map_err(|error| refused(&error))?;
        tracing::info!(%name, times = ?launched.times, "an environment was launched");
        let listener = launched.machine.listen_for_services();
        // Dropped with an error, it leaves nothing.
        let guest = Guest::new(self.node.clone(), launched.machine, size);
        let listener =
            listener.map_err(|error| StartError::Broken(format!("its services: {error}")))?;
        guest.serve(listener);
        Ok(guest)
    }
}

#[async_trait]
impl Environments for HostEnvironments {
    async fn start(
        &self,
        id: EnvironmentId,
        spec: Arc<EnvironmentSpec>,
    ) -> Result<Arc<dyn Environment>, StartError> {
        let name = name_of(id).map_err(|error| refused(&error))?;
        let runtime = self.runtime(&spec.runtime).await?;
        let disks = self.disks(&spec).await?;
        let size = Size::of(spec.memory_mb);
        let mut guest = self.launch(&name, &runtime, &disks, size).await?;
        let start = FunctionStart {
            disks: runtime.function_disks(u64::from(spec.ephemeral_storage_mb) << 20),
            user: USER.to_owned(),
            hostname: name.to_string(),
            memory_bytes: u64::from(spec.memory_mb) << 20,
            processes: PROCESSES,
            open_files: OPEN_FILES,
            runtime_api_port: RUNTIME_API_PORT,
        };
        let has_own_bootstrap = recipe_of(&spec.runtime).is_some_and(|it| it.has_own_bootstrap());
        guest.has_own_bootstrap = has_own_bootstrap;
        guest.has_layers = !spec.layers.is_empty();
        match guest.start_function(start).await {
            Ok(()) => Ok(Arc::new(guest)),
            Err(error) => {
                guest.end().await;
                Err(StartError::Broken(with_causes(&error)))
            }
        }
    }

    async fn end_orphans(&self) {
        for name in self.node.names() {
            if !name.to_string().starts_with(PREFIX) {
                continue;
            }
            if let Err(error) = self.node.erase(&name).await {
                tracing::error!(%error, %name, "an environment that an earlier process left cannot be ended");
            }
        }
        let (node, options) = (self.node.clone(), Arc::clone(&self.options));
        let removed = off_the_runtime(move || {
            let machines = node.machines();
            let used: HashSet<&Path> = machines
                .iter()
                .flat_map(|(_, record)| &record.disks)
                .map(|disk| disk.base.as_path())
                .collect();
            options.disks.remove_unused(|path| used.contains(path))
        });
        if let Ok(Err(error)) = removed.await {
            tracing::warn!(%error, "disks of functions that nothing uses are not removed");
        }
    }
}

fn name_of(id: EnvironmentId) -> Result<MachineName, NodeError> {
    Ok(format!("{PREFIX}{id}").parse()?)
}

fn not_built(runtime: &str) -> String {
    format!(
        "the runtime {runtime} is not built on this host; `hearth runtime build {runtime}` builds it"
    )
}

/// Why a guest did not start.
fn refused(error: &NodeError) -> StartError {
    match error {
        NodeError::NoUser => StartError::NoRoom,
        NodeError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
            StartError::NoRoom
        }
        error => StartError::Broken(with_causes(error)),
    }
}

/// Runs what blocks on files off the async runtime's threads.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StartError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| StartError::Broken(error.to_string()))
}
