//! `PublishLayerVersion`: the next version of a layer.

use hearth_functions::NewLayerVersion;

use super::code::CodeSource;
use super::code_location::location;
use super::layer_names::own_layer;
use super::runtimes::check_compatible;
use super::service::now_ms;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{PublishLayerVersionInput, PublishLayerVersionOutput};
use crate::model::values::ModelWord as _;

pub(super) async fn perform(
    context: &Context<'_>,
    input: PublishLayerVersionInput,
) -> Result<PublishLayerVersionOutput, Fault> {
    let name = own_layer(context, &input.layer_name)?;
    if let Some(runtimes) = &input.compatible_runtimes {
        check_compatible(runtimes)?;
    }
    let architectures = input.compatible_architectures.map(|list| {
        let words = list.into_iter().map(|word| word.text().to_owned());
        words.collect()
    });
    let source = CodeSource {
        zip_file: input.content.zip_file,
        s3_bucket: input.content.s3_bucket,
        s3_key: input.content.s3_key,
    };
    let new = NewLayerVersion {
        code: source.receive(context).await?,
        name,
        description: input.description.unwrap_or_default(),
        license: input.license_info,
        runtimes: input.compatible_runtimes,
        architectures,
    };
    let published = context
        .store(move |store, owner| store.publish_layer(owner, new, now_ms()))
        .await?;
    let location = location(context, &published.arn.owner, &published.code.sha256)?;
    Ok(shape::layer_version(&published, location))
}
