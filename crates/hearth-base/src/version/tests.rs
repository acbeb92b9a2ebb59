use std::cell::RefCell;

use super::*;

/// The smallest ELF file that passes for a kernel: a header, one PT_NOTE segment with the PVH note, a banner.
fn tiny_kernel() -> Vec<u8> {
    const NOTE_OFFSET: u64 = 64 + 56;
    const NOTE_BYTES: u64 = 12 + 4 + 4;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend(2_u16.to_le_bytes()); // ET_EXEC
    elf.extend(62_u16.to_le_bytes()); // EM_X86_64
    elf.extend(1_u32.to_le_bytes());
    elf.extend(0_u64.to_le_bytes()); // entry
    elf.extend(64_u64.to_le_bytes()); // program headers
    elf.extend(0_u64.to_le_bytes()); // section headers
    elf.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 64, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(4_u32.to_le_bytes()); // PT_NOTE
    elf.extend(4_u32.to_le_bytes());
    for field in [NOTE_OFFSET, 0, 0, NOTE_BYTES, NOTE_BYTES, 4] {
        elf.extend(field.to_le_bytes());
    }
    for field in [4_u32, 4, 18] {
        elf.extend(field.to_le_bytes());
    }
    elf.extend(b"Xen\0");
    elf.extend(0x100_0000_u32.to_le_bytes());
    elf.extend(b"Linux version 6.12.0-test (nobody)");
    elf.extend([0; 100]);
    elf
}

#[test]
fn a_version_is_built_once_for_a_kernel_and_an_agent() {
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("vmlinux");
    let agent = scratch.path().join("agent");
    fs::write(&image, tiny_kernel()).unwrap();
    fs::write(&agent, "agent one").unwrap();
    let steps = RefCell::new(0);
    let data_dir = scratch.path().join("data");
    let build_now = || {
        build(&BuildOptions {
            data_dir: data_dir.clone(),
            agent: agent.clone(),
            agent_version: "0.1.0".into(),
            kernel: KernelSource::Path {
                image: image.clone(),
                modules: None,
            },
            progress: &|_| *steps.borrow_mut() += 1,
        })
        .unwrap()
    };

    let first = build_now();
    assert_eq!(first.kernel_release, "6.12.0-test");
    assert_eq!(fs::read(first.vmlinux()).unwrap(), tiny_kernel());
    let initramfs = fs::read(first.initramfs()).unwrap();
    assert!(initramfs.windows(9).any(|window| window == b"agent one"));

    assert_eq!(build_now(), first, "cached");
    fs::write(&agent, "agent two").unwrap();
    let second = build_now();
    assert_ne!(second.id, first.id);
    assert_eq!(list(&data_dir).unwrap(), [first, second]);
}

#[test]
fn nothing_built_is_an_empty_list() {
    let scratch = tempfile::tempdir().unwrap();
    assert_eq!(list(scratch.path()).unwrap(), []);
}

#[test]
fn a_missing_agent_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("vmlinux");
    fs::write(&image, tiny_kernel()).unwrap();
    let error = build(&BuildOptions {
        data_dir: scratch.path().join("data"),
        agent: scratch.path().join("absent"),
        agent_version: "0.1.0".into(),
        kernel: KernelSource::Path {
            image,
            modules: None,
        },
        progress: &|_| {},
    })
    .unwrap_err();
    assert!(matches!(error, BaseBuildError::Agent { .. }));
}
