//! `hearth image`: what can be typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::values::{HookSwitch, Variable, memory_mib};

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Build an image from a folder with a Dockerfile: zip, upload, create (or add a version), follow the build log.
    ///
    /// Prints the image's name when it is ready. Its log and its progress go to standard error.
    Build(Box<BuildArguments>),
    /// List images.
    #[command(visible_alias = "list")]
    Ls,
    /// Show an image, its versions and how they were built.
    Show {
        /// Its name or ARN, perhaps with a version: hello, hello:2.0.
        image: String,
    },
    /// Show who holds what on the host's disks: versions, base images, cached layers, microVMs. The operator's alone.
    Du,
    /// Delete images, or single versions of them. Ends the build of one that is being built.
    #[command(visible_alias = "delete")]
    Rm {
        /// Names or ARNs, perhaps with a version: hello, hello:1.0.
        #[arg(required = true)]
        images: Vec<String>,
        /// Do not wait until they are gone.
        #[arg(long)]
        no_wait: bool,
    },
}

/// Arguments of `hearth image build`.
#[derive(Debug, Args)]
pub(crate) struct BuildArguments {
    /// Folder with a Dockerfile. What its .dockerignore names stays here.
    pub(crate) folder: PathBuf,
    /// Name of the image; by default that of the folder.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Baseline memory of its microVMs, in MiB: 512, 1024, 2048, 4096 or 8192.
    #[arg(long, value_name = "MIB", value_parser = memory_mib)]
    pub(crate) memory: Option<u32>,
    /// Port on which the application answers hooks.
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// A hook that the application answers: ready, validate, run, resume, suspend or terminate; ready=30 gives it 30
    /// seconds. May be repeated.
    #[arg(long = "hook", value_name = "HOOK[=SECONDS]", requires = "port")]
    pub(crate) hooks: Vec<HookSwitch>,
    /// A variable of the application's environment. May be repeated.
    #[arg(long = "env", short = 'e', value_name = "NAME=VALUE")]
    pub(crate) env: Vec<Variable>,
    /// A description of the version.
    #[arg(long)]
    pub(crate) description: Option<String>,
    /// The managed base image: a name or an ARN.
    #[arg(long, default_value = "al2023-1")]
    pub(crate) base: String,
    /// The build role; by default one of your account, which Hearth does not look into.
    #[arg(long, value_name = "ARN")]
    pub(crate) role: Option<String>,
    /// Give the application all capabilities instead of a container's.
    #[arg(long)]
    pub(crate) all_capabilities: bool,
    /// A network connector that the build may go out by. May be repeated.
    #[arg(long = "egress", value_name = "ARN")]
    pub(crate) egress: Vec<String>,
    /// The bucket for the zip; made if it is missing.
    #[arg(long, default_value = "hearth-builds")]
    pub(crate) bucket: String,
    /// Do not wait for the build: its log is `hearth logs NAME -f`.
    #[arg(long)]
    pub(crate) no_wait: bool,
}
