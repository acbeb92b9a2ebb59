//! Names in a zip, as packers write them.
//!
//! | packer | what is its own |
//! |---|---|
//! | Info-ZIP, Python, Go, 7-Zip, macOS | UTF-8 and `/`, with or without the flag that says UTF-8 |
//! | .NET Framework, old Windows tools | `\` between the parts |
//! | Windows Explorer | names without the flag in code page 437 where they are not ASCII |
//!
//! (APPNOTE.TXT 4.4.2, 4.4.17 and appendix D.)

use super::ArchiveError;

/// Upper half of code page 437, in which names without a flag are (APPNOTE.TXT appendix D).
const CODE_PAGE_437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// What an entry says of its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawName<'a> {
    pub(super) bytes: &'a [u8],
    /// The flag of UTF-8.
    pub(super) says_utf8: bool,
    /// Whether a Unix made the zip. A backslash is a character like others there.
    pub(super) is_of_unix: bool,
}

/// A relative path of plain parts, without the slash at the end that marks directories. Empty for the root itself.
pub(super) fn check(raw: RawName<'_>, limit: usize) -> Result<String, ArchiveError> {
    let mut name = decode(raw)?;
    if !raw.is_of_unix {
        name = name.replace('\\', "/");
    }
    if name.len() > limit {
        return Err(ArchiveError::NameTooLong(name.chars().take(80).collect()));
    }
    if name.starts_with('/') || has_drive(&name, raw) {
        return Err(ArchiveError::AbsoluteName(name));
    }
    if name.contains('\0') {
        return Err(ArchiveError::MalformedName(name));
    }
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            ".." => return Err(ArchiveError::Traversal(name)),
            // `./a`, `a//b` and `a/` are written by packers that join paths as text.
            "" | "." => {}
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

fn decode(raw: RawName<'_>) -> Result<String, ArchiveError> {
    match std::str::from_utf8(raw.bytes) {
        Ok(name) => Ok(name.to_owned()),
        Err(_) if raw.says_utf8 || raw.is_of_unix => Err(ArchiveError::NameEncoding(
            String::from_utf8_lossy(raw.bytes).into_owned(),
        )),
        Err(_) => {
            let high: Vec<char> = CODE_PAGE_437.chars().collect();
            let character = |byte: &u8| match byte.checked_sub(0x80) {
                Some(index) => high[usize::from(index)],
                None => char::from(*byte),
            };
            Ok(raw.bytes.iter().map(character).collect())
        }
    }
}

/// `C:/x`, which is an absolute path for who made the zip.
fn has_drive(name: &str, raw: RawName<'_>) -> bool {
    let bytes = name.as_bytes();
    !raw.is_of_unix && bytes.len() > 1 && bytes[1] == b':' && bytes[0].is_ascii_alphabetic()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(bytes: &[u8]) -> RawName<'_> {
        RawName {
            bytes,
            says_utf8: false,
            is_of_unix: true,
        }
    }

    fn windows(bytes: &[u8]) -> RawName<'_> {
        RawName {
            is_of_unix: false,
            ..unix(bytes)
        }
    }

    #[test]
    fn names_of_common_packers_are_read() {
        assert_eq!(CODE_PAGE_437.chars().count(), 128);
        for (raw, name) in [
            (unix(b"a/b.txt"), "a/b.txt"),
            (unix("ü/é.txt".as_bytes()), "ü/é.txt"),
            (unix(b"./a//b/./c/"), "a/b/c"),
            (unix(b"a\\b"), "a\\b"),
            (unix(b"c:/x"), "c:/x"),
            (unix(b"./"), ""),
            (windows(b"src\\app\\main.py"), "src/app/main.py"),
            (windows(b"src\\"), "src"),
            (windows(b"caf\x82.txt"), "café.txt"),
            (windows("é".as_bytes()), "é"),
        ] {
            assert_eq!(check(raw, 64).unwrap(), name, "{raw:?}");
        }
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        for raw in [windows(b"..\\x"), windows(b"a\\..\\..\\x"), unix(b"a/../x")] {
            assert!(matches!(check(raw, 64), Err(ArchiveError::Traversal(_))));
        }
        for raw in [windows(b"C:\\x"), windows(b"\\x"), unix(b"/x")] {
            assert!(matches!(check(raw, 64), Err(ArchiveError::AbsoluteName(_))));
        }
        let broken = RawName {
            says_utf8: true,
            ..windows(b"\x82")
        };
        for raw in [broken, unix(b"\xff")] {
            assert!(matches!(check(raw, 64), Err(ArchiveError::NameEncoding(_))));
        }
    }
}
