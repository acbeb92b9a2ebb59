//! Lifecycle hooks: guest calls that tell an application about its own life.

use std::fmt;
use std::time::Duration;

use crate::guest_call::{CallOutcome, GuestCall};

/// The path below which every hook is.
const PATH: &str = "/aws/lambda-microvms/runtime/v1";

/// A lifecycle hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hook {
    /// While an image is built: is the application ready to be snapshotted?
    Ready,
    /// On a clone of a new snapshot: does the application work?
    Validate,
    /// After launch: tells the application its microVM id and its payload.
    Run,
    /// After each resume.
    Resume,
    /// Before each suspend.
    Suspend,
    /// Before termination.
    Terminate,
}

impl Hook {
    /// The last element of the hook's path.
    #[must_use]
    pub const fn path_name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Validate => "validate",
            Self::Run => "run",
            Self::Resume => "resume",
            Self::Suspend => "suspend",
            Self::Terminate => "terminate",
        }
    }

    /// The hook's name at the beginning of a sentence about its failure.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Validate => "Validate",
            Self::Run => "Run",
            Self::Resume => "Resume",
            Self::Suspend => "Suspend",
            Self::Terminate => "Terminate",
        }
    }

    /// How long the application has to answer if the image sets no timeout (facts section 7, the live check).
    #[must_use]
    pub const fn default_timeout(self) -> Duration {
        match self {
            Self::Ready => Duration::from_secs(60),
            Self::Validate | Self::Run | Self::Resume | Self::Suspend | Self::Terminate => {
                Duration::from_secs(1)
            }
        }
    }
}

/// Whether a hook is called, and its timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HookSetting {
    /// Whether the hook is enabled, if the caller said so. `None` means that it is not.
    pub enabled: Option<bool>,
    /// The timeout in seconds, if the caller gave one.
    pub timeout_s: Option<u32>,
}

/// The hooks of an image. Members that the caller left out are `None`, because answers leave them out too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hooks {
    /// The port of the application that receives the calls.
    pub port: Option<u16>,
    /// The hooks of a microVM. `None` if the caller left the group out.
    pub microvm: Option<MicrovmHooks>,
    /// The hooks of a build. `None` if the caller left the group out.
    pub image: Option<ImageHooks>,
}

/// The hooks of a microVM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MicrovmHooks {
    /// `/run`.
    pub run: HookSetting,
    /// `/resume`.
    pub resume: HookSetting,
    /// `/suspend`.
    pub suspend: HookSetting,
    /// `/terminate`.
    pub terminate: HookSetting,
}

/// The hooks of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImageHooks {
    /// `/ready`.
    pub ready: HookSetting,
    /// `/validate`.
    pub validate: HookSetting,
}

/// An enabled hook with all that is needed to call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveHook {
    /// The hook.
    pub hook: Hook,
    /// The port of the application.
    pub port: u16,
    /// How long the application has to answer.
    pub timeout: Duration,
}

impl ActiveHook {
    /// The guest call of the hook, with the body that is given.
    #[must_use]
    pub fn call(&self, body: Option<String>) -> GuestCall {
        GuestCall {
            port: self.port,
            path: format!("{PATH}/{}", self.hook.path_name()),
            body,
            timeout: self.timeout,
        }
    }
}

impl Hooks {
    /// The setting of one hook.
    #[must_use]
    pub fn setting(&self, hook: Hook) -> HookSetting {
        let microvm = self.microvm.unwrap_or_default();
        let image = self.image.unwrap_or_default();
        match hook {
            Hook::Ready => image.ready,
            Hook::Validate => image.validate,
            Hook::Run => microvm.run,
            Hook::Resume => microvm.resume,
            Hook::Suspend => microvm.suspend,
            Hook::Terminate => microvm.terminate,
        }
    }

    /// Whether a hook is enabled.
    #[must_use]
    pub fn is_enabled(&self, hook: Hook) -> bool {
        self.setting(hook).enabled == Some(true)
    }

    /// An enabled hook, ready to be called. `None` if it is not enabled.
    #[must_use]
    pub fn active(&self, hook: Hook) -> Option<ActiveHook> {
        let setting = self.setting(hook);
        if setting.enabled != Some(true) {
            return None;
        }
        let seconds = |timeout_s: u32| Duration::from_secs(u64::from(timeout_s));
        let timeout = setting.timeout_s.map_or(hook.default_timeout(), seconds);
        Some(ActiveHook {
            hook,
            port: self.port?,
            timeout,
        })
    }
}

/// A failed hook. Displayed as the `stateReason` of its microVM, in the text measured on AWS (facts section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HookFailure {
    /// The hook.
    pub hook: Hook,
    /// How the call failed: never `Done`.
    pub outcome: CallOutcome,
}

impl fmt::Display for HookFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ADVICE: &str =
            "Please check your hook endpoint and application logs for more details.";
        let title = self.hook.title();
        match self.outcome {
            CallOutcome::Status(status) => {
                write!(
                    f,
                    "{title} lifecycle hook returned HTTP status {status}. {ADVICE}"
                )
            }
            CallOutcome::Refused => {
                write!(f, "{title} lifecycle hook connection was refused. {ADVICE}")
            }
            CallOutcome::TimedOut => write!(f, "{title} lifecycle hook timed out. {ADVICE}"),
            CallOutcome::Broken | CallOutcome::Done => {
                write!(f, "{title} lifecycle hook failed. {ADVICE}")
            }
        }
    }
}
