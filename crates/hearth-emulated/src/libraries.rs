//! Programs of this host that are linked dynamically, for an emulated host that has no libraries.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program and the libraries that it is linked with, to be put at the same paths in the emulated host.
///
/// # Errors
///
/// When there is no such program, or `ldd` cannot read it.
pub fn with_libraries(program: &Path) -> io::Result<Vec<PathBuf>> {
    if !program.exists() {
        let message = format!("{} is not installed", program.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    let linked = Command::new("ldd").arg(program).output()?;
    if !linked.status.success() {
        let message = format!("ldd cannot read {}", program.display());
        return Err(io::Error::other(message));
    }
    let libraries = String::from_utf8_lossy(&linked.stdout);
    let mut files: Vec<PathBuf> = libraries_of(&libraries).map(PathBuf::from).collect();
    files.push(program.to_owned());
    Ok(files)
}

/// The files that `ldd` names: `name => path (address)`, and `path (address)` of the loader.
fn libraries_of(output: &str) -> impl Iterator<Item = &str> {
    let words = output.lines().flat_map(str::split_whitespace);
    words.filter(|word| word.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_ldd() {
        let output = "\tlinux-vdso.so.1 (0x7ffc)\n\tlibz.so.1 => /lib/libz.so.1 (0x7f5)\n\t/lib64/ld.so (0x7f6)\n";
        let libraries: Vec<&str> = libraries_of(output).collect();
        assert_eq!(libraries, ["/lib/libz.so.1", "/lib64/ld.so"]);
    }
}
