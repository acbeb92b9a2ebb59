//! Commands on microVMs: what can be typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::microvm::wait::Patience;

use super::values::{HeaderArgument, Place, Variable};

/// Arguments of `hearth run`.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The image: its name or ARN, perhaps with a version: hello, hello:2.0.
    pub(crate) image: String,
    /// What the application's run hook is given; @FILE reads it from a file.
    #[arg(long, value_name = "TEXT")]
    pub(crate) payload: Option<String>,
    /// Suspend it after so many seconds without traffic.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) idle: Option<u32>,
    /// Terminate it after so many seconds suspended.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 3600,
        requires = "idle"
    )]
    pub(crate) keep: u32,
    /// Do not resume it by traffic once it is suspended.
    #[arg(long, requires = "idle")]
    pub(crate) no_auto_resume: bool,
    /// What counts like traffic while it goes on: processes of `hearth exec` and `hearth shell`, or CPU time of the guest.
    #[arg(
        long,
        value_name = "WHAT",
        value_enum,
        value_delimiter = ',',
        requires = "idle"
    )]
    pub(crate) active_while: Vec<ActiveWhile>,
    /// Terminate it after so many seconds, whatever it does.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_duration: Option<u32>,
    /// Its execution role.
    #[arg(long, value_name = "ARN")]
    pub(crate) role: Option<String>,
    /// Let `hearth shell` into it (the connector ALL_INGRESS).
    #[arg(long)]
    pub(crate) shell: bool,
    /// Let pages of other origins ask the application, without a token, what they may send it: CORS preflights (the
    /// connector CORS_INGRESS).
    #[arg(long)]
    pub(crate) cors: bool,
    /// A network connector that it may go out by. May be repeated.
    #[arg(long = "egress", value_name = "ARN")]
    pub(crate) egress: Vec<String>,
    /// Wait until it is RUNNING.
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) patience: WaitArguments,
}

/// How long a command waits.
#[derive(Debug, Args)]
pub(crate) struct WaitArguments {
    /// Wait for so many seconds at most; the service goes on all the same. 0 waits without a limit.
    #[arg(long, value_name = "SECONDS", default_value_t = Patience::DEFAULT_SECONDS)]
    pub(crate) timeout: u64,
}

/// What keeps a microVM from being idle, beside traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ActiveWhile {
    Exec,
    Cpu,
}

/// Arguments of `hearth ps`.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Also those that are TERMINATED.
    #[arg(long, short = 'a')]
    pub(crate) all: bool,
    /// Only those of this image.
    #[arg(long)]
    pub(crate) image: Option<String>,
    /// Only their ids, whole, one a line.
    #[arg(long, short = 'q')]
    pub(crate) quiet: bool,
}

/// One microVM.
#[derive(Debug, Args)]
pub(crate) struct OneMicrovm {
    /// Its id or a beginning of it that no other one has.
    #[arg(value_name = "ID")]
    pub(crate) microvm: String,
}

/// What to show of a microVM.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    #[command(flatten)]
    pub(crate) one: OneMicrovm,
    /// Show where the time of its last launch, fork or resume went.
    #[arg(long)]
    pub(crate) times: bool,
}

/// Some microVMs.
#[derive(Debug, Args)]
pub(crate) struct SomeMicrovms {
    /// Their ids or beginnings of them.
    #[arg(value_name = "ID", required = true)]
    pub(crate) microvms: Vec<String>,
    /// Do not wait until it is done.
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArguments,
}

/// Arguments of `hearth fork`.
#[derive(Debug, Args)]
pub(crate) struct ForkArguments {
    #[command(flatten)]
    pub(crate) one: OneMicrovm,
    /// Terminate the new one after so many seconds; by default as its parent.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_duration: Option<u32>,
    /// Wait until it is RUNNING.
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) patience: WaitArguments,
}

/// Arguments of `hearth rm`.
#[derive(Debug, Args)]
pub(crate) struct RemoveArguments {
    /// Their ids or beginnings of them.
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub(crate) microvms: Vec<String>,
    /// Every microVM of the account.
    #[arg(long, conflicts_with = "microvms")]
    pub(crate) all: bool,
    /// Do not wait until they are gone.
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArguments,
}

/// Arguments of `hearth exec`.
#[derive(Debug, Args)]
pub(crate) struct ExecArguments {
    /// Pass standard input on.
    #[arg(long, short = 'i')]
    pub(crate) interactive: bool,
    /// Give it a terminal, which ours becomes; passes standard input on too.
    #[arg(long, short = 't')]
    pub(crate) tty: bool,
    /// A variable, added to the application's. May be repeated.
    #[arg(long = "env", short = 'e', value_name = "NAME=VALUE")]
    pub(crate) env: Vec<Variable>,
    /// Working directory; by default the application's.
    #[arg(long, short = 'w', default_value = "", hide_default_value = true)]
    pub(crate) workdir: String,
    /// User: uid, uid:gid, name or name:group; by default the application's.
    #[arg(long, short = 'u', default_value = "", hide_default_value = true)]
    pub(crate) user: String,
    /// Kill it after so many seconds, at most 3600.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) timeout: u32,
    #[command(flatten)]
    pub(crate) one: OneMicrovm,
    /// Program and arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// Arguments of `hearth cp`.
#[derive(Debug, Args)]
pub(crate) struct CopyArguments {
    /// Copy a folder with all that is in it.
    #[arg(long, short = 'r')]
    pub(crate) recursive: bool,
    /// The most that may come out of a microVM with --recursive: the guest says how much it is, and may never end. The default
    /// is more than most working directories have, and less than most disks have free.
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    pub(crate) max_size: u32,
    /// A file here, ID:/absolute/path, or - for standard input.
    pub(crate) source: Place,
    /// Where to: a file or folder here, ID:/absolute/path, or - for standard output. What is copied to a folder is put into it
    /// and keeps its name.
    pub(crate) target: Place,
}

/// Arguments of `hearth logs`. With --json, every event is a line.
#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    /// A microVM (its output) or an image (its builds and all its microVMs).
    #[arg(value_name = "ID|IMAGE")]
    pub(crate) of: String,
    /// Go on as more is written, until Ctrl-C; of a microVM until it is TERMINATED.
    #[arg(long, short = 'f')]
    pub(crate) follow: bool,
    /// Begin with the last so many lines.
    #[arg(long, short = 'n', value_name = "LINES")]
    pub(crate) tail: Option<usize>,
}

/// Arguments of `hearth token`.
#[derive(Debug, Args)]
pub(crate) struct TokenArguments {
    #[command(flatten)]
    pub(crate) one: OneMicrovm,
    /// The one port that it opens; by default every port.
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// How long it is good, in minutes.
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    pub(crate) expires: u32,
}

/// Arguments of `hearth curl`.
#[derive(Debug, Args)]
pub(crate) struct CurlArguments {
    #[command(flatten)]
    pub(crate) one: OneMicrovm,
    /// Path and query.
    #[arg(default_value = "/")]
    pub(crate) path: String,
    /// The method; GET, or POST with a body.
    #[arg(long = "request", short = 'X', value_name = "METHOD")]
    pub(crate) method: Option<http::Method>,
    /// The body; @FILE reads it from a file, @- from standard input.
    #[arg(long, short = 'd', value_name = "DATA")]
    pub(crate) body: Option<String>,
    /// A header. May be repeated.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<HeaderArgument>,
    /// Fail with exit status 22 when the application's HTTP status is 400 or more.
    #[arg(long, short = 'f')]
    pub(crate) fail: bool,
    /// Print the answer's status and headers too.
    #[arg(long, short = 'i')]
    pub(crate) include: bool,
    /// Write the body to a file.
    #[arg(long, short = 'o', value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The application's port [default: 8080].
    #[arg(long)]
    pub(crate) port: Option<u16>,
}
