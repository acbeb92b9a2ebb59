use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

/// Name that ends an archive.
const TRAILER: &str = "TRAILER!!!";

#[derive(Debug, PartialEq, Eq)]
struct Member {
    name: String,
    mode: u32,
    device: (u32, u32),
    content: Vec<u8>,
}

/// Reads an archive as the kernel's `init/initramfs.c` does.
fn read(archive: &[u8]) -> Vec<Member> {
    let mut members = Vec::new();
    let mut offset = 0;
    loop {
        assert_eq!(offset % 4, 0);
        assert_eq!(&archive[offset..offset + 6], b"070701");
        let field = |index: usize| {
            let start = offset + 6 + index * 8;
            let text = std::str::from_utf8(&archive[start..start + 8]).unwrap();
            u32::from_str_radix(text, 16).unwrap()
        };
        let name_start = offset + 110;
        let name_bytes = field(11) as usize;
        assert_eq!(archive[name_start + name_bytes - 1], 0);
        let name = String::from_utf8(archive[name_start..name_start + name_bytes - 1].to_vec());
        let name = name.unwrap();
        if name == TRAILER {
            return members;
        }
        let content_start = (name_start + name_bytes).next_multiple_of(4);
        let content_end = content_start + field(6) as usize;
        members.push(Member {
            name,
            mode: field(1),
            device: (field(9), field(10)),
            content: archive[content_start..content_end].to_vec(),
        });
        offset = content_end.next_multiple_of(4);
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        files in proptest::collection::vec(
            ("[a-z][a-z0-9/._-]{0,40}", 0_u32..0o7777, proptest::collection::vec(any::<u8>(), 0..100)),
            0..8,
        )
    ) {
        let mut writer = CpioWriter::new(Vec::new());
        for (name, mode, content) in &files {
            writer.file(name, *mode, content).unwrap();
        }
        let members = read(&writer.finish().unwrap());
        prop_assert_eq!(members.len(), files.len());
        for (member, (name, mode, content)) in members.iter().zip(&files) {
            prop_assert_eq!(&member.name, name);
            prop_assert_eq!(member.mode, REGULAR | mode);
            prop_assert_eq!(&member.content, content);
        }
    }
}

#[test]
fn every_kind_has_its_mode() {
    let mut writer = CpioWriter::new(Vec::new());
    writer.directory("/dev", 0o755).unwrap();
    writer.character_device("dev/console", 0o600, 5, 1).unwrap();
    writer.symlink("bin", "usr/bin").unwrap();
    let members = read(&writer.finish().unwrap());
    assert_eq!(members[0].mode, 0o040_755);
    assert_eq!((members[1].mode, members[1].device), (0o020_600, (5, 1)));
    assert_eq!(
        (members[2].mode, members[2].content.as_slice()),
        (0o120_777, &b"usr/bin"[..])
    );
}

#[test]
fn an_empty_name_is_refused() {
    assert!(CpioWriter::new(Vec::new()).file("/", 0o644, b"").is_err());
}

/// The reference implementation agrees, where it is installed.
#[test]
fn cpio_lists_the_archive() {
    let mut writer = CpioWriter::new(Vec::new());
    writer.directory("a", 0o755).unwrap();
    writer.file("a/file", 0o644, b"content").unwrap();
    let archive = writer.finish().unwrap();
    let Ok(mut child) = Command::new("cpio")
        .arg("-t")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
    else {
        return;
    };
    child.stdin.take().unwrap().write_all(&archive).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, b"a\na/file\n");
}
