//! Reads the fields of a form up to its file.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use http_body::Body;
use hyper::body::Incoming;
use multer::{Field, Multipart};
use s3s::{S3Result, s3_error};

use super::malformed;
use crate::upload_body::UploadBody;
use crate::wire::BodyError;

/// Bytes of everything before the file: a policy has at most 20 KB on AWS, and metadata 2.
const MAX_FIELDS_BYTES: u64 = 64 * 1024;

/// Fields before the file.
const MAX_FIELDS: usize = 100;

/// Bytes of the whole form: the largest object, and its fields.
const MAX_FORM_BYTES: u64 = (5 << 30) + (1 << 20);

/// Bytes that may come: shared by what reads a body, and raises it at the file, and what bounds the body.
type Budget = Arc<AtomicU64>;

/// The fields, by name in lower case.
#[derive(Debug, Default)]
pub(super) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// The value of a field, by its name in lower case.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Puts the name of the file where the key refers to it. The policy is about what comes of that.
    pub(super) fn name_file(&mut self, name: &str) {
        if let Some(key) = self.0.get_mut("key") {
            *key = key.replace("${filename}", name);
        }
    }

    /// Names in lower case, and values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    #[cfg(test)]
    pub(super) fn of(pairs: &[(&str, &str)]) -> Self {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self(pairs.collect())
    }
}

/// Reads fields until the file begins.
pub(super) async fn read<B>(
    body: FormBody<B>,
    boundary: String,
) -> S3Result<(Fields, Field<'static>)>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BodyError>,
{
    let budget = Arc::clone(&body.budget);
    let mut form = Multipart::new(body, boundary);
    let mut fields = Fields::default();
    loop {
        let field = form.next_field().await.map_err(|error| refusal(&error))?;
        let field = field.ok_or_else(|| {
            s3_error!(
                InvalidArgument,
                "POST requires exactly one file upload per request."
            )
        })?;
        let name = field.name().unwrap_or_default().to_ascii_lowercase();
        if name == "file" {
            budget.store(MAX_FORM_BYTES, Ordering::Relaxed);
            return Ok((fields, field));
        }
        if fields.0.len() >= MAX_FIELDS || name.is_empty() {
            return Err(malformed());
        }
        let value = field.bytes().await.map_err(|error| refusal(&error))?;
        let value = String::from_utf8(value.to_vec()).map_err(|_| malformed())?;
        // Of two with one name nobody knows which the policy is about.
        if fields.0.insert(name, value).is_some() {
            return Err(malformed());
        }
    }
}

fn refusal(error: &multer::Error) -> s3s::S3Error {
    if let multer::Error::StreamReadFailed(cause) = error
        && cause.is::<TooLong>()
    {
        return s3_error!(
            MaxPostPreDataLengthExceededError,
            "Your POST request fields preceding the upload file were too large."
        );
    }
    malformed()
}

/// The body of a form, of which no more comes than it may have as yet.
pub(super) struct FormBody<B = Incoming> {
    body: UploadBody<B>,
    budget: Budget,
    read_bytes: u64,
    /// Whether the reader is to be stopped before the next piece: it would take all that there is into memory.
    is_paused: bool,
}

/// More came than the form may have.
#[derive(Debug, thiserror::Error)]
#[error("the form is too long")]
struct TooLong;

impl<B> FormBody<B> {
    pub(super) fn new(body: B) -> Self {
        Self {
            body: UploadBody::new(body),
            budget: Arc::new(AtomicU64::new(MAX_FIELDS_BYTES)),
            read_bytes: 0,
            is_paused: false,
        }
    }
}

impl<B> Stream for FormBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if std::mem::take(&mut this.is_paused) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
            let Some(frame) = frame else {
                return Poll::Ready(None);
            };
            let Ok(bytes) = frame?.into_data() else {
                continue;
            };
            // A piece may reach into the file: what is counted is what was read before it.
            if this.read_bytes > this.budget.load(Ordering::Relaxed) {
                return Poll::Ready(Some(Err(Box::new(TooLong))));
            }
            this.read_bytes += bytes.len() as u64;
            this.is_paused = true;
            return Poll::Ready(Some(Ok(bytes)));
        }
    }
}
