//! `hearth up` and what looks after it: what can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use hearth_control::id::Region;

use crate::config::{ImageAlias, PortRange};

/// Arguments of `hearth up`. What is missing comes from the configuration file, then from its defaults.
#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    /// Where the API listens; beyond the loopback only with --tls [default: 127.0.0.1:4580].
    #[arg(long, env = "HEARTH_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Encrypt the API with TLS, as endpoints always are.
    #[arg(long)]
    pub(crate) tls: bool,
    /// The region that it answers for [default: us-east-1].
    #[arg(long, env = "HEARTH_REGION")]
    pub(crate) region: Option<Region>,
    /// Ports of the loopback for the endpoints of microVMs, one each [default: 20000-20063].
    #[arg(long, value_name = "FIRST-LAST")]
    pub(crate) endpoint_ports: Option<PortRange>,
    /// Name endpoints <uuid>.DOMAIN instead, all behind --endpoint-listen.
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) endpoint_domain: Option<String>,
    /// Where endpoints listen that are named by domain.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) endpoint_listen: Option<SocketAddr>,
    /// Let FROM NAME mean a base image, for example
    /// public.ecr.aws/lambda/microvms:al2023-minimal=hearth/python:3.11. Added to those of the configuration file.
    #[arg(long = "image-alias", value_name = "NAME=BASE")]
    pub(crate) image_aliases: Vec<ImageAlias>,
    /// Lift the limits on connections, bandwidth and requests that endpoints have by size, as on AWS.
    #[arg(long)]
    pub(crate) no_endpoint_limits: bool,
    /// Certificates that builds believe when they pull images, as PEM; by default those of this host.
    #[arg(long, value_name = "FILE")]
    pub(crate) build_ca_bundle: Option<PathBuf>,
    /// Give microVMs and builds no network card: they are reached through their endpoints, and reach nothing.
    #[arg(long)]
    pub(crate) no_network: bool,
    /// Do without control groups (cgroup version 2): nothing bounds what one microVM takes of the host.
    #[arg(long)]
    pub(crate) no_host_limits: bool,
    /// Give hooks so many times as long as their images say: for a host that is slow, as one whose KVM is nested may be
    /// [default: 1; the emulated host multiplies by 30 in any case].
    #[arg(long, value_name = "FACTOR", env = "HEARTH_HOOK_TIMEOUT_SCALE")]
    pub(crate) hook_timeout_scale: Option<u32>,
    /// Print what all of this amounts to, as a configuration file, and start nothing.
    #[arg(long)]
    pub(crate) print_config: bool,
    /// We are inside the emulated host that another `hearth up` started.
    #[arg(long, hide = true)]
    pub(crate) in_emulated_host: bool,
}

/// Arguments of `hearth down`.
#[derive(Debug, Args)]
pub(crate) struct DownArguments {
    /// Terminate every microVM of the account first, and wait until they are gone. Without it they run on where KVM runs
    /// guests.
    #[arg(long)]
    pub(crate) all: bool,
}

/// Arguments of `hearth audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArguments {
    /// Print every attack with what stops it and its control, and make none. Needs no service.
    #[arg(long)]
    pub(crate) list: bool,
}
