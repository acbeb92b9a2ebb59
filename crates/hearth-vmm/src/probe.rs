//! Finds out whether `/dev/kvm` can run guests, by running one.
//!
//! A device file proves little: there are paravirtual KVMs that open, create machines and interpret real-mode
//! programs, and then give up at the first instruction of an ordinary kernel that their interpreter lacks.
//! So the probe runs a small guest in long mode with paging that executes what kernels and C libraries execute early:
//! `cmpxchg16b` (slab allocator), SSE, and BMI2 (`shlx`, `rorx`; the zstd decompressor). After each stage the
//! guest writes the stage's number to a port, so that the answer can name what failed.

use std::fmt;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use kvm_bindings::{
    KVM_API_VERSION, KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment, kvm_sregs,
    kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// Longest time that the test guest may take. It has some thirty instructions, and ends within milliseconds even where
/// each of them is emulated.
const PATIENCE: Duration = Duration::from_secs(5);

/// Guest-physical layout; everything lies below the size of the memory.
const MEMORY_BYTES: usize = 0x1_0000;
const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const PD: u64 = 0x3000;
const CODE: u64 = 0x4000;
// 0x6000: scratch memory of the stages; its address is in their code.
const STACK_TOP: u32 = 0x8000;

/// The port to which the guest writes its reports. No device uses it.
const PORT: u16 = 0xf4;

/// The result of the probe. `Display` formats it as one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// KVM runs guests.
    Works,
    /// There is no device file.
    NoDevice,
    /// This user may not open the device file.
    NoPermission,
    /// The device opens, but refuses a request that every guest needs.
    Refuses {
        /// The request that was refused.
        request: &'static str,
        /// The kernel's error.
        answer: String,
    },
    /// The guest started, but did not complete a stage.
    CannotExecute {
        /// The stage that failed.
        stage: &'static str,
        /// How the guest ended.
        exit: String,
    },
    /// The guest did not end in time.
    Silent,
}

impl Finding {
    /// Whether guests can run here.
    pub fn is_usable(&self) -> bool {
        *self == Self::Works
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Works => f.write_str("KVM works: a test guest ran to its end."),
            Self::NoDevice => f.write_str(
                "There is no /dev/kvm: the processor's virtualization is off, or KVM's module is not loaded.",
            ),
            Self::NoPermission => f.write_str(
                "There is a /dev/kvm, but this user may not open it; membership in the group kvm usually helps.",
            ),
            Self::Refuses { request, answer } => {
                write!(f, "/dev/kvm opens, but cannot {request}: {answer}.")
            }
            Self::CannotExecute { stage, exit } => write!(
                f,
                "/dev/kvm opens and creates machines, but cannot execute ordinary kernel code: \
                 the test guest failed at {stage} ({exit})."
            ),
            Self::Silent => write!(
                f,
                "/dev/kvm opens and creates machines, but the test guest did not end within {} s.",
                PATIENCE.as_secs()
            ),
        }
    }
}

/// Runs the test guest.
///
/// A guest that does not end leaves its thread behind until the process ends: there is nothing that the
/// probe could rely on to stop it, on a device that has just proved unreliable.
pub fn probe() -> Finding {
    let (answer, answered) = mpsc::channel();
    let runner = thread::Builder::new().name("kvm-probe".into());
    let spawned = runner.spawn(move || {
        let finding = run_guest().unwrap_or_else(|finding| finding);
        // Nobody waits for a late answer.
        let _ = answer.send(finding);
    });
    match spawned {
        Ok(_) => answered.recv_timeout(PATIENCE).unwrap_or(Finding::Silent),
        Err(error) => refuses("start a thread")(error),
    }
}

/// A machine without processors that keeps KVM initialised while it lives.
///
/// KVM patches kernel code when its first machine appears and when its last one goes. Under QEMU's
/// multi-threaded emulation that patching is not safe, so an emulated host with several processors holds one of these
/// for as long as it runs (see `docs/emulated-host.md`).
#[derive(Debug)]
pub struct IdleVm {
    _vm: VmFd,
}

impl IdleVm {
    /// Creates the virtual machine.
    pub fn create() -> Result<Self, Finding> {
        let vm = open()?
            .create_vm()
            .map_err(|error| refuses("create a machine")(error.into()))?;
        Ok(Self { _vm: vm })
    }
}

/// One stage of the guest. On a wrong result the guest halts before it reports the stage.
struct Stage {
    name: &'static str,
    code: &'static [u8],
}

const ENTRY: Stage = Stage {
    name: "its first instructions in long mode with paging",
    code: &[
        0xe8, 0x00, 0x00, 0x00, 0x00, // call next
        0x58, // next: pop rax
    ],
};

const ATOMIC: Stage = Stage {
    name: "cmpxchg16b",
    code: &[
        0x31, 0xc0, // xor eax, eax
        0x31, 0xd2, // xor edx, edx
        0xbb, 0x22, 0x11, 0x00, 0x00, // mov ebx, 0x1122
        0xb9, 0x44, 0x33, 0x00, 0x00, // mov ecx, 0x3344
        0xbf, 0x00, 0x60, 0x00, 0x00, // mov edi, 0x6000
        0xf0, 0x48, 0x0f, 0xc7, 0x0f, // lock cmpxchg16b [rdi]
        0x48, 0x81, 0x3f, 0x22, 0x11, 0x00, 0x00, // cmp qword ptr [rdi], 0x1122
        0x74, 0x01, // je over
        0xf4, // hlt
    ],
};

const SSE: Stage = Stage {
    name: "an SSE instruction",
    code: &[
        0xb8, 0x5a, 0x5a, 0x5a, 0x5a, // mov eax, 0x5a5a5a5a
        0x66, 0x0f, 0x6e, 0xc0, // movd xmm0, eax
        0x66, 0x0f, 0x70, 0xc0, 0x00, // pshufd xmm0, xmm0, 0
        0x0f, 0x11, 0x47, 0x10, // movups [rdi + 16], xmm0
        0x81, 0x7f, 0x1c, 0x5a, 0x5a, 0x5a, 0x5a, // cmp dword ptr [rdi + 28], 0x5a5a5a5a
        0x74, 0x01, // je over
        0xf4, // hlt
    ],
};

const BMI2: Stage = Stage {
    name: "a BMI2 instruction",
    code: &[
        0xb8, 0x01, 0x00, 0x00, 0x00, // mov eax, 1
        0xb9, 0x07, 0x00, 0x00, 0x00, // mov ecx, 7
        0xc4, 0xe2, 0x71, 0xf7, 0xd0, // shlx edx, eax, ecx
        0xc4, 0xe3, 0x7b, 0xf0, 0xc2, 0x07, // rorx eax, edx, 7
        0x83, 0xf8, 0x01, // cmp eax, 1
        0x74, 0x01, // je over
        0xf4, // hlt
    ],
};

/// Stages in order. Processors before Haswell and Zen have no BMI2, and their kernels do without.
fn stages(has_bmi2: bool) -> Vec<Stage> {
    let mut stages = vec![ENTRY, ATOMIC, SSE];
    if has_bmi2 {
        stages.push(BMI2);
    }
    stages
}

/// The guest's code: every stage, then a report of its number; a halt at the end.
fn assemble(stages: &[Stage]) -> Vec<u8> {
    let mut code = vec![0xbc]; // mov esp, STACK_TOP
    code.extend(STACK_TOP.to_le_bytes());
    for (number, stage) in stages.iter().enumerate() {
        code.extend(stage.code);
        code.extend([0xb0, number as u8]); // mov al, number
        code.extend([0xe6, PORT as u8]); // out PORT, al
    }
    code.push(0xf4); // hlt
    code
}

fn open() -> Result<Kvm, Finding> {
    Kvm::new().map_err(|error| {
        let error = io::Error::from(error);
        match error.kind() {
            io::ErrorKind::NotFound => Finding::NoDevice,
            io::ErrorKind::PermissionDenied => Finding::NoPermission,
            // The node is there and no driver behind it.
            _ if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO)) => {
                Finding::NoDevice
            }
            _ => refuses("be opened")(error),
        }
    })
}

fn run_guest() -> Result<Finding, Finding> {
    let kvm = open()?;
    let version = kvm.get_api_version();
    if version != KVM_API_VERSION as i32 {
        return Err(Finding::Refuses {
            request: "speak the interface of today",
            answer: format!("its version is {version}"),
        });
    }
    let cpuid = kvm
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(|error| refuses("tell its processor's features")(error.into()))?;
    // SDM vol. 2, CPUID: leaf 7, EBX bit 8.
    let has_bmi2 = cpuid
        .as_slice()
        .iter()
        .any(|leaf| leaf.function == 7 && leaf.index == 0 && leaf.ebx & (1 << 8) != 0);
    let stages = stages(has_bmi2);

    let vm = kvm
        .create_vm()
        .map_err(|error| refuses("create a machine")(error.into()))?;
    let memory = load(&assemble(&stages))?;
    give_memory(&vm, &memory)?;
    let vcpu = vm
        .create_vcpu(0)
        .map_err(|error| refuses("create a processor")(error.into()))?;
    vcpu.set_cpuid2(&cpuid)
        .map_err(|error| refuses("set a processor's features")(error.into()))?;
    enter_long_mode(&vcpu)?;
    Ok(watch(vcpu, &stages))
    // The machine and its processor are gone here, and only then their memory.
}

/// Creates guest memory with page tables (the first 2 MiB identity-mapped) and `code`.
fn load(code: &[u8]) -> Result<GuestMemoryMmap, Finding> {
    const PRESENT_WRITABLE: u64 = 0b11;
    const LARGE: u64 = 1 << 7;
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY_BYTES)])
        .map_err(|error| refuses("be given memory")(io::Error::other(error)))?;
    let write = |address: u64, bytes: &[u8]| {
        memory
            .write_slice(bytes, GuestAddress(address))
            .map_err(|error| refuses("be given a program")(io::Error::other(error)))
    };
    write(PML4, &(PDPT | PRESENT_WRITABLE).to_le_bytes())?;
    write(PDPT, &(PD | PRESENT_WRITABLE).to_le_bytes())?;
    write(PD, &(PRESENT_WRITABLE | LARGE).to_le_bytes())?;
    write(CODE, code)?;
    Ok(memory)
}

fn give_memory(vm: &VmFd, memory: &GuestMemoryMmap) -> Result<(), Finding> {
    let address = memory
        .get_host_address(GuestAddress(0))
        .map_err(|error| refuses("be given memory")(io::Error::other(error)))?;
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0,
        memory_size: MEMORY_BYTES as u64,
        userspace_addr: address as u64,
    };
    // SAFETY: the region is one mapping of `MEMORY_BYTES` bytes that `memory` owns, and `run_guest` drops the
    // machine before it; the guest's writes go through no Rust reference, only through `memory`'s volatile accesses.
    unsafe { vm.set_user_memory_region(region) }
        .map_err(|error| refuses("map memory")(error.into()))
}

/// Sets the vCPU's registers as at a kernel's 64-bit entry: long mode, paging, flat segments, SSE enabled.
fn enter_long_mode(vcpu: &VcpuFd) -> Result<(), Finding> {
    const CR0_PE_MP_ET_NE_WP_PG: u64 = 1 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 16 | 1 << 31;
    const CR4_PAE_OSFXSR_OSXMMEXCPT: u64 = 1 << 5 | 1 << 9 | 1 << 10;
    const EFER_LME_LMA: u64 = 1 << 8 | 1 << 10;
    let flat = |selector: u16, kind: u8| kvm_segment {
        limit: u32::MAX,
        selector,
        type_: kind,
        present: 1,
        s: 1,
        g: 1,
        ..Default::default()
    };
    let code = kvm_segment {
        l: 1,
        ..flat(0x08, 0b1011)
    };
    let data = kvm_segment {
        db: 1,
        ..flat(0x10, 0b0011)
    };
    let initial = vcpu
        .get_sregs()
        .map_err(|error| refuses("read a processor's state")(error.into()))?;
    let sregs = kvm_sregs {
        cs: code,
        ds: data,
        es: data,
        fs: data,
        gs: data,
        ss: data,
        cr0: CR0_PE_MP_ET_NE_WP_PG,
        cr3: PML4,
        cr4: CR4_PAE_OSFXSR_OSXMMEXCPT,
        efer: EFER_LME_LMA,
        ..initial
    };
    let regs = kvm_regs {
        rip: CODE,
        // Bit 1 is always set.
        rflags: 2,
        ..Default::default()
    };
    vcpu.set_sregs(&sregs)
        .and_then(|()| vcpu.set_regs(&regs))
        .map_err(|error| refuses("set a processor's state")(error.into()))
}

/// Runs the guest until it halts or fails, and counts the stages that it reports.
fn watch(mut vcpu: VcpuFd, stages: &[Stage]) -> Finding {
    let mut finished = 0;
    let exit = loop {
        match vcpu.run() {
            Ok(VcpuExit::IoOut(PORT, &[number])) if usize::from(number) == finished => {
                finished += 1;
            }
            Ok(VcpuExit::Hlt) if finished == stages.len() => return Finding::Works,
            Ok(VcpuExit::Hlt) if finished < stages.len() => break "a wrong result".to_owned(),
            // With no interrupt table an exception is a triple fault.
            Ok(VcpuExit::Shutdown) => break "an exception".to_owned(),
            Ok(VcpuExit::InternalError) => break "KVM's emulation gave up".to_owned(),
            Ok(VcpuExit::FailEntry(reason, _)) => {
                break format!("the processor refuses to enter the guest, reason {reason:#x}");
            }
            Ok(other) => break format!("an unexpected exit, {other:?}"),
            Err(error) if error.errno() == libc::EINTR => {}
            Err(error) => break io::Error::from(error).to_string(),
        }
    };
    Finding::CannotExecute {
        stage: stages.get(finished).map_or("its end", |stage| stage.name),
        exit,
    }
}

fn refuses(request: &'static str) -> impl Fn(io::Error) -> Finding {
    move |error| Finding::Refuses {
        request,
        answer: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the stages' code has its scratch memory.
    const DATA: u32 = 0x6000;

    #[test]
    fn the_program_fits_and_knows_its_addresses() {
        let code = assemble(&stages(true));
        assert!(CODE + (code.len() as u64) < u64::from(DATA));
        assert!((STACK_TOP as usize) <= MEMORY_BYTES);
        // `mov edi, 0x6000` in the second stage; cmpxchg16b asks for 16-byte alignment.
        let mut load_address = vec![0xbf];
        load_address.extend(DATA.to_le_bytes());
        assert!(ATOMIC.code.windows(5).any(|window| window == load_address));
        assert_eq!(DATA % 16, 0);
    }

    #[test]
    fn older_processors_are_not_asked_for_bmi2() {
        assert_eq!(stages(false).len() + 1, stages(true).len());
    }

    #[test]
    fn every_finding_is_one_sentence() {
        let findings = [
            Finding::Works,
            Finding::NoDevice,
            Finding::NoPermission,
            Finding::Silent,
            Finding::Refuses {
                request: "create a machine",
                answer: "no".into(),
            },
            Finding::CannotExecute {
                stage: SSE.name,
                exit: "an exception".into(),
            },
        ];
        for finding in findings {
            let sentence = finding.to_string();
            assert!(
                sentence.ends_with('.') && !sentence.contains(". "),
                "{sentence}"
            );
        }
    }

    /// Whatever this machine is, the probe answers within its patience and does not crash.
    #[test]
    fn the_probe_answers_here() {
        let began = std::time::Instant::now();
        let finding = probe();
        println!("{finding}");
        assert!(began.elapsed() < PATIENCE + Duration::from_secs(5));
    }
}
