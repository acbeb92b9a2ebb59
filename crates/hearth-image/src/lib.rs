//! Images: from a zip with a Dockerfile to read-only root disks.
//!
//! ```text
//! mmdebstrap ──> bases ([`prepare`]): builder disk, store disk, scratch disk       natively, once
//!                   │
//! zip ──> artifact ([`Artifact`]) ──tar──> builder microVM ([`Builder`]) ──> layer disk + configuration
//!                                          buildah, chroot, overlay                │
//!                             root ([`Root`]): store disk below, layer disk above ─┘
//! ```
//!
//! The Dockerfile is hostile code. It runs in a microVM of its own. The output of that microVM is bounded, parsed
//! with care, and mounted only in guests. The store disk is used twice: as buildah's additional image store, and as
//! the lower layers of every root. So a build neither copies a base nor reads all of it.

#![forbid(unsafe_code)]

mod artifact;
mod bases;
mod builder;
mod cache;
mod certificates;
mod code_disk;
mod config;
mod dockerfile;
mod erofs;
mod failure;
mod guest;
mod prepare;
mod progress;
mod registries;
mod reuse;
mod root;
mod runtimes;
mod sparse;
mod store;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;

pub use artifact::{Artifact, ArtifactError, ArtifactLimits};
pub use bases::{BaseImage, BaseSet, Bases, BasesError};
pub use builder::{
    BuildError, BuildLimits, BuildRequest, BuildTimes, Builder, BuiltRoot, write_initramfs,
};
pub use cache::{LayerCaches, Lease};
pub use certificates::{CertificatesError, trust};
pub use code_disk::{CodeDiskError, CodeDisks, CodeZip};
pub use config::{ConfigError, ContainerConfig};
pub use dockerfile::{Refusal, check_dockerfile};
pub use failure::{Failure, Usage};
pub use guest::GuestError;
pub use prepare::{PrepareError, PrepareOptions, WORK_BYTES, prepare, refresh};
pub use registries::{Mirror, Registries, RegistryProxy};
pub use root::{Root, RootDisk, UPPER};
pub use runtimes::{
    RUNTIMES, RuntimeBuildError, RuntimeKind, RuntimeOptions, RuntimeRecipe, RuntimeVersion,
    Runtimes, build_runtime, recipe_of,
};
pub use sparse::data_extents;
pub use store::BuildahStoreError;
