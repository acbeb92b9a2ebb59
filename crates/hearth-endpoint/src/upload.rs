//! The body of a request on its way to the application.
//!
//! Usually it is just streamed. Two cases need more: a client that waits for the application's `100 Continue` before
//! it sends (`Expect: 100-continue`), and the first request to a port, which is sent again if the port turns out to
//! speak TLS.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::lock::lock;
use crate::meter::{BodyError, Metered};

/// Bytes of a body that are kept for a second attempt. A TLS server answers the very first bytes, so little has been
/// sent by then.
const MAX_KEPT_BYTES: usize = 256 * 1024;

/// A future that must complete before the first byte is sent.
pub(crate) type Gate = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) enum Upload {
    Empty,
    Direct {
        body: Box<Metered<Incoming>>,
        gate: Option<Gate>,
    },
    Kept(Attempt),
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upload")
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Direct { body, gate } => {
                if let Some(open) = gate {
                    ready!(open.as_mut().poll(cx));
                    *gate = None;
                }
                Pin::new(body.as_mut()).poll_frame(cx)
            }
            Self::Kept(attempt) => attempt.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Direct { body, .. } => body.is_end_stream(),
            Self::Kept(attempt) => attempt.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Direct { body, .. } => body.size_hint(),
            Self::Kept(attempt) => attempt.size_hint,
        }
    }
}

/// A body that can be sent again, as long as little of it was sent.
#[derive(Clone)]
pub(crate) struct Kept(Arc<Mutex<Source>>);

struct Source {
    body: Upload,
    size_hint: SizeHint,
    frames: Vec<Bytes>,
    kept_bytes: usize,
    /// Whether `frames` has everything from the beginning of the body.
    is_complete: bool,
    /// The number of attempts so far. Only the newest may read.
    attempts: u32,
}

/// One attempt to send a [`Kept`] body.
pub(crate) struct Attempt {
    source: Arc<Mutex<Source>>,
    number: u32,
    next: usize,
    /// Read before the first frame, so it is that of the whole body.
    size_hint: SizeHint,
}

impl Kept {
    pub(crate) fn new(body: Upload) -> Self {
        let size_hint = body.size_hint();
        let source = Source {
            body,
            size_hint,
            frames: Vec::new(),
            kept_bytes: 0,
            is_complete: true,
            attempts: 0,
        };
        Self(Arc::new(Mutex::new(source)))
    }

    /// The body from its beginning. `None` if that is no longer kept.
    pub(crate) fn attempt(&self) -> Option<Upload> {
        let mut source = lock(&self.0);
        if !source.is_complete {
            return None;
        }
        source.attempts += 1;
        Some(Upload::Kept(Attempt {
            source: Arc::clone(&self.0),
            number: source.attempts,
            next: 0,
            size_hint: source.size_hint,
        }))
    }

    /// Ends the attempts: frees what was kept, and keeps nothing from now on.
    pub(crate) fn settle(&self) {
        lock(&self.0).is_complete = false;
    }
}

impl Attempt {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut source = lock(&self.source);
        if source.attempts != self.number {
            return Poll::Ready(Some(Err(BodyError::Superseded)));
        }
        if let Some(data) = source.frames.get(self.next) {
            self.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
        }
        let frame = ready!(Pin::new(&mut source.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            source.keep(frame);
            self.next = source.frames.len();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let source = lock(&self.source);
        self.next >= source.frames.len() && source.body.is_end_stream()
    }
}

impl Source {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        let data = frame.data_ref().filter(|_| self.is_complete);
        let Some(data) = data.filter(|data| self.kept_bytes + data.len() <= MAX_KEPT_BYTES) else {
            // Trailers end a body. An attempt after them would miss them, so none is possible.
            self.is_complete = false;
            self.frames = Vec::new();
            return;
        };
        self.kept_bytes += data.len();
        self.frames.push(data.clone());
    }
}
