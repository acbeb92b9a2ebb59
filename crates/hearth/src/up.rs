//! `hearth up`: the service, here where KVM runs guests, else inside the emulated host.

mod emulated;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use hearth_image::Registries;
use hearth_service::{EndpointConfig, Hosting, NetworkConfig, Service, ServiceConfig};
use hearth_vmm::probe;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Shared, UpArguments};
use crate::{base, vmm};

/// The host's own certificates, on Debian and its relatives.
const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

pub(crate) fn run(shared: &Shared, arguments: UpArguments) -> Result<ExitCode> {
    if arguments.in_emulated_host {
        return serve(shared, arguments, Hosting::Emulated);
    }
    let finding = probe::probe();
    if !finding.is_usable() {
        eprintln!("{finding}");
        return emulated::run(shared, &arguments);
    }
    base::current(shared).context("cannot prepare the guest's kernel")?;
    base::prepare(shared).context("cannot prepare the base images of builds")?;
    serve(shared, arguments, Hosting::Hardware)
}

/// Runs the service in this process until it is asked to end. MicroVMs run on.
fn serve(shared: &Shared, arguments: UpArguments, hosting: Hosting) -> Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("HEARTH_LOG")
                .unwrap_or_else(|_| "info".into()),
        )
        .init();
    let config = service_config(shared, arguments, hosting)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let service = Service::start(&config).await?;
        let url = &service.client_settings().endpoint_url;
        println!("hearth is up: {url} ({})", config.region);
        std::io::stdout().flush()?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        eprintln!("stopping; microVMs run on");
        service.stop().await;
        Ok(ExitCode::SUCCESS)
    });
    runtime.shutdown_background();
    outcome
}

fn service_config(
    shared: &Shared,
    arguments: UpArguments,
    hosting: Hosting,
) -> Result<ServiceConfig> {
    let endpoints = match (arguments.endpoint_domain, arguments.endpoint_listen) {
        (Some(domain), Some(listen)) => EndpointConfig::Domain { domain, listen },
        _ => EndpointConfig::Ports(arguments.endpoint_ports.0),
    };
    Ok(ServiceConfig {
        data: shared.data.clone(),
        vmm_program: vmm::program()?,
        busybox: hearth_emulated::find_static_busybox()
            .context("no statically linked busybox is installed (package busybox-static)")?,
        listen: arguments.listen,
        region: arguments.region,
        endpoints,
        hosting,
        image_aliases: arguments
            .image_aliases
            .into_iter()
            .map(|alias| (alias.name, alias.base))
            .collect(),
        registries: Registries {
            ca_bundle: ca_bundle(arguments.build_ca_bundle.as_deref())?,
            ..Registries::default()
        },
        network: NetworkConfig {
            is_off: arguments.no_network,
            ..NetworkConfig::default()
        },
        has_limits: !arguments.no_limits,
        has_endpoint_limits: !arguments.no_endpoint_limits,
    })
}

/// The certificates that builds believe: the chosen ones, or this host's if it has any.
fn ca_bundle(chosen: Option<&Path>) -> Result<Option<Vec<u8>>> {
    let path = chosen.unwrap_or(Path::new(CA_BUNDLE));
    match std::fs::read(path) {
        Ok(bundle) => Ok(Some(bundle)),
        Err(error) if chosen.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
