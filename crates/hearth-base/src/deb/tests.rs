use proptest::prelude::*;

use super::*;

fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, content) in members {
        out.extend(
            format!(
                "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
                0,
                0,
                0,
                100_644,
                content.len()
            )
            .bytes(),
        );
        out.extend(*content);
        if content.len() % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn fields_and_files_are_found() {
    let control = tar(&[("./control", b"Package: x\nVersion: 1.2-3\n")]);
    let data = tar(&[("./boot/vmlinuz", b"kernel"), ("./usr/share/doc", b"text")]);
    let deb = Deb {
        bytes: ar(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar", &control),
            ("data.tar", &data),
        ]),
    };
    assert_eq!(
        deb.control_field("Version").unwrap().as_deref(),
        Some("1.2-3")
    );
    assert_eq!(deb.control_field("Absent").unwrap(), None);
    assert_eq!(
        deb.files(|path| path.starts_with("boot/")).unwrap(),
        [("boot/vmlinuz".to_owned(), b"kernel".to_vec())]
    );
}

#[test]
fn an_unknown_compression_is_named() {
    let deb = Deb {
        bytes: ar(&[("data.tar.lz9", b"?????")]),
    };
    assert!(matches!(
        deb.files(|_| true),
        Err(DebError::Compression(name)) if name == "data.tar.lz9"
    ));
}

proptest! {
    #[test]
    fn garbage_is_refused_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = find_member(&bytes, "data.tar");
        let mut archive = b"!<arch>\n".to_vec();
        archive.append(&mut bytes);
        let _ = find_member(&archive, "data.tar");
    }
}
