//! `UpdateFunctionCode`: new code for `$LATEST`, and a version of it if that is asked for.

use hearth_functions::{CodeUpdate, VersionId};

use super::code::CodeSource;
use super::names::unqualified;
use super::service::now_ms;
use super::settings::architectures;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{UpdateFunctionCodeInput, UpdateFunctionCodeOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: UpdateFunctionCodeInput,
) -> Result<UpdateFunctionCodeOutput, Fault> {
    let name = unqualified(context, &input.function_name)?;
    let function = name.clone();
    // A client should not have to send its code to learn that there is no such function.
    context
        .store(move |store, owner| store.version(owner, &function, None))
        .await?;
    let architectures = architectures(input.architectures)?;
    let source = CodeSource {
        zip_file: input.zip_file,
        s3_bucket: input.s3_bucket,
        s3_key: input.s3_key,
    };
    let update = CodeUpdate {
        code: source.receive(context).await?,
        architectures,
        revision_id: input.revision_id,
        is_published: input.publish.unwrap_or(false),
        is_dry_run: input.dry_run.unwrap_or(false),
    };
    let updated = context
        .store(move |store, owner| store.update_code(owner, &name, update, now_ms()))
        .await?;
    let arn = match updated.version {
        VersionId::Latest => updated.function_arn.clone(),
        VersionId::Number(_) => shape::qualified_arn(&updated),
    };
    Ok(shape::configuration(context, &updated, arn))
}
