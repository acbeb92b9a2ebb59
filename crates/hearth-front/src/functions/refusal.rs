//! The table that maps refusals of the store to the codes and texts of AWS (facts sections 1.2 to 1.10).

use hearth_functions::{CodeError, FunctionError};

use super::names::{invalid, not_found};
use crate::fault::Fault;
use crate::lambda::Context;

fn conflict(message: impl Into<String>) -> Fault {
    Fault::new(409, "ResourceConflictException", message)
}

pub(super) fn fault(context: &Context<'_>, error: FunctionError) -> Fault {
    use FunctionError as E;
    match error {
        E::NoFunction(arn) => not_found(format!("Function not found: {arn}")),
        E::FunctionExists(name) => conflict(format!("Function already exist: {name}")),
        E::Pending(_) => conflict(
            "The operation cannot be performed at this time. The function is currently in the following state: Pending",
        ),
        E::UpdateInProgress(arn) => conflict(format!(
            "The operation cannot be performed at this time. An update is in progress for resource: {arn}"
        )),
        E::StaleRevision => Fault::new(
            412,
            "PreconditionFailedException",
            format!(
                "The Revision Id provided does not match the latest Revision Id. Call the {} API to retrieve the latest \
                 Revision Id",
                reader(context.operation.name())
            ),
        ),
        E::CodeDiffers { given, current } => {
            let current = super::shape::base64_of_hex(&current);
            invalid(format!(
                "CodeSHA256 ({given}) is different from current CodeSHA256 in $LATEST ({current}). Please try again with \
                 the CodeSHA256 in $LATEST."
            ))
        }
        E::UnzippedTooLarge(limit) => unzipped_too_large(limit),
        E::CodeStorageExceeded => Fault::new(
            400,
            "CodeStorageExceededException",
            "Code storage limit exceeded.",
        ),
        E::LatestNotDeletable => {
            invalid("$LATEST version cannot be deleted without deleting the function.")
        }
        E::AliasNotDeletable => invalid("Deletion of aliases is not currently supported."),
        E::VersionInUse(aliases) => conflict(format!(
            "Unable to delete version because the following aliases reference it: [{}]",
            aliases.join(", ")
        )),
        E::EnvironmentTooLarge(json) => invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have \
             provided exceeded the 4KB limit. String measured: {json}"
        )),
        E::ReservedVariables(keys) => invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have \
             provided contains reserved keys that are currently not supported for modification. Reserved keys used in \
             this request: {}",
            keys.join(", ")
        )),
        E::LevelsOfText => invalid(
            "To use ApplicationLogLevel and/or SystemLogLevel you must set LogFormat to JSON.",
        ),
        E::ReservedLogGroup => invalid("Log group name cannot start with 'aws/'."),
        other => of_parts(context, other),
    }
}

/// Refusals about what a function has: aliases, layers, policies, settings.
fn of_parts(context: &Context<'_>, error: FunctionError) -> Fault {
    use FunctionError as E;
    match error {
        E::TooManyAliases => Fault::new(
            400,
            "AliasLimitExceededException",
            "The function has too many aliases.",
        ),
        E::AliasExists(arn) => conflict(format!("Alias already exists: {arn}")),
        E::NoAlias(arn) if context.operation.name() == "UpdateAlias" => {
            not_found(format!("Alias not found: {arn}"))
        }
        E::NoAlias(arn) => not_found(format!("Cannot find alias arn: {arn}")),
        E::WeightedLatest => {
            invalid("$LATEST is not supported for an alias pointing to more than 1 version")
        }
        E::VersionTwice(version) => invalid(format!(
            "Invalid function version {version}. Function version {version} is already included in routing \
             configuration."
        )),
        E::ReservesTooMuch => invalid(format!(
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below \
             its minimum value of [{}].",
            context.functions.store.limits().unreserved_concurrency
        )),
        E::NoEventInvoke(arn) => not_found(format!(
            "The function {arn} doesn't have an EventInvokeConfig"
        )),
        E::TooManyTags => invalid("Number of tags exceeds resource tag limit."),
        E::StatementExists(id) => conflict(format!(
            "The statement id ({id}) provided already exists. Please provide a new statement id, or remove the existing \
             statement."
        )),
        E::NoStatement(id) => not_found(format!("Statement {id} is not found in resource policy.")),
        E::NoPolicy if context.operation.name().starts_with("Remove") => {
            not_found("No policy is associated with the given resource.")
        }
        E::NoPolicy => not_found(MISSING),
        E::PolicyTooLong => Fault::new(
            400,
            "PolicyLengthExceededException",
            "The final policy size is bigger than the limit (20480).",
        ),
        other => of_layers(context, other),
    }
}

/// What AWS says of a resource that is not a function.
const MISSING: &str = "The resource you requested does not exist.";

fn of_layers(context: &Context<'_>, error: FunctionError) -> Fault {
    use FunctionError as E;
    match error {
        E::NoLayerVersion(arn) => match context.operation.name() {
            "CreateFunction" | "UpdateFunctionConfiguration" => {
                invalid(format!("Layer version {arn} does not exist."))
            }
            "GetLayerVersion" | "GetLayerVersionByArn" => not_found(MISSING),
            _ => not_found(format!("Layer version {arn} does not exist.")),
        },
        E::SameLayer(one, other) => invalid(format!(
            "Two different versions of the same layer are not allowed to be referenced in the same function. {one} and \
             {other} are versions of the same layer."
        )),
        E::TooManyLayers => invalid("Cannot reference more than 5 layers."),
        E::LayerElsewhere => invalid(format!(
            "Layers are not in the same region as the function. Layers are expected to be in region {}.",
            context.owner().region
        )),
        E::LayerDenied(arn) => Fault::access_denied(format!(
            "User: {} is not authorized to perform: lambda:GetLayerVersion on resource: {arn} because no resource-based \
             policy allows the lambda:GetLayerVersion action",
            context.caller.arn()
        )),
        other => {
            tracing::error!(
                error = &other as &dyn std::error::Error,
                "the store of functions failed"
            );
            service_failure()
        }
    }
}

fn service_failure() -> Fault {
    Fault::new(
        500,
        "ServiceException",
        "An internal error occurred. Please retry.",
    )
    .retry_after(1)
}

/// The operation that tells the current revision id.
fn reader(operation: &str) -> &'static str {
    match operation {
        "AddPermission" | "RemovePermission" => "GetPolicy",
        "AddLayerVersionPermission" | "RemoveLayerVersionPermission" => "GetLayerPolicy",
        _ => "GetFunction/GetAlias",
    }
}

fn unzipped_too_large(limit: u64) -> Fault {
    invalid(format!("Unzipped size must be smaller than {limit} bytes"))
}

/// The refusal of a zip.
pub(super) fn code_fault(error: CodeError) -> Fault {
    use CodeError as E;
    match error {
        E::ZippedTooLarge(limit) => Fault::new(
            413,
            "RequestEntityTooLargeException",
            format!("Zipped size must be smaller than {limit} bytes"),
        ),
        E::UnzippedTooLarge(limit) => unzipped_too_large(limit),
        E::Empty => invalid("Uploaded file must be a non-empty zip"),
        E::Refused(error) => {
            // The client knows its zip; why it was refused is for the operator, who may be asked.
            let reason = error.to_string();
            tracing::info!(?reason, "a zip was refused");
            invalid(
                "Could not unzip uploaded file. Please check your file, then try to upload again.",
            )
        }
        E::Source(error) | E::File(error) => {
            tracing::error!(%error, "a zip cannot be stored");
            service_failure()
        }
    }
}
