//! `CreateFunction`: creates a function, which is Pending in the answer.

use hearth_functions::{Configuration, FunctionRef, LogFormat, Logging, NewFunction, TracingMode};

use super::code::CodeSource;
use super::names::{invalid, unqualified};
use super::service::now_ms;
use super::settings::{LoggingSettings, Settings, architectures, environment, layers, tracing};
use super::{refusal, shape};
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{CreateFunctionInput, CreateFunctionOutput};

/// The longest name of a function; longer ones are refused here alone (facts section 1.2).
const MAX_NAME_CHARS: usize = 64;

pub(super) async fn perform(
    context: &Context<'_>,
    input: CreateFunctionInput,
) -> Result<CreateFunctionOutput, Fault> {
    check_name(&input.function_name)?;
    let name = unqualified(context, &input.function_name)?;
    let (Some(runtime), Some(handler)) = (input.runtime, input.handler) else {
        return Err(invalid(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        ));
    };
    let settings = Settings {
        runtime: Some(runtime.clone()),
        handler: Some(handler.clone()),
        role: Some(input.role.clone()),
        description: input.description,
        timeout_s: input.timeout,
        memory_mb: input.memory_size,
        ephemeral_storage_mb: input.ephemeral_storage.map(|storage| storage.size),
        environment: environment(input.environment),
        tracing: tracing(input.tracing_config.as_ref()),
        logging: LoggingSettings::read(input.logging_config),
    };
    settings.check(context.functions.store.limits())?;
    let mut configuration = Configuration {
        is_tenant_isolated: input.tenancy_config.is_some(),
        ..defaults(&name, runtime, handler, input.role)
    };
    if let Some(architectures) = architectures(input.architectures)? {
        configuration.architectures = architectures;
    }
    let applied = settings.apply(&mut configuration);
    applied.map_err(|error| refusal::fault(context, error))?;
    let layers = layers(input.layers)?.unwrap_or_default();
    let source = CodeSource {
        zip_file: input.code.zip_file,
        s3_bucket: input.code.s3_bucket,
        s3_key: input.code.s3_key,
    };
    let new = NewFunction {
        code: source.receive(context).await?,
        name,
        configuration,
        layers,
        tags: input.tags.unwrap_or_default(),
        is_published: input.publish.unwrap_or(false),
    };
    let created = context.store(move |store, owner| store.create(owner, new, now_ms()));
    let created = created.await?;
    // Unqualified even if a version was published (facts section 1.4).
    Ok(shape::as_named(context, &created, None))
}

fn check_name(text: &str) -> Result<(), Fault> {
    let name = text.parse::<FunctionRef>().map(|read| read.name);
    match name {
        Ok(name) if name.len() > MAX_NAME_CHARS => Err(invalid(format!(
            "1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must have \
             length less than or equal to {MAX_NAME_CHARS}"
        ))),
        _ => Ok(()),
    }
}

/// What a function has that was created without more (facts section 1.4).
fn defaults(name: &str, runtime: String, handler: String, role: String) -> Configuration {
    Configuration {
        runtime,
        handler,
        role,
        description: String::new(),
        timeout_s: 3,
        memory_mb: 128,
        ephemeral_storage_mb: 512,
        architectures: vec!["x86_64".to_owned()],
        environment: None,
        layers: Vec::new(),
        logging: Logging {
            format: LogFormat::Text,
            application_level: None,
            system_level: None,
            group: format!("/aws/lambda/{name}"),
        },
        tracing: TracingMode::PassThrough,
        is_tenant_isolated: false,
    }
}
