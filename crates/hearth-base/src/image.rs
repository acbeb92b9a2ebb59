//! Extracts the `vmlinux` that the VMM loads from the kernel image of a distribution.
//!
//! Debian ships a bzImage: a real-mode setup header, a decompressor, and the compressed ELF. The VMM loads
//! the ELF itself, so the guest never runs the decompressor: that is the slowest part of a boot under
//! emulation, and the only part that needs 16-bit code. Header fields are those of the x86 boot protocol
//! (`Documentation/arch/x86/boot.rst`, 2.08 and later).

use elf::ElfBytes;
use elf::endian::LittleEndian;
use elf::note::Note;

use crate::compression::{Format, decompress};

/// Largest uncompressed kernel, in bytes. Debian's cloud kernel has 58 MB.
const MAX_VMLINUX_BYTES: u64 = 512 << 20;

/// Owner and type of the ELF note that holds the PVH entry point (Xen's `xen/include/public/elfnote.h`).
const PVH_NOTE_OWNER: &[u8] = b"Xen";
const PVH_NOTE_TYPE: u64 = 18;

/// Why an image cannot be used as a guest kernel.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file is neither an ELF file nor a bzImage.
    #[error("not a kernel image: neither an ELF file nor an x86 bzImage")]
    Unknown,
    /// The setup header is too old or points outside the file.
    #[error("the bzImage's setup header is not usable: {0}")]
    Header(&'static str),
    /// The payload's compression is not supported.
    #[error("the kernel in the bzImage is compressed neither with zstd nor with xz")]
    Compression,
    /// The payload does not decompress.
    #[error("cannot decompress the kernel in the bzImage")]
    Decompress(#[source] std::io::Error),
    /// The ELF file cannot be parsed.
    #[error("the kernel's ELF file is damaged")]
    Elf(#[source] elf::ParseError),
    /// The ELF file is for another machine or of another kind.
    #[error("the kernel is not an x86-64 ELF executable")]
    Machine,
    /// The kernel was built without `CONFIG_PVH`.
    #[error("the kernel has no PVH entry point (it needs CONFIG_PVH=y)")]
    NoPvhEntry,
    /// The kernel contains no version banner.
    #[error("the kernel carries no \"Linux version\" banner")]
    NoVersion,
}

/// Returns the uncompressed ELF of `image`, which is a bzImage or already an ELF file. Checks that the kernel has a PVH
/// entry.
pub fn vmlinux(image: Vec<u8>) -> Result<Vec<u8>, ImageError> {
    let vmlinux = if image.starts_with(b"\x7fELF") {
        image
    } else {
        carve(&image)?
    };
    check_bootable(&vmlinux)?;
    Ok(vmlinux)
}

/// The release of a kernel, for example `6.12.117+deb12-cloud-amd64`, from its banner.
pub fn release(vmlinux: &[u8]) -> Result<String, ImageError> {
    const BANNER: &[u8] = b"Linux version ";
    // A release has at most 64 bytes (`__NEW_UTS_LEN`). The first match may be a format string, so only
    // one that starts with a digit counts.
    vmlinux
        .windows(BANNER.len() + 65)
        .filter_map(|window| window.strip_prefix(BANNER))
        .filter(|text| text[0].is_ascii_digit())
        .filter_map(|text| text.split(|byte| *byte == b' ').next())
        .find_map(|release| std::str::from_utf8(release).ok())
        .map(str::to_owned)
        .ok_or(ImageError::NoVersion)
}

fn carve(image: &[u8]) -> Result<Vec<u8>, ImageError> {
    const MAGIC: usize = 0x202;
    const VERSION: usize = 0x206;
    const SETUP_SECTORS: usize = 0x1f1;
    const PAYLOAD_OFFSET: usize = 0x248;
    const PAYLOAD_LENGTH: usize = 0x24c;
    if image.get(MAGIC..MAGIC + 4) != Some(b"HdrS") {
        return Err(ImageError::Unknown);
    }
    let u32_at = |offset: usize| {
        let bytes = image.get(offset..offset + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let short = ImageError::Header("the file ends inside it");
    let (Some(version), Some(offset), Some(length)) = (
        u32_at(VERSION),
        u32_at(PAYLOAD_OFFSET),
        u32_at(PAYLOAD_LENGTH),
    ) else {
        return Err(short);
    };
    if version & 0xffff < 0x208 {
        return Err(ImageError::Header("boot protocol older than 2.08"));
    }
    // Zero means four, for historical reasons (boot protocol, `setup_sects`).
    let setup_sectors = match image[SETUP_SECTORS] {
        0 => 4,
        count => usize::from(count),
    };
    let start = (setup_sectors + 1) * 512 + offset;
    let payload = image
        .get(start..start + length)
        .ok_or(ImageError::Header("the payload ends outside the file"))?;
    let format = Format::detect(payload).ok_or(ImageError::Compression)?;
    decompress(format, payload, MAX_VMLINUX_BYTES).map_err(ImageError::Decompress)
}

fn check_bootable(vmlinux: &[u8]) -> Result<(), ImageError> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(vmlinux).map_err(ImageError::Elf)?;
    if elf.ehdr.e_machine != elf::abi::EM_X86_64 || elf.ehdr.e_type != elf::abi::ET_EXEC {
        return Err(ImageError::Machine);
    }
    for segment in elf.segments().into_iter().flatten() {
        if segment.p_type != elf::abi::PT_NOTE {
            continue;
        }
        for note in elf
            .segment_data_as_notes(&segment)
            .map_err(ImageError::Elf)?
        {
            if let Note::Unknown(note) = note
                && note.n_type == PVH_NOTE_TYPE
                && note.name.strip_suffix(b"\0").unwrap_or(note.name) == PVH_NOTE_OWNER
            {
                return Ok(());
            }
        }
    }
    Err(ImageError::NoPvhEntry)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_not_a_kernel() {
        assert!(matches!(
            vmlinux(b"#!/bin/sh\n".repeat(200)),
            Err(ImageError::Unknown)
        ));
    }

    #[test]
    fn a_program_is_not_a_kernel() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(matches!(
            vmlinux(program),
            Err(ImageError::Machine | ImageError::NoPvhEntry)
        ));
    }

    #[test]
    fn the_banner_yields_the_release() {
        let mut bytes = b"..Linux version %s (..)".to_vec();
        bytes.extend([0; 70]);
        bytes.extend(b"Linux version 6.12.1-cloud-amd64 (debian) #1 SMP");
        bytes.extend([0; 70]);
        assert_eq!(release(&bytes).unwrap(), "6.12.1-cloud-amd64");
        assert!(matches!(release(&[0; 100]), Err(ImageError::NoVersion)));
    }

    proptest! {
        #[test]
        fn a_mutilated_header_is_refused_without_panic(
            tail in proptest::collection::vec(any::<u8>(), 0..1200)
        ) {
            let mut image = vec![0; 0x202];
            image.extend(b"HdrS");
            image.extend(tail);
            prop_assert!(vmlinux(image).is_err());
        }
    }
}
