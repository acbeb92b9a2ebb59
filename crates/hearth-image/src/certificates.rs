//! Certificates that the base images and the builder trust beside Debian's, where the operator has named some: many networks let nobody
//! out but through a proxy that shows certificates of its own.
//!
//! They are a file beside the bases, so that every later preparation has them too.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Its name in the directory of the bases.
const NAME: &str = "certificates.pem";

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Largest file of certificates: twice what Debian's whole bundle takes.
const MAX_BYTES: u64 = 512 << 10;

/// Why certificates are not taken.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    /// It cannot be read or kept.
    #[error("cannot use the certificates of {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error(
        "{0} has no certificate in it; it has to be PEM, one certificate after the other, of at most 512 KiB"
    )]
    NoCertificate(PathBuf),
}

/// Keeps the certificates of a PEM file for the preparation of the bases in `directory`. It shows at the next one: bases that trust
/// others are made anew.
///
/// # Errors
///
/// [`CertificatesError`]; what was kept before stays.
pub fn trust(directory: &Path, file: &Path) -> Result<(), CertificatesError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CertificatesError::Io { path, source }
    };
    let not_one = || CertificatesError::NoCertificate(file.to_owned());
    let bytes = fs::metadata(file).map_err(failed(file))?.len();
    if bytes > MAX_BYTES {
        return Err(not_one());
    }
    let text = fs::read_to_string(file).map_err(failed(file))?;
    if !text.lines().any(|line| line.trim() == BEGIN) {
        return Err(not_one());
    }
    fs::create_dir_all(directory).map_err(failed(directory))?;
    let kept = directory.join(NAME);
    let unfinished = directory.join(format!("{NAME}.unfinished"));
    let write = || {
        let mut unfinished = File::create(&unfinished)?;
        unfinished.write_all(text.as_bytes())?;
        unfinished.sync_all()
    };
    write().map_err(failed(&unfinished))?;
    fs::rename(&unfinished, &kept).map_err(failed(&kept))?;
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed(directory))
}

/// The certificates that were kept in `directory`; empty if there are none.
pub(crate) fn kept(directory: &Path) -> Result<String, CertificatesError> {
    let path = directory.join(NAME);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(CertificatesError::Io { path, source }),
    }
}

/// Each certificate of a bundle as PEM of its own, without the text between them.
pub(crate) fn each(bundle: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut is_inside = false;
    for line in bundle.lines().map(str::trim) {
        if line == BEGIN {
            is_inside = true;
            found.push(String::new());
        }
        if is_inside && let Some(certificate) = found.last_mut() {
            certificate.push_str(line);
            certificate.push('\n');
        }
        is_inside &= line != END;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused_and_what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let bases = folder.path().join("bases");
        assert!(kept(&bases).unwrap().is_empty());
        let file = folder.path().join("ca.pem");
        let pem = format!("# ours\n{BEGIN}\nAAAA\n-----END CERTIFICATE-----\n");
        fs::write(&file, &pem).unwrap();
        trust(&bases, &file).unwrap();
        assert_eq!(kept(&bases).unwrap(), pem);
        fs::write(&file, "-----BEGIN PRIVATE KEY-----\nAAAA\n").unwrap();
        let error = trust(&bases, &file).unwrap_err().to_string();
        assert!(error.contains("ca.pem has no certificate in it"), "{error}");
        assert!(trust(&bases, &folder.path().join("nosuch")).is_err());
        assert_eq!(kept(&bases).unwrap(), pem);
    }

    #[test]
    fn each_certificate_is_a_file_of_its_own() {
        let one = format!("{BEGIN}\nAAAA\n{END}\n");
        let two = format!("{BEGIN}\nBBBB\nCCCC\n{END}\n");
        let bundle = format!("# ours\n{one}\nand:\n{}# end\n", two.replace('\n', "\r\n"));
        assert_eq!(each(&bundle), [one, two]);
        assert!(each("").is_empty());
    }
}
