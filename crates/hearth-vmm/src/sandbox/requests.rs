//! The ioctl requests of a VMM, by number: `_IO`, `_IOR`, `_IOW` and `_IOWR` of the kernel's headers.

use kvm_bindings as kvm;

const NONE: u32 = 0;
const WRITE: u32 = 1;
const READ: u32 = 2;
const BOTH: u32 = READ | WRITE;

/// `KVMIO`.
const KVMIO: u32 = 0xae;

const fn request(direction: u32, number: u32, bytes: usize) -> u32 {
    direction << 30 | (bytes as u32) << 16 | KVMIO << 8 | number
}

/// `KVM_RUN`, which runs the guest. First in its list, because it is by far the most frequent call.
const KVM_RUN: u32 = request(NONE, 0x80, 0);
const KVM_GET_REGS: u32 = request(READ, 0x81, size_of::<kvm::kvm_regs>());

/// Requests of vCPU threads to KVM.
pub(super) const VCPU: &[u32] = &[KVM_RUN, KVM_GET_REGS];

/// Requests of the process to KVM, files and network cards.
pub(super) const PROCESS: &[u32] = &[
    KVM_RUN,
    KVM_GET_REGS,
    // /dev/kvm
    request(NONE, 0x00, 0),
    request(NONE, 0x01, 0),
    request(BOTH, 0x02, size_of::<kvm::kvm_msr_list>()),
    request(NONE, 0x03, 0),
    request(NONE, 0x04, 0),
    request(BOTH, 0x05, size_of::<kvm::kvm_cpuid2>()),
    // The machine: vCPUs, memory, interrupts, clock.
    request(NONE, 0x41, 0),
    request(WRITE, 0x46, size_of::<kvm::kvm_userspace_memory_region>()),
    request(NONE, 0x47, 0),
    request(WRITE, 0x48, size_of::<u64>()),
    request(NONE, 0x60, 0),
    request(WRITE, 0x61, size_of::<kvm::kvm_irq_level>()),
    request(BOTH, 0x62, size_of::<kvm::kvm_irqchip>()),
    request(READ, 0x63, size_of::<kvm::kvm_irqchip>()),
    request(WRITE, 0x76, size_of::<kvm::kvm_irqfd>()),
    request(WRITE, 0x79, size_of::<kvm::kvm_ioeventfd>()),
    request(WRITE, 0x7b, size_of::<kvm::kvm_clock_data>()),
    request(READ, 0x7c, size_of::<kvm::kvm_clock_data>()),
    // A vCPU's state.
    request(WRITE, 0x82, size_of::<kvm::kvm_regs>()),
    request(READ, 0x83, size_of::<kvm::kvm_sregs>()),
    request(WRITE, 0x84, size_of::<kvm::kvm_sregs>()),
    request(BOTH, 0x88, size_of::<kvm::kvm_msrs>()),
    request(WRITE, 0x89, size_of::<kvm::kvm_msrs>()),
    request(READ, 0x8e, size_of::<kvm::kvm_lapic_state>()),
    request(WRITE, 0x8f, size_of::<kvm::kvm_lapic_state>()),
    request(WRITE, 0x90, size_of::<kvm::kvm_cpuid2>()),
    request(BOTH, 0x91, size_of::<kvm::kvm_cpuid2>()),
    request(READ, 0x98, size_of::<kvm::kvm_mp_state>()),
    request(WRITE, 0x99, size_of::<kvm::kvm_mp_state>()),
    request(READ, 0x9f, size_of::<kvm::kvm_vcpu_events>()),
    request(WRITE, 0xa0, size_of::<kvm::kvm_vcpu_events>()),
    request(READ, 0xa1, size_of::<kvm::kvm_debugregs>()),
    request(WRITE, 0xa2, size_of::<kvm::kvm_debugregs>()),
    request(NONE, 0xa2, 0),
    request(NONE, 0xa3, 0),
    request(READ, 0xa4, size_of::<kvm::kvm_xsave>()),
    request(WRITE, 0xa5, size_of::<kvm::kvm_xsave>()),
    request(READ, 0xa6, size_of::<kvm::kvm_xcrs>()),
    request(WRITE, 0xa7, size_of::<kvm::kvm_xcrs>()),
    request(NONE, 0xad, 0),
    // Sockets and files: FIONBIO, FIOCLEX.
    0x5421,
    0x5451,
    // PAGEMAP_SCAN: which pages became private.
    0xc060_6610,
    // Size and sector size of a block device below a disk: BLKGETSIZE64, BLKSSZGET.
    0x8008_1272,
    0x1268,
    // Network cards: TUNGETIFF, TUNSETVNETHDRSZ, TUNSETOFFLOAD.
    0x8004_54d2,
    0x4004_54d8,
    0x4004_54d0,
];
