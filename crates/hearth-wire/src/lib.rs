//! Messages between host and guest, and between node and VMM.
//!
//! Three protocols live here, on one framing ([`frame`]): the *agent protocol* ([`agent`]) that the host
//! speaks with `hearth-agent` inside a guest, the *service protocol* ([`service`]) by which a guest reaches
//! services of its host, and the *VMM protocol* ([`vmm`]) that the node speaks with a `hearth-vmm` process.
//! The crate holds plain data and its encoding. It opens no socket and knows nothing of KVM, AWS or async
//! runtimes.
//!
//! Both ends treat the other as hostile: every length is bounded before memory is reserved for it, and a
//! frame that does not decode ends the stream.

#![forbid(unsafe_code)]

mod bytes;
mod error_words;
pub mod frame;

pub mod agent;
pub mod crash_point;
pub mod host_mode;
pub mod service;
pub mod vmm;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;

pub use error_words::without_error_numbers;
pub use frame::{FrameError, MAX_FRAME_BYTES};
