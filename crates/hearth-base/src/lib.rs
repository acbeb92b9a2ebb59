//! Managed base images: guest kernel, modules and initramfs.
//!
//! A *base version* is a stock distribution kernel, uncompressed, and an initramfs with the agent and the few
//! modules that a guest needs. The kernel gets its security fixes from the distribution (apt's signatures are the
//! trust chain), the agent from Hearth.
//!
//! ```text
//! apt ([`apt`]) -> .deb ([`deb`]) -> bzImage -> vmlinux ([`image`])  -+
//!                                 -> *.ko.xz -> closure ([`modules`]) -+-> kernel cache ([`Kernel`])
//! kernel cache + agent -> initramfs ([`InitramfsSpec`], [`cpio`]) -> base version ([`build`])
//! ```
//!
//! The crate reads packages and writes files. It knows nothing of KVM, of AWS or of async runtimes.

#![forbid(unsafe_code)]

mod atomic;
mod compression;

pub mod apt;
pub mod cpio;
pub mod deb;
pub mod image;
pub mod modules;

mod initramfs;
mod kernel;
mod progress;
mod version;

pub use initramfs::{ExtraFile, FileContent, InitramfsError, InitramfsSpec};
pub use kernel::{Kernel, KernelError, KernelSource};
pub use modules::{EMULATED_HOST_MODULES, GUEST_MODULES};
pub use progress::Progress;
pub use version::{BaseBuildError, BaseVersion, BuildOptions, build, list};
