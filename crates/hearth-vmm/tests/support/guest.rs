//! Bare-metal guests: a few instructions each, so that a test of the VMM needs no kernel and takes
//! milliseconds where a Linux boot takes seconds.
//!
//! A program is 32-bit code that the assembler puts into this test binary; it is copied from there into an ELF
//! file with a PVH note. It must not depend on its address: only registers, constants and relative jumps.

use std::path::{Path, PathBuf};

/// Where a program is loaded.
const LOAD_ADDRESS: u64 = 0x10_0000;

/// Code of a program, between two labels of the assembly below.
macro_rules! program {
    ($(#[$doc:meta])* $name:ident, $start:ident, $end:ident) => {
        $(#[$doc])*
        pub(crate) fn $name() -> &'static [u8] {
            unsafe extern "C" {
                static $start: u8;
                static $end: u8;
            }
            let (start, end) = (&raw const $start, &raw const $end);
            // SAFETY: the labels enclose bytes of this binary, the second one behind the first.
            unsafe { std::slice::from_raw_parts(start, end.offset_from_unsigned(start)) }
        }
    };
}

program!(
    /// Counts, touches memory as it counts, and prints the count as eight hexadecimal digits now and then.
    counter, guest_counter, guest_counter_end
);
program!(
    /// Resets itself through the keyboard controller.
    reset, guest_reset, guest_reset_end
);
program!(
    /// Turns itself off through the ACPI sleep control register.
    power_off, guest_power_off, guest_power_off_end
);
program!(
    /// Ends in a triple fault.
    triple_fault, guest_triple_fault, guest_triple_fault_end
);
program!(
    /// Stands still with interrupts off.
    idle, guest_idle, guest_idle_end
);
program!(
    /// Prints as fast as it can.
    serial_flood, guest_serial_flood, guest_serial_flood_end
);
program!(
    /// Starts the drivers of four devices, prints a line, and notifies them of nothing for ever.
    doorbell_flood, guest_doorbell_flood, guest_doorbell_flood_end
);
program!(
    /// Asks the first device, the vsock one, for new streams to port 1234 of the host, eight at a time, for ever.
    vsock_flood, guest_vsock_flood, guest_vsock_flood_end
);
program!(
    /// Attacks every device it can reach, for ever.
    hostile, guest_hostile, guest_hostile_end
);

/// Writes the program as a kernel into `directory`.
pub(crate) fn kernel(directory: &Path, name: &str, code: &[u8]) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, elf(code)).unwrap();
    path
}

/// Writes the program as a bzImage into `directory`. It is entered in 64-bit mode, so it may only use what
/// both modes encode alike.
pub(crate) fn bz_image(directory: &Path, name: &str, code: &[u8]) -> PathBuf {
    const SECTOR: usize = 512;
    const KERNEL: usize = 2 * SECTOR;
    const ENTRY_64: usize = 0x200;
    let mut file = vec![0; KERNEL + ENTRY_64];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[1]);
    put(0x1fe, &0xaa55_u16.to_le_bytes());
    put(0x202, b"HdrS");
    put(0x206, &0x020f_u16.to_le_bytes());
    put(0x211, &[1]);
    put(0x214, &(LOAD_ADDRESS as u32).to_le_bytes());
    put(0x22c, &0x7fff_ffff_u32.to_le_bytes());
    put(0x236, &1_u16.to_le_bytes());
    file.extend_from_slice(code);
    let path = directory.join(name);
    std::fs::write(&path, file).unwrap();
    path
}

/// An ELF file with one segment at [`LOAD_ADDRESS`] and a PVH note that points to its start.
fn elf(code: &[u8]) -> Vec<u8> {
    const EHDR: u64 = 64;
    const PHDR: u64 = 56;
    const NOTE_BYTES: u64 = 20;
    let note_offset = EHDR + 2 * PHDR;
    let code_offset = note_offset + NOTE_BYTES;
    let mut file = Vec::new();
    // ELF header: 64-bit, little endian, executable, x86_64.
    file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    for half in [2u16, 62] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    file.extend_from_slice(&1u32.to_le_bytes());
    for word in [LOAD_ADDRESS, EHDR, 0] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&0u32.to_le_bytes());
    for half in [EHDR as u16, PHDR as u16, 2, 0, 0, 0] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    let mut header = |kind: u32, offset: u64, address: u64, bytes: u64| {
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&7u32.to_le_bytes());
        for word in [offset, address, address, bytes, bytes, 4] {
            file.extend_from_slice(&word.to_le_bytes());
        }
    };
    header(1, code_offset, LOAD_ADDRESS, code.len() as u64);
    header(4, note_offset, 0, NOTE_BYTES);
    // XEN_ELFNOTE_PHYS32_ENTRY.
    for word in [4u32, 4, 18] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(b"Xen\0");
    file.extend_from_slice(&(LOAD_ADDRESS as u32).to_le_bytes());
    file.extend_from_slice(code);
    file
}

std::arch::global_asm!(
    ".section .rodata",
    ".code32",
    // edi: the count. Each round writes it to its page among 256 at 2 MiB; each 4096th round prints it.
    ".globl guest_counter",
    "guest_counter:",
    "  xor edi, edi",
    "2:",
    "  inc edi",
    "  mov eax, edi",
    "  and eax, 0xff",
    "  shl eax, 12",
    "  mov [eax + 0x200000], edi",
    "  test edi, 0xfff",
    "  jnz 2b",
    "  mov ecx, 8",
    "  mov ebx, edi",
    "  mov edx, 0x3f8",
    "3:",
    "  rol ebx, 4",
    "  mov al, bl",
    "  and al, 0xf",
    "  add al, 0x30",
    "  cmp al, 0x3a",
    "  jb 4f",
    "  add al, 0x27",
    "4:",
    "  out dx, al",
    "  loop 3b",
    "  mov al, 10",
    "  out dx, al",
    "  jmp 2b",
    ".globl guest_counter_end",
    "guest_counter_end:",
    ".globl guest_reset",
    "guest_reset:",
    "  mov al, 0xfe",
    "  out 0x64, al",
    "  jmp guest_reset",
    ".globl guest_reset_end",
    "guest_reset_end:",
    ".globl guest_power_off",
    "guest_power_off:",
    "  mov edx, 0x600",
    "  mov al, 0x34",
    "  out dx, al",
    "  jmp guest_power_off",
    ".globl guest_power_off_end",
    "guest_power_off_end:",
    ".globl guest_triple_fault",
    "guest_triple_fault:",
    "  int3",
    "  jmp guest_triple_fault",
    ".globl guest_triple_fault_end",
    "guest_triple_fault_end:",
    ".globl guest_idle",
    "guest_idle:",
    "  cli",
    "  hlt",
    "  jmp guest_idle",
    ".globl guest_idle_end",
    "guest_idle_end:",
    ".globl guest_serial_flood",
    "guest_serial_flood:",
    "  mov edx, 0x3f8",
    "5:",
    "  mov esi, 0x100000",
    "  mov ecx, 4096",
    "  rep outsb",
    "  jmp 5b",
    ".globl guest_serial_flood_end",
    "guest_serial_flood_end:",
    ".globl guest_doorbell_flood",
    "guest_doorbell_flood:",
    "  mov ebx, 0x300000",
    "  mov esi, 0xc0000000",
    "70:",
    "  mov dword ptr [esi + 0x70], 0",
    "  mov dword ptr [esi + 0x70], 1",
    "  mov dword ptr [esi + 0x70], 3",
    "  mov dword ptr [esi + 0x24], 0",
    "  mov dword ptr [esi + 0x20], 0",
    "  mov dword ptr [esi + 0x24], 1",
    "  mov dword ptr [esi + 0x20], 1",
    "  mov dword ptr [esi + 0x70], 11",
    // Queue edi: empty rings of 8 at ebx.
    "  xor edi, edi",
    "71:",
    "  mov [esi + 0x30], edi",
    "  mov dword ptr [esi + 0x38], 8",
    "  mov [esi + 0x80], ebx",
    "  mov dword ptr [esi + 0x84], 0",
    "  lea eax, [ebx + 0x1000]",
    "  mov [esi + 0x90], eax",
    "  mov dword ptr [esi + 0x94], 0",
    "  lea eax, [ebx + 0x2000]",
    "  mov [esi + 0xa0], eax",
    "  mov dword ptr [esi + 0xa4], 0",
    "  mov dword ptr [esi + 0x44], 1",
    "  add ebx, 0x10000",
    "  inc edi",
    "  cmp edi, 3",
    "  jb 71b",
    "  mov dword ptr [esi + 0x70], 15",
    "  add esi, 0x1000",
    "  cmp esi, 0xc0004000",
    "  jb 70b",
    "  mov edx, 0x3f8",
    "  mov al, 0x21",
    "  out dx, al",
    "  mov al, 10",
    "  out dx, al",
    "72:",
    "  mov esi, 0xc0000000",
    "73:",
    "  mov dword ptr [esi + 0x50], 0",
    "  mov dword ptr [esi + 0x50], 1",
    "  add esi, 0x1000",
    "  cmp esi, 0xc0004000",
    "  jb 73b",
    "  jmp 72b",
    ".globl guest_doorbell_flood_end",
    "guest_doorbell_flood_end:",
    // ebp: the guest's port. The sending queue is the second; the receiving one stays empty.
    ".globl guest_vsock_flood",
    "guest_vsock_flood:",
    "  mov ebx, 0x300000",
    "  mov esi, 0xc0000000",
    "  mov dword ptr [esi + 0x70], 0",
    "  mov dword ptr [esi + 0x70], 1",
    "  mov dword ptr [esi + 0x70], 3",
    "  mov dword ptr [esi + 0x24], 0",
    "  mov dword ptr [esi + 0x20], 0",
    "  mov dword ptr [esi + 0x24], 1",
    "  mov dword ptr [esi + 0x20], 1",
    "  mov dword ptr [esi + 0x70], 11",
    // Queue edi: empty rings of 8 at ebx.
    "  xor edi, edi",
    "75:",
    "  mov [esi + 0x30], edi",
    "  mov dword ptr [esi + 0x38], 8",
    "  mov [esi + 0x80], ebx",
    "  mov dword ptr [esi + 0x84], 0",
    "  lea eax, [ebx + 0x1000]",
    "  mov [esi + 0x90], eax",
    "  mov dword ptr [esi + 0x94], 0",
    "  lea eax, [ebx + 0x2000]",
    "  mov [esi + 0xa0], eax",
    "  mov dword ptr [esi + 0xa4], 0",
    "  mov dword ptr [esi + 0x44], 1",
    "  add ebx, 0x10000",
    "  inc edi",
    "  cmp edi, 3",
    "  jb 75b",
    "  mov dword ptr [esi + 0x70], 15",
    // Descriptors of eight packets at 0x380000, 64 bytes apart (VIRTIO 1.3 section 5.10.6): header only, from
    // CID 3 to CID 2, port 1234, stream, REQUEST.
    "  xor ecx, ecx",
    "76:",
    "  mov eax, ecx",
    "  shl eax, 6",
    "  add eax, 0x380000",
    "  mov dword ptr [eax], 3",
    "  mov dword ptr [eax + 8], 2",
    "  mov dword ptr [eax + 20], 1234",
    "  mov dword ptr [eax + 28], 0x10001",
    "  mov edx, ecx",
    "  shl edx, 4",
    "  mov [edx + 0x310000], eax",
    "  mov dword ptr [edx + 0x310008], 44",
    "  mov [ecx * 2 + 0x311004], cx",
    "  inc ecx",
    "  cmp ecx, 8",
    "  jb 76b",
    "  mov ebp, 1024",
    "77:",
    "  xor ecx, ecx",
    "78:",
    "  mov eax, ecx",
    "  shl eax, 6",
    "  inc ebp",
    "  mov [eax + 0x380010], ebp",
    "  inc ecx",
    "  cmp ecx, 8",
    "  jb 78b",
    "  add word ptr [0x311002], 8",
    "79:",
    "  mov dword ptr [esi + 0x50], 1",
    "  mov ax, [0x312002]",
    "  cmp ax, [0x311002]",
    "  jne 79b",
    "  jmp 77b",
    ".globl guest_vsock_flood_end",
    "guest_vsock_flood_end:",
    // ebp: xorshift state. esi: window of the device under attack.
    ".globl guest_hostile",
    "guest_hostile:",
    "  mov esp, 0x80000",
    "  mov ebp, 0x2545f491",
    "30:",
    "  call 90f",
    "  and eax, 7",
    "  shl eax, 12",
    "  lea esi, [eax + 0xc0000000]",
    "  call 90f",
    "  and eax, 3",
    "  jz 20f",
    "  dec eax",
    "  jz 60f",
    // Two in four: a driver that starts properly, with queues full of garbage.
    "  mov dword ptr [esi + 0x70], 0",
    "  mov dword ptr [esi + 0x70], 1",
    "  mov dword ptr [esi + 0x70], 3",
    "  mov dword ptr [esi + 0x14], 0",
    "  mov ebx, [esi + 0x10]",
    "  call 90f",
    "  and ebx, eax",
    "  mov dword ptr [esi + 0x24], 0",
    "  mov [esi + 0x20], ebx",
    "  mov dword ptr [esi + 0x24], 1",
    "  mov dword ptr [esi + 0x20], 1",
    "  mov dword ptr [esi + 0x70], 11",
    "  xor edi, edi",
    "31:",
    // Queue edi: rings of 8 at 3 MiB + edi * 64 KiB.
    "  mov [esi + 0x30], edi",
    "  mov dword ptr [esi + 0x38], 8",
    "  mov ebx, edi",
    "  shl ebx, 16",
    "  add ebx, 0x300000",
    "  mov [esi + 0x80], ebx",
    "  mov dword ptr [esi + 0x84], 0",
    "  lea eax, [ebx + 0x1000]",
    "  mov [esi + 0x90], eax",
    "  mov dword ptr [esi + 0x94], 0",
    "  lea eax, [ebx + 0x2000]",
    "  mov [esi + 0xa0], eax",
    "  mov dword ptr [esi + 0xa4], 0",
    // Eight descriptors: address within 8 MiB (or anywhere), length, flags and next.
    "  mov ecx, 8",
    "32:",
    "  call 90f",
    "  mov edx, eax",
    "  and edx, 0x7fffff",
    "  mov [ebx], edx",
    "  mov dword ptr [ebx + 4], 0",
    "  call 90f",
    "  test eax, 0x7000000",
    "  jnz 33f",
    "  mov [ebx + 4], eax",
    "33:",
    "  mov edx, eax",
    "  and edx, 0x1fff",
    "  test eax, 0x38000000",
    "  jnz 34f",
    "  mov edx, eax",
    "34:",
    "  mov [ebx + 8], edx",
    "  call 90f",
    "  mov edx, eax",
    "  and edx, 3",
    "  test eax, 0xf00000",
    "  jnz 35f",
    "  or edx, 4",
    "35:",
    "  mov [ebx + 12], dx",
    "  call 90f",
    "  and eax, 7",
    "  test ebp, 0xf000",
    "  jnz 36f",
    "  or eax, 0x1000",
    "36:",
    "  mov [ebx + 14], ax",
    "  add ebx, 16",
    "  loop 32b",
    // Available ring: an index that is mostly believable, and heads.
    "  and ebx, 0xffff0000",
    "  add ebx, 0x1000",
    "  call 90f",
    "  and eax, 0xf",
    "  shl eax, 16",
    "  mov [ebx], eax",
    "  mov ecx, 8",
    "37:",
    "  call 90f",
    "  and eax, 0x00090009",
    "  mov [ebx + ecx * 2 + 2], ax",
    "  loop 37b",
    "  mov dword ptr [esi + 0x44], 1",
    "  inc edi",
    "  cmp edi, 3",
    "  jb 31b",
    "  mov dword ptr [esi + 0x70], 15",
    // The doorbell, of queues that exist and of some that do not.
    "  mov ecx, 256",
    "38:",
    "  call 90f",
    "  and eax, 3",
    "  mov [esi + 0x50], eax",
    "  loop 38b",
    "  jmp 30b",
    // One in four: garbage into every register, in three widths.
    "20:",
    "  mov ecx, 512",
    "21:",
    "  call 90f",
    "  mov edx, eax",
    "  and edx, 0xffc",
    "  call 90f",
    "  mov [esi + edx], eax",
    "  mov [esi + edx + 1], al",
    "  mov [esi + edx + 2], ax",
    "  mov eax, [esi + edx]",
    "  loop 21b",
    "  jmp 30b",
    // One in four: the serial port, and every other port but those that end the guest.
    "60:",
    "  push esi",
    "  mov edx, 0x3f8",
    "  mov esi, 0x100000",
    "  mov ecx, 1024",
    "  rep outsb",
    "  pop esi",
    "  mov ecx, 64",
    "61:",
    "  call 90f",
    "  mov edx, eax",
    "  shr edx, 16",
    "  cmp edx, 0x64",
    "  je 62f",
    "  cmp edx, 0x600",
    "  je 62f",
    "  out dx, al",
    "  in al, dx",
    "62:",
    "  loop 61b",
    "  jmp 30b",
    // xorshift32
    "90:",
    "  mov eax, ebp",
    "  shl eax, 13",
    "  xor ebp, eax",
    "  mov eax, ebp",
    "  shr eax, 17",
    "  xor ebp, eax",
    "  mov eax, ebp",
    "  shl eax, 5",
    "  xor ebp, eax",
    "  mov eax, ebp",
    "  ret",
    ".globl guest_hostile_end",
    "guest_hostile_end:",
    ".code64",
    ".text",
);
