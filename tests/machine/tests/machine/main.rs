//! What a microVM must hold, tried on real ones: boot, clones, suspend, fork, damage, no leftovers.
//!
//! These tests need KVM. Run them with `cargo xtask test`, or by hand where KVM works (or through
//! `cargo xtask runner`): they find kernel and initramfs in `HEARTH_TEST_KERNEL` and `HEARTH_TEST_INITRAMFS` and the
//! `hearth-vmm` program in `PATH`.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, missing_docs)]

mod boot;
mod chains;
mod clocks;
mod clones;
mod crash_points;
mod fixture;
mod forks;
mod full_disk;
mod leftovers;
mod lent;
mod limits;
mod networks;
mod prefetch;
mod suspends;
mod warm;
