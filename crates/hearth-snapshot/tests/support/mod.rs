//! Memory that is written, read, captured and opened again, in few words.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hearth_snapshot::{Capture, MemoryKind, OpenError, OpenSnapshot, Ram, Sealed};
use vm_memory::{Bytes, GuestAddress};

pub(crate) fn write(ram: &Ram, offset: u64, bytes: &[u8]) {
    ram.guest_memory()
        .unwrap()
        .write_slice(bytes, GuestAddress(offset))
        .unwrap();
}

pub(crate) fn read(ram: &Ram) -> Vec<u8> {
    let mut bytes = vec![0; ram.bytes() as usize];
    ram.guest_memory()
        .unwrap()
        .read_slice(&mut bytes, GuestAddress(0))
        .unwrap();
    bytes
}

pub(crate) fn take(directory: &Path, ram: &Ram, kind: MemoryKind) -> Sealed {
    let mut capture = Capture::begin(directory).unwrap();
    capture.memory(ram, kind).unwrap();
    capture.seal(b"machine".to_vec()).unwrap()
}

pub(crate) fn open(directory: &Path, ancestors: &[&Path]) -> Result<OpenSnapshot, OpenError> {
    let ancestors: Vec<PathBuf> = ancestors.iter().map(|path| path.to_path_buf()).collect();
    OpenSnapshot::open(directory, &ancestors)
}

/// Changes one byte of a sealed file.
pub(crate) fn flip(file: &Path, at: u64) {
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// Cuts a sealed file.
pub(crate) fn truncate(file: &Path, bytes: u64) {
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::OpenOptions::new()
        .write(true)
        .open(file)
        .unwrap()
        .set_len(bytes)
        .unwrap();
}
