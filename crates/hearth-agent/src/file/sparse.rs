//! Sparse files in archives: databases, disk images, core files.
//!
//! ```text
//! old GNU (type S)    the archive's reader gives the holes as zeros
//! PAX 1.0             records GNU.sparse.*; the data begins with a map of what follows
//!                         <count>\n <offset>\n <size>\n <offset>\n <size>\n ... up to a multiple of 512 bytes
//! PAX 0.0, 0.1        refused by name: GNU tar writes them only when asked to
//! ```
//!
//! GNU tar manual, "Storing Sparse Files". Whatever the form, zeros become holes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use hearth_wire::agent::Refusal;
use tar::Entry;

use crate::bounds::refused;

/// Unit in which zeros are looked for. A multiple of every file system's block, so holes are not cut.
const BLOCK_BYTES: usize = 64 << 10;

/// Largest file with holes: larger than any disk of a microVM. Reading the zeros of an old GNU archive takes time that
/// the sender does not pay for.
const MAX_FILE_BYTES: u64 = 1 << 40;

/// Most pieces of one file. Each costs 16 bytes of memory.
const MAX_PIECES: u64 = 1 << 20;

/// Length of a block of an archive: what comes after the map begins at one.
const ARCHIVE_BLOCK_BYTES: usize = 512;

/// What the records of an entry say about a sparse file in PAX 1.0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PaxSparse {
    /// The file's name. The header has another one, for programs that do not know this form.
    pub(super) name: Vec<u8>,
    real_bytes: u64,
}

impl PaxSparse {
    /// Reads the records of an entry. `None` if the file is not sparse.
    pub(super) fn of(entry: &mut Entry<'_, impl Read>) -> Result<Option<Self>, Refusal> {
        let unreadable = |error: io::Error| refused(format!("the archive cannot be read: {error}"));
        let Some(records) = entry.pax_extensions().map_err(unreadable)? else {
            return Ok(None);
        };
        let (mut name, mut real_bytes, mut version) = (None, None, [None, None]);
        let mut is_sparse = false;
        for record in records {
            let record = record.map_err(unreadable)?;
            let Some(word) = record.key_bytes().strip_prefix(b"GNU.sparse.") else {
                continue;
            };
            is_sparse = true;
            let value = record.value_bytes();
            match word {
                b"name" => name = Some(value.to_vec()),
                b"realsize" => real_bytes = number(value),
                b"major" => version[0] = number(value),
                b"minor" => version[1] = number(value),
                _ => {}
            }
        }
        match (name, real_bytes, version) {
            _ if !is_sparse => Ok(None),
            (Some(name), Some(real_bytes), [Some(1), Some(0)]) => {
                check_size(&name, real_bytes)?;
                Ok(Some(Self { name, real_bytes }))
            }
            _ => Err(refused(format!(
                "{} is a sparse file in a form other than PAX 1.0 (tar --sparse-version=1.0)",
                String::from_utf8_lossy(&entry.path_bytes())
            ))),
        }
    }

    /// Writes the file with its holes. `entry` is at the beginning of the map.
    pub(super) fn write(&self, entry: &mut impl Read, file: &mut File) -> io::Result<()> {
        for (offset, bytes) in self.read_map(entry)? {
            file.seek(SeekFrom::Start(offset))?;
            let copied = io::copy(&mut entry.by_ref().take(bytes), file)?;
            if copied != bytes {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        file.set_len(self.real_bytes)
    }

    /// The pieces that the archive has: offset and length, in order.
    fn read_map(&self, entry: &mut impl Read) -> io::Result<Vec<(u64, u64)>> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "its map of holes is malformed");
        let mut numbers = MapNumbers::new(entry);
        let count = numbers.next()?.filter(|count| *count <= MAX_PIECES);
        let mut pieces = Vec::new();
        let mut end = 0;
        for _ in 0..count.ok_or_else(wrong)? {
            let (Some(offset), Some(bytes)) = (numbers.next()?, numbers.next()?) else {
                return Err(wrong());
            };
            let next = offset.checked_add(bytes).ok_or_else(wrong)?;
            if offset < end || next > self.real_bytes {
                return Err(wrong());
            }
            end = next;
            pieces.push((offset, bytes));
        }
        Ok(pieces)
    }
}

/// Refuses a file that is larger than any disk.
pub(super) fn check_size(name: &[u8], bytes: u64) -> Result<(), Refusal> {
    if bytes <= MAX_FILE_BYTES {
        return Ok(());
    }
    let name = String::from_utf8_lossy(name);
    Err(refused(format!(
        "{name} has {bytes} bytes, more than {MAX_FILE_BYTES}"
    )))
}

/// The numbers of a map, read by blocks of the archive.
struct MapNumbers<'a, R> {
    from: &'a mut R,
    block: [u8; ARCHIVE_BLOCK_BYTES],
    /// Position of the next byte.
    at: usize,
}

impl<'a, R: Read> MapNumbers<'a, R> {
    fn new(from: &'a mut R) -> Self {
        Self {
            from,
            block: [0; ARCHIVE_BLOCK_BYTES],
            at: ARCHIVE_BLOCK_BYTES,
        }
    }

    /// The next number; `None` if there is something else.
    fn next(&mut self) -> io::Result<Option<u64>> {
        let mut value: Option<u64> = None;
        loop {
            if self.at == ARCHIVE_BLOCK_BYTES {
                self.from.read_exact(&mut self.block)?;
                self.at = 0;
            }
            let byte = self.block[self.at];
            self.at += 1;
            value = match byte {
                b'\n' => return Ok(value),
                b'0'..=b'9' => value
                    .unwrap_or(0)
                    .checked_mul(10)
                    .and_then(|value| value.checked_add(u64::from(byte - b'0'))),
                _ => return Ok(None),
            };
            if value.is_none() {
                return Ok(None);
            }
        }
    }
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Copies everything, with holes where there are only zeros. Answers how many bytes the file has.
pub(super) fn copy(from: &mut impl Read, to: &mut File) -> io::Result<u64> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut length = 0;
    loop {
        let count = fill(from, &mut block)?;
        let bytes = &block[..count];
        if bytes.iter().all(|byte| *byte == 0) {
            to.seek(SeekFrom::Current(count as i64))?;
        } else {
            to.write_all(bytes)?;
        }
        length += count as u64;
        if count < BLOCK_BYTES {
            break;
        }
    }
    to.set_len(length)?;
    Ok(length)
}

/// Reads until the buffer is full or there is no more.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match from.read(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn sparse(real_bytes: u64) -> PaxSparse {
        PaxSparse {
            name: b"disk".to_vec(),
            real_bytes,
        }
    }

    fn written(map: &str, data: &[u8], real_bytes: u64) -> io::Result<Vec<u8>> {
        let mut entry = map.as_bytes().to_vec();
        entry.resize(entry.len().next_multiple_of(ARCHIVE_BLOCK_BYTES), 0);
        entry.extend(data);
        let mut file = tempfile::tempfile()?;
        sparse(real_bytes).write(&mut entry.as_slice(), &mut file)?;
        file.rewind()?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn pieces_stand_where_the_map_says() {
        let content = written("2\n3\n2\n8\n1\n", b"abc", 10).unwrap();
        assert_eq!(content, b"\0\0\0ab\0\0\0c\0");
        assert_eq!(written("0\n", b"", 4).unwrap(), [0; 4]);
        // More numbers than fit into one block.
        let map: String = (0..200)
            .map(|index| format!("{}\n1\n", 2 * index))
            .collect();
        let content = written(&format!("200\n{map}"), &[7; 200], 400).unwrap();
        assert_eq!(content, [7, 0].repeat(200));
    }

    #[test]
    fn a_map_that_makes_no_sense_is_refused() {
        for map in [
            "",
            "x\n",
            "1\n",
            "1\n0\n",
            "1\n0\n11\n",
            "2\n5\n2\n4\n1\n",
            "1\n18446744073709551615\n2\n",
            "99999999999999999999999\n",
            "1048577\n",
            "1\n-1\n2\n",
        ] {
            assert!(written(map, b"", 10).is_err(), "{map:?}");
        }
        // What the map promises has to be there.
        assert!(written("1\n0\n4\n", b"abc", 10).is_err());
    }

    #[test]
    fn zeros_become_holes() {
        let mut content = vec![0; 10 * BLOCK_BYTES + 5];
        content[5 * BLOCK_BYTES] = 1;
        let mut file = tempfile::tempfile().unwrap();
        let length = copy(&mut content.as_slice(), &mut file).unwrap();
        assert_eq!(length, content.len() as u64);
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.len(), length);
        assert!(metadata.blocks() * 512 <= 2 * BLOCK_BYTES as u64);
        file.rewind().unwrap();
        let mut back = Vec::new();
        file.read_to_end(&mut back).unwrap();
        assert!(back == content);
    }
}
