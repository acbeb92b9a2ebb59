//! The command line: the commands are in this file, the arguments of each group in a module of its own.

pub(crate) mod account;
pub(crate) mod base;
pub(crate) mod function;
pub(crate) mod image;
pub(crate) mod machine;
pub(crate) mod microvm;
pub(crate) mod service;
pub(crate) mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use account::{AccountCommand, KeyCommand};
use base::{BaseCommand, HostCommand, RuntimeCommand};
use function::FunctionCommand;
use image::ImageCommand;
use machine::{MachineCommand, SnapshotCommand, VmmArguments};
use microvm::{
    CopyArguments, CurlArguments, ExecArguments, ForkArguments, ListArguments, LogsArguments,
    OneMicrovm, RemoveArguments, RunArguments, ShowArguments, SomeMicrovms, TokenArguments,
};
use service::{AuditArguments, DownArguments, UpArguments};

const EXIT_STATUS: &str = "\
Exit status:
  0    done
  1    it failed, a check found something, or an invoked function failed
  2    the command line or the configuration is wrong
  3    what was named does not exist
  4    the service does not answer
  5    what was waited for did not come within --timeout; the service goes on with it
  22   hearth curl: the microVM's endpoint gave the answer, not the application, and says why; with --fail also an
       HTTP status of 400 or more
  125  hearth exec: the process has no exit status; else hearth exec exits as the process does
  130  Ctrl-C while waiting for a microVM; the service goes on with it
  141  nobody reads standard output any more

Commands on images, functions and microVMs ask the service of --data. AWS_ENDPOINT_URL names another one; then
AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and HEARTH_CA_BUNDLE count too.";

/// AWS Lambda MicroVMs on your own hardware.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, disable_help_subcommand = true, after_help = EXIT_STATUS)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct GlobalArguments {
    /// Data directory: base images, snapshots, microVMs [default: /var/lib/hearth].
    #[arg(long, global = true, env = "HEARTH_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Configuration file [default: /etc/hearth/hearth.toml, if there is one].
    #[arg(long, global = true, env = "HEARTH_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the service: the AWS API, S3, logs and the endpoints of microVMs, until Ctrl-C.
    ///
    /// Where KVM cannot run guests, an emulated host is started and the service runs in it.
    Up(UpArguments),
    /// Stop the service.
    Down(DownArguments),
    /// Say whether the service is up, and what it has.
    Status,
    /// Check this host: what was found, why it matters, what mends it.
    Doctor,
    /// Print shell exports that make AWS clients use the service: eval "$(hearth env)".
    Env,
    #[command(flatten)]
    Client(ClientCommand),
    /// Guest kernels and agents: build, list.
    #[command(subcommand)]
    Base(BaseCommand),
    /// Runtimes of Lambda functions: build, list.
    #[command(subcommand)]
    Runtime(RuntimeCommand),
    /// Find out whether KVM on this host runs guests, by running a small one; if not, start the emulated host.
    ///
    /// One that runs already belongs to whoever started it, usually `hearth up`, and is left alone.
    Host {
        #[command(subcommand)]
        command: Option<HostCommand>,
    },
    /// MicroVMs of this host, by hand and without the service: boot, clone, suspend, resume, fork.
    #[command(subcommand)]
    Machine(MachineCommand),
    /// Sealed snapshots: list, verify, delete.
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Print the completions of a shell: hearth completions bash > /etc/bash_completion.d/hearth.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Run one microVM (started by a node, not by people).
    #[command(hide = true)]
    Vmm(VmmArguments),
}

/// Commands that call the service, only by its public APIs.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Attack this service with microVMs of its own, and say what stopped each attempt.
    ///
    /// Makes two accounts, 999999999998 and 999999999997, an image and two microVMs, and removes all but the accounts.
    /// Needs a key of the first account. Exits with 1 unless every attack was stopped, and each could have worked.
    Audit(AuditArguments),
    /// Accounts of the service: create, list.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Access keys of accounts: create, list, disable, enable, delete.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Images: build one from a folder, list, show, delete.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Lambda functions: create one from a folder, invoke, update, list, show, read its log, delete.
    #[command(subcommand)]
    Function(FunctionCommand),
    /// Run a microVM from an image. Prints its id.
    Run(RunArguments),
    /// List microVMs.
    #[command(visible_aliases = ["ls", "list"])]
    Ps(ListArguments),
    /// Show everything that is known of a microVM.
    Show(ShowArguments),
    /// Run a command in a microVM, beside its application; its exit status becomes ours.
    Exec(ExecArguments),
    /// Open a shell with a terminal in a microVM that was run with --shell.
    Shell(OneMicrovm),
    /// Copy a file into a microVM or out of it.
    Cp(CopyArguments),
    /// Print what a microVM's application wrote, or everything of an image.
    Logs(LogsArguments),
    /// Suspend microVMs: their memory is on disk when this returns.
    Suspend(SomeMicrovms),
    /// Resume suspended microVMs.
    Resume(SomeMicrovms),
    /// Make a second microVM that begins where the first is now. Prints its id.
    Fork(ForkArguments),
    /// Terminate microVMs and remove what they had.
    #[command(visible_alias = "delete")]
    Rm(RemoveArguments),
    /// Print a token for the endpoint of a microVM: the header X-aws-proxy-auth.
    Token(TokenArguments),
    /// Send a request through the endpoint of a microVM, with a fresh token.
    ///
    /// Wakes one that is suspended if it was run with --idle and without --no-auto-resume.
    Curl(CurlArguments),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// What lists things is `ls` and `list` everywhere, and what removes them has two names as well.
    #[test]
    fn every_noun_takes_the_same_words() {
        let has = |command: &clap::Command, word: &str| {
            command.get_subcommands().any(|known| {
                known.get_name() == word || known.get_all_aliases().any(|alias| alias == word)
            })
        };
        let root = Cli::command();
        let nouns = root.get_subcommands().filter(|noun| has(noun, "ls"));
        let mut listed = Vec::new();
        for noun in nouns.chain([&root]) {
            assert!(has(noun, "list"), "{} list", noun.get_name());
            assert_eq!(
                has(noun, "rm"),
                has(noun, "delete") || noun.get_name() == "machine",
                "{}",
                noun.get_name()
            );
            listed.push(noun.get_name());
        }
        listed.sort_unstable();
        let expected = [
            "account", "base", "function", "hearth", "image", "key", "machine", "runtime",
            "snapshot",
        ];
        assert_eq!(listed, expected);
    }
}
