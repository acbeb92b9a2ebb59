//! Decompresses the formats of kernels and packages, with a limit on the output.

use std::io::{self, Read};

/// Compression formats, told apart by their magic bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Xz,
    Zstd,
}

impl Format {
    /// What the name of a compressed file ends with.
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Self::Xz => ".xz",
            Self::Zstd => ".zst",
        }
    }

    /// The format of `bytes`, if it is one that can be read here.
    pub(crate) fn detect(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"\xfd7zXZ\0") {
            Some(Self::Xz)
        } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Some(Self::Zstd)
        } else {
            None
        }
    }

    /// A reader of the decompressed bytes.
    pub(crate) fn reader<'a>(self, compressed: &'a [u8]) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Xz => Box::new(lzma_rust2::XzReader::new(compressed, true)),
            Self::Zstd => Box::new(
                ruzstd::decoding::StreamingDecoder::new(compressed).map_err(io::Error::other)?,
            ),
        })
    }
}

/// Decompresses `compressed`, refusing more than `limit_bytes` of output.
pub(crate) fn decompress(
    format: Format,
    compressed: &[u8],
    limit_bytes: u64,
) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    format
        .reader(compressed)?
        .take(limit_bytes + 1)
        .read_to_end(&mut out)?;
    if out.len() as u64 > limit_bytes {
        return Err(io::Error::other(format!(
            "decompresses to more than {limit_bytes} bytes"
        )));
    }
    Ok(out)
}
