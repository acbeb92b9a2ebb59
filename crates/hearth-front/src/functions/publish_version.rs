//! `PublishVersion`: a version of what `$LATEST` is now, or the last one if nothing has changed.

use hearth_functions::Publication;

use super::names::unqualified;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{PublishVersionInput, PublishVersionOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: PublishVersionInput,
) -> Result<PublishVersionOutput, Fault> {
    let name = unqualified(context, &input.function_name)?;
    let digest = input.code_sha256.filter(|digest| !digest.is_empty());
    let publication = Publication {
        code_sha256: digest.map(|digest| (hex_of_base64(&digest), digest)),
        revision_id: input.revision_id.filter(|revision| !revision.is_empty()),
        description: input
            .description
            .filter(|description| !description.is_empty()),
    };
    let published = context
        .store(move |store, owner| store.publish(owner, &name, publication))
        .await?;
    let arn = shape::qualified_arn(&published);
    Ok(shape::configuration(context, &published, arn))
}

/// A digest as the store has it. A text that is no base64 is the digest of nothing.
fn hex_of_base64(text: &str) -> String {
    let bytes = base64_simd::STANDARD
        .decode_to_vec(text)
        .unwrap_or_default();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
