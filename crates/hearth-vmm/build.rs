//! Compiles the lists of system calls that a VMM may make into the programs that the kernel takes.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a build script; the files are shared with the crate"
)]

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

#[path = "src/sandbox/compile.rs"]
mod compile;
#[path = "src/sandbox/lists.rs"]
mod lists;
#[path = "src/sandbox/requests.rs"]
mod requests;

fn main() {
    println!("cargo::rerun-if-changed=src/sandbox");
    let mut text = String::new();
    let own = compile::OWN_PROCESS;
    writeln!(
        text,
        "/// Stands for the number of the process that applies a program.\nconst OWN_PROCESS: u32 = {own};"
    )
    .unwrap();
    for (name, rules, missing, what) in [
        (
            "PROCESS",
            lists::process(),
            Some(lists::MISSING),
            "Of every thread.",
        ),
        ("VCPU", lists::vcpu(), None, "Of a thread that runs a vCPU."),
        (
            "DISK",
            lists::disk(),
            None,
            "Of a thread that serves a disk.",
        ),
    ] {
        writeln!(
            text,
            "/// {what}\npub(super) const {name}: &[libc::sock_filter] = &["
        )
        .unwrap();
        for step in compile::allow_only(&rules, missing) {
            let libc::sock_filter { code, jt, jf, k } = step;
            writeln!(text, "    instruction({code}, {jt}, {jf}, {k}),").unwrap();
        }
        writeln!(text, "];").unwrap();
    }
    fs::write(
        Path::new(&env::var_os("OUT_DIR").unwrap()).join("programs.rs"),
        text,
    )
    .unwrap();
}
