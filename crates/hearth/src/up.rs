//! `hearth up`: the service, here where KVM runs guests, else inside the emulated host.

mod emulated;
mod log;
mod own_memory;
mod ports;
mod record;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use hearth_service::{EndpointConfig, Hosting, Service, ServiceConfig};
use hearth_vmm::probe;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::service::UpArguments;
use crate::config::Config;
use crate::shared::Shared;
use crate::{base, output, vmm};

pub(crate) use own_memory::END_FACTOR as SERVICE_END_FACTOR;
pub(crate) use record::UpRecord;

/// What is logged unless HEARTH_LOG says otherwise. `s3s` calls each request that a client has malformed or broken off an
/// error of this service; the client is told, and the audit log has it.
const LOGGED: &str = "info,s3s=off";

pub(crate) fn run(shared: &Shared, arguments: &UpArguments) -> Result<ExitCode> {
    let config = shared.config.clone().under(arguments);
    config.check()?;
    if arguments.in_emulated_host {
        return serve(&config, Hosting::Emulated);
    }
    config.check_reach()?;
    if arguments.print_config {
        return print(shared, &config);
    }
    // This only checks them; the files are read again where they are needed.
    config.registries.to_service()?;
    config.registries.logins()?;
    config.s3.to_service(config.region.as_str())?;
    let _record = UpRecord::write(&shared.data)?;
    let finding = probe::probe();
    if !finding.is_usable() {
        eprintln!("{finding}");
        return emulated::run(shared, &config);
    }
    ports::check(&config)?;
    base::current(shared).context("cannot prepare the guest's kernel")?;
    base::prepare(shared).context("cannot prepare the base images of builds")?;
    serve(&config, Hosting::Hardware)
}

fn print(shared: &Shared, config: &Config) -> Result<ExitCode> {
    if shared.json {
        output::json(config)?;
    } else {
        print!("{}", config.to_toml()?);
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the service in this process until it is asked to end. MicroVMs run on.
fn serve(config: &Config, hosting: Hosting) -> Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // A line of the log that cannot be written is not reported on standard error: on a full disk that report would
        // fail too, and the failure would end the task that wrote the line.
        .log_internal_errors(false)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("HEARTH_LOG")
                .unwrap_or_else(|_| LOGGED.into()),
        )
        .init();
    keep_private()?;
    if hosting == Hosting::Hardware {
        own_memory::bound(config);
    }
    let config = service_config(config, hosting)?;
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
        match hosting {
            Hosting::Hardware => eprintln!("stopping; microVMs run on"),
            // The machine around them goes too.
            Hosting::Emulated => eprintln!("stopping; suspended microVMs are kept"),
        }
        service.stop().await;
        Ok(ExitCode::SUCCESS)
    });
    runtime.shutdown_background();
    outcome
}

/// Files of the service are private to its user, whatever the umask of the shell that started it. Core dumps are
/// forbidden: the service's memory holds keys.
fn keep_private() -> Result<()> {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, none).context("cannot forbid core dumps")
}

fn service_config(config: &Config, hosting: Hosting) -> Result<ServiceConfig> {
    let endpoints = match (&config.endpoints.domain, config.endpoints.listen) {
        (Some(domain), Some(listen)) => EndpointConfig::Domain {
            domain: domain.clone(),
            listen,
        },
        _ => EndpointConfig::Ports(config.endpoints.ports.0.clone()),
    };
    Ok(ServiceConfig {
        data: config.data.clone(),
        vmm_program: vmm::program()?,
        busybox: hearth_emulated::find_static_busybox()
            .context("no statically linked busybox is installed (package busybox-static)")?,
        listen: config.listen,
        metrics_listen: config.metrics.listen,
        tls: config.tls.to_service(),
        region: config.region.clone(),
        endpoints,
        hosting,
        hook_timeout_scale: config
            .hook_timeout_scale
            .max(hosting.least_hook_timeout_scale()),
        image_aliases: config.images.aliases.clone(),
        layer_cache_bytes: u64::from(config.images.layer_cache_mib) << 20,
        has_boot_templates: config.images.boot_templates,
        artifact_limits: config.images.artifact_limits(),
        build_limits: config.images.build_limits(),
        registries: config.registries.to_service()?,
        registry_logins: config.registries.logins()?,
        s3: config.s3.to_service(config.region.as_str())?,
        upload_silence: config.limits.upload_silence(),
        quotas: config.quotas.of_all(),
        account_quotas: config.quotas.of_accounts()?,
        network: config.network.to_service(),
        has_host_limits: config.host_limits,
        device_limits: config.limits.to_node(),
        service_memory_bytes: config.memory.service_bytes(),
        short_memory: config.memory.short(),
        users: config.users.0.clone(),
        proxies: config.proxies.clone(),
        has_endpoint_limits: config.endpoints.limits,
    })
}
