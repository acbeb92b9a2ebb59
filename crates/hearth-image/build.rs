//! Compiles the provider for OpenSSL that the base images have: a shared library that needs no other, where all else here is linked
//! statically.

#![allow(clippy::unwrap_used, reason = "a build script")]

use std::env;
use std::path::Path;
use std::process::Command;

const SOURCE: &str = "openssl/random.rs";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    let library = Path::new(&env::var_os("OUT_DIR").unwrap()).join("hearth-random.so");
    let compiled = Command::new(env::var_os("RUSTC").unwrap())
        .args([
            "--edition=2024",
            "--crate-type=cdylib",
            "--crate-name=hearth_random",
        ])
        .arg(format!("--target={}", env::var("TARGET").unwrap()))
        .args([
            "-Ctarget-feature=-crt-static",
            "-Cpanic=abort",
            "-Copt-level=2",
            "-Cstrip=symbols",
        ])
        .args(["-Clink-arg=-nostdlib", "-Clink-arg=-nostartfiles"])
        .arg("-o")
        .arg(&library)
        .arg(SOURCE)
        .status();
    assert!(compiled.unwrap().success(), "{SOURCE} does not compile");
}
