//! One build, step by step.

use std::io;
use std::path::Path;
use std::time::Duration;

use hearth_control::hooks::Hook;
use hearth_control::host::{BuildEvent, BuildFailure, BuildSpec, Built, SnapshotRef, Template};
use hearth_control::image::BuildSizes;
use hearth_control::instance::{Logging, OutputPlace};
use hearth_control::time::Timestamp;
use hearth_image::{Artifact, BuildRequest, Root};
use hearth_logs::NewEvent;
use hearth_node::{BootRequest, CloneRequest, Machine, MachineName, Node, NodeError};
use hearth_snapshot::SnapshotId;
use tokio::sync::{mpsc, oneshot};

use super::checks::CheckedApplication;
use super::failure::VersionBuildError;
use super::{OWN_LINE, Origin, VersionBuilder};
use crate::application;
use crate::build_names::{BUILD, BUILDER, VALIDATE};
use crate::monitor;
use crate::output::{Output, now_ms};

/// Name of the disk that a Dockerfile adds.
const LAYER: &str = "layer.erofs";

/// Most lines of a Dockerfile's output that wait for the log store.
const LOG_QUEUE: usize = 256;

/// Most lines that are written to the log store at once.
const LOG_BATCH: usize = 128;

/// The output of an application counts as complete if it wrote nothing for this long after it answered.
const OUTPUT_QUIET: Duration = Duration::from_millis(200);

/// A build that is under way.
pub(super) struct Job<'a> {
    version_builder: &'a VersionBuilder,
    node: &'a Node,
    spec: &'a BuildSpec,
    progress: mpsc::Sender<BuildEvent>,
    log: Option<Output>,
}

impl<'a> Job<'a> {
    pub(super) fn new(
        version_builder: &'a VersionBuilder,
        node: &'a Node,
        spec: &'a BuildSpec,
        progress: mpsc::Sender<BuildEvent>,
    ) -> Self {
        Self {
            version_builder,
            node,
            spec,
            progress,
            log: log_of(version_builder, spec),
        }
    }

    pub(super) async fn run(&self) -> Result<Built, BuildFailure> {
        let mut sizes = BuildSizes::default();
        match self.work(&mut sizes).await {
            Ok(built) => {
                self.say("the version is ready").await;
                Ok(built)
            }
            Err(failure) => {
                tracing::warn!(id = %self.spec.id, cause = failure.cause(), "build failed");
                self.say(&format!("the build failed: {}", failure.cause()))
                    .await;
                self.clean_up().await;
                Err(BuildFailure {
                    reason: failure.reason(),
                    sizes,
                })
            }
        }
    }

    async fn work(&self, sizes: &mut BuildSizes) -> Result<Built, VersionBuildError> {
        // What an earlier attempt left, if the service was restarted under it.
        self.clean_up().await;
        self.enter("fetching the artifact").await;
        let uri = &self.spec.spec.artifact;
        let place = self.version_builder.place(self.spec.id);
        std::fs::create_dir_all(&place)?;
        let artifacts = &self.version_builder.artifacts;
        let limits = &self.version_builder.artifact_limits;
        let artifact = artifacts
            .fetch(&self.spec.image.scope, uri, &place, limits)
            .await?;
        self.enter("running the Dockerfile").await;
        let root = self.build_root(artifact).await?;
        sizes.code_install_bytes = Some(code_bytes(&root));
        self.enter("starting the application").await;
        let machine = self.boot(&root).await.map_err(VersionBuildError::Start)?;
        let snapshot = self.prepare_and_seal(machine, &root, sizes).await?;
        self.enter("validating a clone").await;
        self.validate(snapshot, &root).await?;
        self.describe()?;
        Ok(Built {
            template: Template {
                snapshot: SnapshotRef(snapshot.to_string()),
                tier: self.spec.spec.tier,
            },
            sizes: *sizes,
        })
    }

    fn describe(&self) -> io::Result<()> {
        let origin = Origin {
            image: self.spec.image.to_string(),
            version: self.spec.version.to_string(),
            guest_base: self.version_builder.base.id.clone(),
            base_images: self.version_builder.bases.id.clone(),
        };
        origin.write(&self.version_builder.place(self.spec.id))
    }

    /// Runs the Dockerfile and copies its output to the build log.
    async fn build_root(&self, artifact: Artifact) -> Result<Root, VersionBuildError> {
        let place = self.version_builder.place(self.spec.id);
        let (log, lines) = mpsc::channel(LOG_QUEUE);
        let account = self.spec.image.scope.account;
        let builder = self.version_builder.builder(self.node);
        let egress = self.egress().await;
        let request = BuildRequest {
            machine: self.name(BUILDER).map_err(VersionBuildError::Start)?,
            artifact,
            layer: place.join(LAYER),
            limits: self.version_builder.build_limits,
            registry_proxy: self.version_builder.registry_logins.proxy(account, &egress),
            egress,
            cache: (self.version_builder.caches).lease(&account.to_string(), &builder.bases.id),
            log,
        };
        let (built, ()) = tokio::join!(builder.build(request), self.write_lines(lines));
        let built = built?;
        if let Some(times) = built.times {
            self.say(&format!("the Dockerfile was run: {times}")).await;
        }
        Ok(built.root)
    }

    async fn boot(&self, root: &Root) -> Result<Machine, NodeError> {
        let tier = self.spec.spec.tier;
        let request = BootRequest {
            kernel: self.version_builder.base.vmlinux(),
            initramfs: self.version_builder.base.initramfs(),
            command_line: String::new(),
            vcpus: u8::try_from(tier.peak_vcpus()).unwrap_or(u8::MAX),
            memory_mib: tier.peak_mib(),
            disks: root.disk_requests(&self.version_builder.bases.scratch()),
            egress: self.egress().await,
        };
        let (name, version_builder) = (self.name(BUILD)?, self.version_builder);
        let launched = version_builder
            .bases
            .boot(
                self.node,
                &name,
                request,
                version_builder.has_boot_templates,
            )
            .await?;
        Ok(launched.machine)
    }

    /// Starts the application, waits until it is ready, seals the snapshot and ends the machine.
    async fn prepare_and_seal(
        &self,
        mut machine: Machine,
        root: &Root,
        sizes: &mut BuildSizes,
    ) -> Result<SnapshotId, VersionBuildError> {
        let spec = &self.spec.spec;
        let start = application::start_spec(root, &self.spec.image, self.spec.version, spec)?;
        machine
            .start_application(start)
            .await
            .map_err(VersionBuildError::Start)?;
        self.enter("waiting until the application is ready").await;
        let agent = machine.agent();
        let exposed = root.config.exposed_ports.first().copied();
        let application = self.checked_application(&agent);
        self.while_copying_output(&agent, application.wait_until_ready(self.hooks(), exposed))
            .await?;
        self.enter("sealing the snapshot").await;
        let (id, summary) = machine.snapshot().await.map_err(VersionBuildError::Seal)?;
        sizes.memory_bytes = Some(summary.memory_bytes);
        sizes.disk_bytes = disk_bytes(&self.node.layout().snapshot(id));
        machine.terminate().await.map_err(VersionBuildError::Seal)?;
        Ok(id)
    }

    /// Calls `/validate` of a clone, or connects to its first exposed port, and records the touched pages. The clone is
    /// removed in any case.
    async fn validate(&self, snapshot: SnapshotId, root: &Root) -> Result<(), VersionBuildError> {
        let name = self.name(VALIDATE).map_err(VersionBuildError::Clone)?;
        let request = CloneRequest::new(snapshot);
        let launched = self.node.clone_snapshot(&name, request).await;
        let machine = launched.map_err(VersionBuildError::Clone)?.machine;
        let agent = machine.agent();
        let application = self.checked_application(&agent);
        let validate = self.hooks().and_then(|hooks| hooks.active(Hook::Validate));
        let checked = match validate {
            Some(validate) => {
                let call = application.call_until_done(&validate);
                self.while_copying_output(&agent, call).await
            }
            None => {
                application
                    .touch(root.config.exposed_ports.first().copied())
                    .await;
                Ok(())
            }
        };
        if checked.is_ok() {
            self.record_touched_pages(&machine, snapshot).await;
        }
        self.node
            .erase(&name)
            .await
            .map_err(VersionBuildError::Clone)?;
        checked
    }

    /// Stores the pages that a clone has touched, for prefetching. Best effort: a version without the list launches
    /// slower.
    async fn record_touched_pages(&self, clone: &Machine, snapshot: SnapshotId) {
        let noted = match clone.touched_pages().await {
            Ok(pages) => self.node.set_prefetch(snapshot, &pages).await,
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            tracing::warn!(%error, id = %self.spec.id, "the version has no list of pages to prefetch");
        }
    }

    /// Copies the application's output to the build log while `work` runs. Everything that it wrote by the end of
    /// `work` is in the log afterwards.
    async fn while_copying_output<T>(
        &self,
        agent: &hearth_node::AgentClient,
        work: impl Future<Output = T>,
    ) -> T {
        let (done, is_done) = oneshot::channel();
        let quiet = async {
            // Its sender is used or, with everything here, dropped.
            let _ = is_done.await;
            OUTPUT_QUIET
        };
        let work = async {
            let outcome = work.await;
            let _ = done.send(());
            outcome
        };
        let copying = monitor::copy_output(agent, self.log.as_ref(), quiet);
        tokio::join!(work, copying).0
    }

    fn checked_application<'s>(
        &self,
        agent: &'s hearth_node::AgentClient,
    ) -> CheckedApplication<'s> {
        CheckedApplication {
            agent,
            scale: self.version_builder.hook_timeout_scale,
        }
    }

    /// The egress of the build, and of the application before its snapshot.
    async fn egress(&self) -> hearth_net::Egress {
        self.version_builder
            .connector_egress
            .of(&self.spec.spec.egress)
            .await
    }

    fn hooks(&self) -> Option<&hearth_control::hooks::Hooks> {
        self.spec.spec.hooks.as_ref()
    }

    fn name(&self, beginning: &str) -> Result<MachineName, NodeError> {
        Ok(format!("{beginning}{}", self.spec.id).parse()?)
    }

    /// Logs and reports that the next phase begins.
    async fn enter(&self, phase: &'static str) {
        // Nobody has to listen.
        let _ = self.progress.try_send(BuildEvent::Phase(phase));
        self.say(phase).await;
    }

    async fn say(&self, line: &str) {
        if let Some(log) = &self.log {
            log.say(format!("{OWN_LINE}{line}")).await;
        }
    }

    async fn write_lines(&self, mut lines: mpsc::Receiver<String>) {
        let mut batch = Vec::with_capacity(LOG_BATCH);
        while lines.recv_many(&mut batch, LOG_BATCH).await > 0 {
            let time_ms = now_ms();
            let events = batch
                .drain(..)
                .map(|message| NewEvent { time_ms, message })
                .collect();
            if let Some(log) = &self.log {
                log.write(events).await;
            }
        }
    }

    /// Removes everything that this build has made, including a snapshot.
    async fn clean_up(&self) {
        for beginning in [BUILDER, VALIDATE, BUILD] {
            let Ok(name) = self.name(beginning) else {
                continue;
            };
            if let Err(error) = self.node.erase(&name).await {
                tracing::warn!(%error, %name, "removing a machine of a build failed");
            }
        }
        let own = self.name(BUILD).map(|name| name.to_string());
        for snapshot in self.node.snapshots() {
            if own
                .as_ref()
                .is_ok_and(|own| *own == snapshot.record.machine)
                && let Err(error) = self.node.delete_snapshot(snapshot.id).await
            {
                tracing::warn!(%error, id = %snapshot.id, "removing a snapshot of a build failed");
            }
        }
        if let Err(error) = self.version_builder.forget(self.spec.id).await {
            tracing::warn!(%error, "removing the files of a build failed");
        }
    }
}

/// The log of a build.
pub(super) fn log_of(version_builder: &VersionBuilder, spec: &BuildSpec) -> Option<Output> {
    // Builds are always logged somewhere, also where the application's output is not wanted.
    let logging = spec
        .spec
        .logging
        .as_ref()
        .filter(|logging| !matches!(logging, Logging::Disabled));
    let wanted = OutputPlace {
        scope: spec.image.scope.clone(),
        group: spec.image.log_group(),
        version: spec.version.to_string(),
        logging: logging.cloned(),
        begun_at: Timestamp::from_unix_ms(now_ms()),
    };
    let writer = format!("build-{}", spec.id);
    Output::new(&version_builder.logs, &wanted, &writer)
}

/// Disk space of a version's read-only disks in bytes, including shared ones.
fn code_bytes(root: &Root) -> u64 {
    let sizes = root.disks.iter().map(|disk| disk.image.metadata());
    sizes.flatten().map(|metadata| metadata.len()).sum()
}

/// Disk space of a snapshot's sealed disks in bytes.
fn disk_bytes(snapshot: &Path) -> Option<u64> {
    let entries = std::fs::read_dir(snapshot).ok()?.flatten();
    let disks = entries.filter(|entry| entry.path().extension().is_some_and(|ext| ext == "qcow2"));
    Some(
        disks
            .filter_map(|disk| Some(disk.metadata().ok()?.len()))
            .sum(),
    )
}
