//! Where the code of functions and layers comes from: the request, or an object of the account.

use std::io::{self, Read};
use std::sync::Arc;

use hearth_functions::{CodeError, NewCode};
use hearth_objects::ObjectError;

use super::names::invalid;
use super::refusal;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::values::Blob;

/// The members of a request that say where code is.
pub(super) struct CodeSource {
    pub(super) zip_file: Option<Blob>,
    pub(super) s3_bucket: Option<String>,
    pub(super) s3_key: Option<String>,
}

impl CodeSource {
    /// Stores the code and judges it.
    ///
    /// # Errors
    ///
    /// Not exactly one source, or its refusal.
    pub(super) async fn receive(self, context: &Context<'_>) -> Result<NewCode, Fault> {
        match (self.zip_file, self.s3_bucket, self.s3_key) {
            (Some(zip), None, None) => from_request(context, zip).await,
            (None, Some(bucket), Some(key)) => from_object(context, bucket, key).await,
            (None, None, None) | (None, _, _) => {
                Err(invalid("Please provide a source for function code."))
            }
            (Some(_), _, _) => Err(invalid(
                "Please do not provide other FunctionCode parameters when providing a ZipFile.",
            )),
        }
    }
}

async fn from_request(context: &Context<'_>, zip: Blob) -> Result<NewCode, Fault> {
    let store = Arc::clone(&context.functions.store);
    let limit = store.limits().zipped_bytes;
    receive(context, move || store.receive(&mut zip.bytes(), limit)).await
}

async fn from_object(context: &Context<'_>, bucket: String, key: String) -> Result<NewCode, Fault> {
    let Some(objects) = context.functions.objects.clone() else {
        return Err(invalid(
            "Code from S3 is not supported by this Hearth installation, which uses another S3. Send ZipFile instead.",
        ));
    };
    let store = Arc::clone(&context.functions.store);
    let account = context.owner().account;
    // A zip is no larger than what it unpacks to, but for a small part.
    let limit = store.limits().unzipped_bytes;
    receive(context, move || {
        let opened = objects.open_object(&account, &bucket, &key);
        let (_, mut file) = opened.map_err(|error| CodeError::Source(io::Error::other(error)))?;
        store.receive(&mut file as &mut dyn Read, limit)
    })
    .await
}

async fn receive(
    context: &Context<'_>,
    work: impl FnOnce() -> Result<NewCode, CodeError> + Send + 'static,
) -> Result<NewCode, Fault> {
    let account = context.owner().account;
    let ran = context.functions.places.run(&account, work).await;
    let ran = ran.map_err(|error| Fault::internal(&error))?;
    ran.map_err(|error| match error {
        CodeError::Source(source) => object_fault(source),
        other => refusal::code_fault(other),
    })
}

/// The refusal in S3's words (facts section 1.2).
fn object_fault(source: io::Error) -> Fault {
    let object_error = source.get_ref().and_then(|error| error.downcast_ref());
    let (code, text) = match object_error {
        Some(ObjectError::NoBucket) => ("NoSuchBucket", "The specified bucket does not exist"),
        Some(ObjectError::NoObject) => ("NoSuchKey", "The specified key does not exist."),
        _ => return refusal::code_fault(CodeError::Source(source)),
    };
    invalid(format!(
        "Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {text}"
    ))
}
