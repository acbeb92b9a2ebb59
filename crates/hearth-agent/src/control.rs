//! Control streams: requests and replies.

use std::fs;
use std::rc::Rc;
use std::time::Duration;

use hearth_wire::agent::{AgentHello, ControlReply, ControlRequest, PROTOCOL_VERSION, Refusal};
use hearth_wire::frame::FrameError;
use rustix::io::Errno;
use rustix::time::ClockId;

use crate::agent::Agent;
use crate::bounds::MAX_OPEN_BYTES;
use crate::channel::Channel;
use crate::clock::clock_ns;
use crate::container::files;
use crate::fault::{Fault, Step};
use crate::sys::process;
use crate::{disks, metrics, power, services, unique};

/// Longest grace period of a stop, as the host does not wait longer for an answer.
const MAX_GRACE: Duration = Duration::from_secs(120);

/// Longest duration of a sync of all file systems.
const SYNC_DEADLINE: Duration = Duration::from_secs(60);

/// Serves one stream until the host closes it.
pub(crate) async fn serve(agent: &Rc<Agent>, channel: &Channel) -> Result<(), FrameError> {
    let _slot = match agent.slots.control.take() {
        Ok(slot) => slot,
        Err(refusal) => return channel.send(&ControlReply::Refused(refusal)).await,
    };
    loop {
        let request: ControlRequest = channel.receive(MAX_OPEN_BYTES).await?;
        let is_shutdown = request == ControlRequest::Shutdown;
        let reply = answer(agent, request)
            .await
            .unwrap_or_else(ControlReply::Refused);
        channel.send(&reply).await?;
        if is_shutdown {
            // The reply has to leave through a card or a queue before the machine ends.
            tokio::time::sleep(Duration::from_millis(50)).await;
            power::end();
        }
    }
}

async fn answer(agent: &Rc<Agent>, request: ControlRequest) -> Result<ControlReply, Refusal> {
    let application = &agent.application;
    match request {
        ControlRequest::Hello => return Ok(ControlReply::Hello(hello())),
        ControlRequest::Status => return Ok(ControlReply::Status(application.status())),
        ControlRequest::Metrics => return Ok(ControlReply::Metrics(metrics::read(agent))),
        ControlRequest::Start(spec) => application.start(&agent.reaper, &agent.logs, &spec).await?,
        ControlRequest::Freeze => application.freeze().await?,
        ControlRequest::Restored(wanted) => {
            return Ok(ControlReply::MadeUnique(unique::make_unique(
                agent, &wanted,
            )?));
        }
        ControlRequest::MountRuntime(spec) => {
            application.mount_runtime(&agent.reaper, &spec).await?;
        }
        ControlRequest::StartFunction(spec) => {
            application.start_function(&agent.reaper, &spec).await?;
            services::serve_runtime_api(agent, spec.runtime_api_port)?;
        }
        ControlRequest::FunctionUsage => {
            return Ok(ControlReply::FunctionUsage(metrics::function_usage()));
        }
        ControlRequest::AwaitDisks(wanted) => disks::await_sizes(&wanted).await?,
        ControlRequest::Thaw => application.thaw()?,
        ControlRequest::Sync => sync(agent).await?,
        ControlRequest::Stop { grace_ms } => {
            let grace = Duration::from_millis(u64::from(grace_ms)).min(MAX_GRACE);
            application.stop(grace).await?;
        }
        ControlRequest::Shutdown => power::stop_everything(agent).await,
    }
    Ok(ControlReply::Done)
}

/// Syncs all file systems, in a child process: the application may have mounted a file system of its own that hangs.
async fn sync(agent: &Agent) -> Result<(), Refusal> {
    let worker = process::fork(|| {
        rustix::fs::sync();
        0
    })
    .step("fork")?;
    let ended = agent.reaper.watch(worker);
    match tokio::time::timeout(SYNC_DEADLINE, ended).await {
        Ok(_) => Ok(()),
        Err(_) => Err(Fault::new("sync", Errno::TIMEDOUT).into()),
    }
}

fn hello() -> AgentHello {
    AgentHello {
        protocol: PROTOCOL_VERSION,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel_release: rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned(),
        boot_id: fs::read_to_string(files::KERNEL_BOOT_ID)
            .unwrap_or_default()
            .trim_end()
            .to_owned(),
        uptime_ns: clock_ns(ClockId::Boottime),
        realtime_ns: clock_ns(ClockId::Realtime),
    }
}
