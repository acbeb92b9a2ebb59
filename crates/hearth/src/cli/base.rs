//! `hearth base`, `hearth runtime` and `hearth host`: what can be typed.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum BaseCommand {
    /// Build the base version of the newest kernel and this agent, or find it in the cache.
    Build {
        /// A kernel of your own instead of the newest of Debian: a .deb, a bzImage or a vmlinux.
        #[arg(long)]
        kernel: Option<PathBuf>,
        /// Directory with the modules that belong to a bzImage or vmlinux.
        #[arg(long, requires = "kernel")]
        modules: Option<PathBuf>,
        /// The static agent; by default the one beside this program.
        #[arg(long)]
        agent: Option<PathBuf>,
    },
    /// List base versions (kernel package, agent, date) and, if the service answers, on which each version of an image stands
    /// and what building it again would bring.
    #[command(visible_alias = "list")]
    Ls,
    /// Make the base images that Dockerfiles stand on (hearth/debian:12, hearth/python:3.11, hearth/python-data:3.11), once; needs root.
    Prepare {
        /// Certificates that base images and builder trust too, as PEM, from now on: of a proxy that everything on this network goes through,
        /// for example. Base images that trust others are made anew.
        #[arg(long, value_name = "FILE")]
        ca_bundle: Option<PathBuf>,
    },
    /// Make the newest kernel's base version and a new set of base images from the packages of today; needs root. `hearth up` uses
    /// them from its next start on, and then removes sets that nothing stands on.
    Refresh {
        /// Certificates that base images and builder trust too, as PEM, from now on: of a proxy that everything on this network goes through,
        /// for example. Base images that trust others are made anew.
        #[arg(long, value_name = "FILE")]
        ca_bundle: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RuntimeCommand {
    /// List the runtimes of functions that can be built, and the versions that were.
    #[command(visible_alias = "list")]
    Ls,
    /// Build runtimes from Debian's packages and the official interface clients, or find them built; needs root and mmdebstrap.
    ///
    /// `hearth up` uses them at once, an emulated host from its next start on.
    Build {
        /// For example python3.11; `hearth runtime ls` lists them.
        #[arg(required = true, value_name = "RUNTIME")]
        runtimes: Vec<String>,
    },
    /// Build runtimes anew from the packages of today. New environments get the new version; older versions are kept.
    Refresh {
        /// All that were built, if none is given.
        #[arg(value_name = "RUNTIME")]
        runtimes: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// Only say whether KVM runs guests; exit status 0 means that it does.
    Check,
    /// Keep an emulated host running here, whatever KVM does, until Ctrl-C.
    Start {
        /// Ports of the loopback that lead inside.
        #[arg(long, value_name = "PORT")]
        forward: Vec<u16>,
    },
    /// Run a command inside the emulated host that is running.
    Exec {
        /// Program and arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        argv: Vec<String>,
    },
}
