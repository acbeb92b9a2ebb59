//! Checks whether an application is ready for its snapshot, and whether a clone of it works.

use std::time::Duration;

use hearth_control::guest_call::CallOutcome;
use hearth_control::hooks::Hook;
use hearth_control::hooks::{ActiveHook, Hooks};
use hearth_node::AgentClient;
use hearth_wire::agent::{AppStatus, ControlReply, ControlRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::failure::VersionBuildError;
use crate::guest_call::{self, RETRY_PAUSE};

/// Longest wait for the exposed port of an application without a `/ready` hook. After that it is snapshotted as it is.
const QUIET_LIMIT: Duration = Duration::from_secs(5);

/// How long an application without hook and exposed port runs before its snapshot.
const QUIET_PAUSE: Duration = Duration::from_secs(1);

/// The request that is sent to a clone without a `/validate` hook.
const FIRST_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// How long the clone has to answer that request.
const TOUCH_LIMIT: Duration = Duration::from_millis(500);

/// An application in a guest that is being checked.
pub(super) struct CheckedApplication<'a> {
    pub(super) agent: &'a AgentClient,
    /// Factor on the time that it has to answer.
    pub(super) scale: u32,
}

impl CheckedApplication<'_> {
    /// Waits until the application may be snapshotted.
    pub(super) async fn wait_until_ready(
        &self,
        hooks: Option<&Hooks>,
        exposed: Option<u16>,
    ) -> Result<(), VersionBuildError> {
        match hooks.and_then(|hooks| hooks.active(Hook::Ready)) {
            Some(ready) => self.call_until_done(&ready).await,
            None => self.wait_for_port(exposed).await,
        }
    }

    /// Calls a hook until it answers 200. Retries on 503, and while nobody listens on the port.
    pub(super) async fn call_until_done(
        &self,
        active: &ActiveHook,
    ) -> Result<(), VersionBuildError> {
        let deadline = Instant::now() + active.timeout * self.scale;
        let timed_out = || VersionBuildError::TimedOut {
            hook: active.hook,
            limit: active.timeout,
        };
        loop {
            self.expect_running().await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(timed_out());
            }
            let call = ActiveHook {
                timeout: left,
                ..*active
            };
            match guest_call::call(self.agent, call.call(None)).await {
                CallOutcome::Done => return Ok(()),
                CallOutcome::Status(503) | CallOutcome::Refused | CallOutcome::Broken => {}
                CallOutcome::TimedOut => return Err(timed_out()),
                outcome @ CallOutcome::Status(_) => {
                    return Err(VersionBuildError::Hook(active.hook, outcome));
                }
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn wait_for_port(&self, exposed: Option<u16>) -> Result<(), VersionBuildError> {
        tokio::time::sleep(QUIET_PAUSE * self.scale).await;
        let deadline = Instant::now() + QUIET_LIMIT * self.scale;
        while Instant::now() < deadline {
            self.expect_running().await?;
            match exposed {
                Some(port) if self.agent.proxy(port).await.is_err() => {}
                _ => break,
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        self.expect_running().await
    }

    /// Does to a clone without `/validate` what its first client will do: connects and sends a request. Best effort:
    /// the port need not speak HTTP, or be served at once.
    pub(super) async fn touch(&self, exposed: Option<u16>) {
        let Some(port) = exposed else { return };
        let ask = async {
            let mut stream = self.agent.proxy(port).await.ok()?;
            stream.write_all(FIRST_REQUEST).await.ok()?;
            stream.read(&mut [0; 1]).await.ok()
        };
        // An application that waits for more says nothing.
        let _ = tokio::time::timeout(TOUCH_LIMIT * self.scale, ask).await;
    }

    async fn expect_running(&self) -> Result<(), VersionBuildError> {
        let status = self.agent.control(ControlRequest::Status).await;
        match status.map_err(|error| VersionBuildError::Start(error.into()))? {
            ControlReply::Status(AppStatus::Exited(status)) => {
                Err(VersionBuildError::Exited(status))
            }
            _ => Ok(()),
        }
    }
}
