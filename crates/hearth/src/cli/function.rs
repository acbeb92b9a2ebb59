//! `hearth function`: what can be typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::values::Variable;

#[derive(Debug, Subcommand)]
pub(crate) enum FunctionCommand {
    /// Create a function from a folder or a zip, and wait until it is active. Prints its name.
    ///
    /// Runtime and handler are guessed where the files are plain: one Python file with `def lambda_handler` or
    /// `def handler`, an index.mjs, index.js or index.cjs with a `handler`, or an executable `bootstrap`. Else they have
    /// to be named.
    ///
    /// Modes and links are kept: a `bootstrap` has to be executable. What a .dockerignore names stays here, if there is
    /// such a file.
    Create(Box<CreateArguments>),
    /// Give a function other code, other settings, or both, and wait until they count. Prints its name.
    ///
    /// What is not named stays as it is. --env and --layer replace all variables and all layers.
    Update(Box<UpdateArguments>),
    /// Run a function and print its answer.
    ///
    /// The answer goes to standard output unchanged. If the function failed it is the error's object; then the error's type
    /// and message are on standard error, and the exit status is 1.
    Invoke(InvokeArguments),
    /// List functions.
    #[command(visible_alias = "list")]
    Ls,
    /// Show everything that is known of a function: settings, variables, layers, versions, aliases.
    Show {
        /// Its name or ARN, perhaps with a version or an alias: hello, hello:3, hello:live.
        function: String,
    },
    /// Print what a function wrote: its log group, with the START, END and REPORT lines of the service.
    Logs(FunctionLogsArguments),
    /// Delete functions with all that belongs to them, or single versions. Asks nothing. Logs are kept.
    #[command(visible_alias = "delete")]
    Rm {
        /// Names or ARNs, perhaps with a version: hello, hello:3.
        #[arg(required = true)]
        functions: Vec<String>,
    },
    /// Develop a function: deploy a folder and invoke it, again on each change, until Ctrl-C.
    ///
    /// Creates the function if it is not there, else updates it. Prints each answer on standard output, and the end of the
    /// log on standard error. A failure is told, and the next change tries again. The function stays when this ends:
    /// `hearth function rm NAME` deletes it.
    Dev(Box<DevArguments>),
}

/// Settings of a function. What is left out stays as it is, or is the service's default.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SettingArguments {
    /// The runtime: python3.13, provided.al2023, ... [default: guessed from the files].
    #[arg(long, value_name = "ID")]
    pub(crate) runtime: Option<String>,
    /// What the runtime calls: FILE.FUNCTION, as app.handler [default: guessed from the files].
    #[arg(long, value_name = "NAME")]
    pub(crate) handler: Option<String>,
    /// Memory in MB, 128 to 10240. The processor's share grows with it.
    #[arg(long, value_name = "MB")]
    pub(crate) memory: Option<u32>,
    /// Longest time of one invocation, in seconds.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u32>,
    /// A variable of the function's environment. May be repeated.
    #[arg(long = "env", short = 'e', value_name = "NAME=VALUE")]
    pub(crate) env: Vec<Variable>,
    /// The execution role: one that trusts lambda.amazonaws.com. By default hearth-function of your account, which is made
    /// if it is missing and is allowed nothing.
    #[arg(long, value_name = "ARN")]
    pub(crate) role: Option<String>,
    /// A version of a layer; later ones lie over earlier ones. May be repeated.
    #[arg(long = "layer", value_name = "ARN")]
    pub(crate) layers: Vec<String>,
    /// A description.
    #[arg(long)]
    pub(crate) description: Option<String>,
}

/// Arguments of `hearth function create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// The folder with the code, or a zip of it.
    #[arg(value_name = "FOLDER|ZIP")]
    pub(crate) code: PathBuf,
    /// Name of the function; by default that of the folder or zip.
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) settings: SettingArguments,
    /// The bucket for a zip of more than 50 MiB, which no request may contain; made if it is missing.
    #[arg(long, default_value = "hearth-builds")]
    pub(crate) bucket: String,
}

/// Arguments of `hearth function update`.
#[derive(Debug, Args)]
pub(crate) struct UpdateArguments {
    /// The folder with the new code, or a zip of it. Without it only settings change.
    #[arg(value_name = "FOLDER|ZIP")]
    pub(crate) code: Option<PathBuf>,
    /// Name of the function; by default that of the folder or zip.
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) settings: SettingArguments,
    /// The bucket for a zip of more than 50 MiB, which no request may contain; made if it is missing.
    #[arg(long, default_value = "hearth-builds")]
    pub(crate) bucket: String,
}

/// Arguments of `hearth function invoke`.
#[derive(Debug, Args)]
pub(crate) struct InvokeArguments {
    /// Its name or ARN, perhaps with a version or an alias: hello, hello:3, hello:live.
    pub(crate) function: String,
    /// The event, as JSON; - reads it from standard input. Without one it is {}.
    #[arg(value_name = "EVENT")]
    pub(crate) payload: Option<String>,
    /// Read the event from a file; - is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "payload")]
    pub(crate) event: Option<PathBuf>,
    /// The version or alias.
    #[arg(long, value_name = "NAME")]
    pub(crate) qualifier: Option<String>,
    /// Do not wait: the event is stored, and tried again should it fail. Prints nothing.
    #[arg(long = "async", conflicts_with = "log")]
    pub(crate) is_async: bool,
    /// Print the end of the log, at most 4 KiB, on standard error.
    #[arg(long)]
    pub(crate) log: bool,
}

/// Arguments of `hearth function logs`.
#[derive(Debug, Args)]
pub(crate) struct FunctionLogsArguments {
    /// Its name or ARN.
    pub(crate) function: String,
    /// Go on until Ctrl-C.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Begin with the last so many lines.
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<usize>,
}

/// Arguments of `hearth function dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArguments {
    /// The folder with the code.
    pub(crate) folder: PathBuf,
    /// The event, from a file that is watched too; {} without it.
    #[arg(long, value_name = "FILE")]
    pub(crate) event: Option<PathBuf>,
    /// Name of the function; by default that of the folder.
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) settings: SettingArguments,
    /// The bucket for a zip of more than 50 MiB, which no request may contain; made if it is missing.
    #[arg(long, default_value = "hearth-builds")]
    pub(crate) bucket: String,
}
