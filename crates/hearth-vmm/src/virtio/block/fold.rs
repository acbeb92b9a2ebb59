//! Folding: copies the data of images below the top of a stack into the top, so that they are no longer needed.
//!
//! ```text
//!             0      16      32      48 KiB              after folding 2
//! top         [data ]                                    [data ][data ][zero ]
//! nearest            [data ]                             (not needed)
//! next        [data ]       [zero ][hole ]               (not needed)
//! rest        [data ][data ][data ][data ]               [data ][data ][data ][data ]
//! ```
//!
//! Folding never changes what a disk reads as, so it may be interrupted at any point: a cluster is either in the top or
//! still in the image that it came from.

#[cfg(test)]
mod tests;

use std::io;
use std::ops::Range;

use imago::file::File as ImageFile;
use imago::{FormatAccess, ShallowMapping};

/// Most bytes of one copy.
const COPY_BYTES: u64 = 1 << 20;

/// What the folded images hold of a range that is not allocated in the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    /// One of them has data.
    Data,
    /// One of them marks it as zeros.
    Zero,
    /// The range is allocated in the top, or in none of them.
    Nothing,
}

/// Copies into `top` the data that the `count` images below it hold and `top` does not.
pub(super) fn fold(top: &FormatAccess<ImageFile>, count: usize) -> io::Result<()> {
    let size = top.size();
    let mut buffer = vec![0; COPY_BYTES as usize];
    let mut at = 0;
    while at < size {
        at = step(top, count, at..size, &mut buffer)?;
    }
    Ok(())
}

/// Folds the start of `rest`. Answers the offset from which to continue.
fn step(
    top: &FormatAccess<ImageFile>,
    count: usize,
    rest: Range<u64>,
    buffer: &mut [u8],
) -> io::Result<u64> {
    let (range, held) = next_range(top, count, rest)?;
    match held {
        Held::Data => copy(top, range.clone(), buffer)?,
        Held::Zero => top.write_zeroes(range.start, range.end - range.start)?,
        Held::Nothing => {}
    }
    Ok(range.end)
}

/// The longest range from the start of `within` that is held in one way, at most as long as one copy.
fn next_range(
    top: &FormatAccess<ImageFile>,
    count: usize,
    within: Range<u64>,
) -> io::Result<(Range<u64>, Held)> {
    let (mut end, held) = held_at(top, count, &within)?;
    while held == Held::Data && end < within.end && end - within.start < COPY_BYTES {
        match held_at(top, count, &(end..within.end))? {
            (more, Held::Data) => end = more,
            _ => break,
        }
    }
    Ok((within.start..end, held))
}

/// How the start of `within` is held, and up to which offset.
fn held_at(
    top: &FormatAccess<ImageFile>,
    count: usize,
    within: &Range<u64>,
) -> io::Result<(u64, Held)> {
    let (mut image, mut offset, mut length) = (top, within.start, within.end - within.start);
    for depth in 0..=count {
        let (mapping, mapped) = image.get_shallow_mapping(offset, length)?;
        // At its end an image tells of no bytes; from there on it reads as zeros.
        if !matches!(mapping, ShallowMapping::Eof { .. }) {
            length = length.min(mapped);
        }
        let held = match mapping {
            ShallowMapping::Indirect {
                layer,
                offset: below,
                ..
            } => {
                (image, offset) = (layer, below);
                continue;
            }
            _ if depth == 0 => Held::Nothing,
            ShallowMapping::Zero { .. } | ShallowMapping::Eof { .. } => Held::Zero,
            _ => Held::Data,
        };
        return progress(within, length, held);
    }
    progress(within, length, Held::Nothing)
}

fn progress(within: &Range<u64>, length: u64, held: Held) -> io::Result<(u64, Held)> {
    if length == 0 {
        return Err(io::Error::other(
            "an image tells nothing of a part of its disk",
        ));
    }
    Ok((within.start + length, held))
}

fn copy(top: &FormatAccess<ImageFile>, range: Range<u64>, buffer: &mut [u8]) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let length = (range.end - at).min(COPY_BYTES);
        let piece = &mut buffer[..length as usize];
        top.read(&mut *piece, at)?;
        top.write(&*piece, at)?;
        at += length;
    }
    Ok(())
}
