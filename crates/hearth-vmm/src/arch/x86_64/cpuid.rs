//! The CPUID entries of a guest's CPUs, and whether a host supports those that a snapshot was taken with.
//!
//! The base is what KVM supports on this host. Taken away are: nested virtualisation (its
//! state is not saved, and it is attack surface), performance counters and tracing (they leak
//! between tenants), SGX, and asynchronous page faults (their pending ones do not survive a
//! snapshot).

use kvm_bindings::{CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};

/// Leaves that describe features which guests do not get.
const HIDDEN_LEAVES: [u32; 9] = [
    0x5,         // MONITOR and MWAIT
    0xa,         // performance counters
    0x12,        // SGX
    0x14,        // processor trace
    0x1f,        // topology again, in a form that needs more than 0xb
    0x8000_000a, // SVM
    0x8000_001d, // cache topology of AMD: follows TOPOEXT
    0x8000_001e, // APIC topology of AMD: follows TOPOEXT
    0x8000_0022, // performance counters of AMD
];

/// KVM paravirtual features that stay off (Documentation/virt/kvm/x86/cpuid.rst): asynchronous
/// page faults in their three forms, and migration control.
const HIDDEN_KVM_FEATURES: u32 = 1 << 4 | 1 << 10 | 1 << 14 | 1 << 17;

/// Whether the host's CPU is hardware or emulated by QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostCpu {
    /// Silicon, or a hypervisor that runs code on it.
    Hardware,
    /// QEMU's translator. Its SVM (7.2) lets a guest's XSETBV pass without telling KVM, so KVM's idea of XCR0,
    /// and with it CPUID 0xd, is wrong; Linux notices, warns at length, and does without XSAVE.
    Tcg,
}

impl HostCpu {
    /// Detects it by the CPUID of the CPU that runs this code.
    pub fn detect() -> Self {
        const HYPERVISOR_LEAF: u32 = 0x4000_0000;
        let leaf = std::arch::x86_64::__cpuid(HYPERVISOR_LEAF);
        let name = [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes);
        match name.as_flattened() {
            b"TCGTCGTCGTCG" => Self::Tcg,
            _ => Self::Hardware,
        }
    }

    /// Removes features from `entries` that do not work on this kind of CPU.
    pub fn restrict(self, entries: &mut [kvm_cpuid_entry2]) {
        if self == Self::Hardware {
            return;
        }
        for entry in entries {
            match (entry.function, entry.index) {
                // XSAVE and what needs it: OSXSAVE, FMA, AVX, F16C.
                (0x1, _) => entry.ecx &= !(1 << 26 | 1 << 27 | 1 << 12 | 1 << 28 | 1 << 29),
                // AVX2, AVX-512, and protection keys.
                (0x7, 0) => {
                    entry.ebx &= !(1 << 5 | 0b11 << 16 | 1 << 21 | 0b111 << 26 | 0b11 << 30);
                    entry.ecx &= !(0b11_1111 << 1 & !(1 << 2) | 0b111 << 9 | 0b11 << 11 | 1 << 14);
                    entry.edx &= !(0b11 << 2 | 1 << 8);
                }
                (0x7, 1) => (entry.eax, entry.edx) = (0, 0),
                (0xd, _) => (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0),
                _ => {}
            }
        }
    }
}

/// Derives the entries of vCPU `index` of `count` from the entries that KVM supports.
pub fn for_vcpu(supported: &[kvm_cpuid_entry2], index: u8, count: u8) -> Vec<kvm_cpuid_entry2> {
    let mut entries: Vec<kvm_cpuid_entry2> = supported
        .iter()
        .copied()
        .filter(|entry| !HIDDEN_LEAVES.contains(&entry.function) && entry.function != 0xb)
        .collect();
    for entry in &mut entries {
        adjust(entry, index, count);
    }
    if supported
        .iter()
        .any(|entry| entry.function == 0 && entry.eax >= 0xb)
    {
        entries.extend(topology(index, count));
    }
    entries
}

fn adjust(entry: &mut kvm_cpuid_entry2, index: u8, count: u8) {
    let (index, count) = (u32::from(index), u32::from(count));
    match entry.function {
        0x1 => {
            entry.ebx = entry.ebx & 0xffff | count << 16 | index << 24;
            // MONITOR and VMX off; TSC deadline timer (KVM's local APIC always has it) and
            // "under a hypervisor" on.
            entry.ecx = entry.ecx & !(1 << 3 | 1 << 5) | 1 << 24 | 1 << 31;
            entry.edx = entry.edx & !(1 << 28) | u32::from(count > 1) << 28;
        }
        // Intel cache parameters: the last level is shared by all, the others by nobody.
        0x4 if entry.eax & 0x1f != 0 => {
            let level = entry.eax >> 5 & 0x7;
            let sharing = if level >= 3 { count - 1 } else { 0 };
            entry.eax = entry.eax & 0x3fff | sharing << 14 | (count - 1) << 26;
        }
        // Power management: only "APIC timer runs in every C state".
        0x6 => (entry.eax, entry.ebx, entry.ecx, entry.edx) = (1 << 2, 0, 0, 0),
        // SGX and processor trace off.
        0x7 if entry.index == 0 => entry.ebx &= !(1 << 2 | 1 << 25),
        0x4000_0001 => entry.eax &= !HIDDEN_KVM_FEATURES,
        0x8000_0001 => {
            // SVM, IBS, SKINIT, watchdog, TOPOEXT and performance counters off; on AMD,
            // CmpLegacy says that the count in leaf 1 is one of cores.
            let hidden = 1 << 2 | 1 << 10 | 1 << 12 | 1 << 13 | 0b111 << 22 | 1 << 27 | 1 << 28;
            entry.ecx = entry.ecx & !(hidden | 1 << 1) | u32::from(count > 1) << 1;
        }
        0x8000_0008 => entry.ecx = (count - 1) | id_bits(count) << 12,
        _ => {}
    }
}

/// Leaf 0xb: one thread a core, all cores in one package.
fn topology(index: u8, count: u8) -> [kvm_cpuid_entry2; 3] {
    let (index, count) = (u32::from(index), u32::from(count));
    let level = |subleaf: u32, shift: u32, cpus: u32, kind: u32| kvm_cpuid_entry2 {
        function: 0xb,
        index: subleaf,
        flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
        eax: shift,
        ebx: cpus,
        ecx: kind << 8 | subleaf,
        edx: index,
        ..Default::default()
    };
    [
        level(0, 0, 1, 1),
        level(1, id_bits(count), count, 2),
        level(2, 0, 0, 0),
    ]
}

/// Number of bits that hold any APIC id below `count`.
fn id_bits(count: u32) -> u32 {
    u32::BITS - (count - 1).leading_zeros()
}

/// Names the features that `saved` has and `supported` lacks. Empty if the host can run the guest.
///
/// Compared are the vendor and the leaves that are masks of features. Leaves that count or size
/// things cannot be compared by bits, and KVM does not check them either.
pub fn missing_features(saved: &[kvm_cpuid_entry2], supported: &[kvm_cpuid_entry2]) -> Vec<String> {
    let mut missing = Vec::new();
    for entry in saved {
        let host = supported
            .iter()
            .find(|host| host.function == entry.function && host.index == entry.index)
            .copied()
            .unwrap_or_default();
        if entry.function == 0 {
            let vendor = |entry: &kvm_cpuid_entry2| (entry.ebx, entry.ecx, entry.edx);
            if vendor(entry) != vendor(&host) {
                missing.push(format!("CPU vendor {}", vendor_name(entry)));
            }
            continue;
        }
        let [eax, ebx, ecx, edx] = feature_masks(entry.function, entry.index);
        for (register, saved, host, mask) in [
            ("eax", entry.eax, host.eax, eax),
            ("ebx", entry.ebx, host.ebx, ebx),
            ("ecx", entry.ecx, host.ecx, ecx),
            ("edx", entry.edx, host.edx, edx),
        ] {
            let lost = saved & !host & mask;
            if lost != 0 {
                let (leaf, subleaf) = (entry.function, entry.index);
                missing.push(format!(
                    "CPUID {leaf:#x}.{subleaf}:{register} bits {lost:#x}"
                ));
            }
        }
    }
    missing
}

/// Which bits of a leaf's eax, ebx, ecx and edx are features of the host's CPU.
fn feature_masks(function: u32, index: u32) -> [u32; 4] {
    const ALL: u32 = u32::MAX;
    match (function, index) {
        // Not OSXSAVE (follows the guest's CR4), the hypervisor bit and the deadline timer (made
        // here), nor hyper-threading (made here).
        (0x1, _) => [0, 0, !(1 << 24 | 1 << 27 | 1 << 31), !(1 << 28)],
        // Not OSPKE, which follows the guest's CR4.
        (0x7, 0) => [0, ALL, !(1 << 4), ALL],
        (0x7, 1 | 2) => [ALL, ALL, ALL, ALL],
        // XCR0 bits, and the XSAVE instructions.
        (0xd, 0) => [ALL, 0, 0, ALL],
        (0xd, 1) => [ALL, 0, ALL, ALL],
        (0x4000_0001, _) => [ALL, 0, 0, 0],
        // Not CmpLegacy, which is made here.
        (0x8000_0001, _) => [0, 0, !(1 << 1), ALL],
        (0x8000_0007, _) => [0, 0, 0, ALL],
        (0x8000_0008, _) => [0, ALL, 0, 0],
        (0x8000_0021, _) => [ALL, 0, 0, 0],
        _ => [0; 4],
    }
}

fn vendor_name(entry: &kvm_cpuid_entry2) -> String {
    let bytes: Vec<u8> = [entry.ebx, entry.edx, entry.ecx]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Converts the entries to KVM's form. `None` if there are more entries than KVM accepts.
pub fn to_kvm(entries: &[kvm_cpuid_entry2]) -> Option<CpuId> {
    CpuId::from_entries(entries).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(function: u32, index: u32, registers: [u32; 4]) -> kvm_cpuid_entry2 {
        let [eax, ebx, ecx, edx] = registers;
        kvm_cpuid_entry2 {
            function,
            index,
            eax,
            ebx,
            ecx,
            edx,
            ..Default::default()
        }
    }

    #[test]
    fn each_vcpu_has_its_own_apic_id_and_all_say_the_same_count() {
        let supported = [entry(0, 0, [0x20, 1, 2, 3]), entry(1, 0, [0, 0, 0, 0])];
        for index in 0..3 {
            let entries = for_vcpu(&supported, index, 3);
            let leaf = entries.iter().find(|entry| entry.function == 1).unwrap();
            assert_eq!(leaf.ebx >> 24, u32::from(index));
            assert_eq!(leaf.ebx >> 16 & 0xff, 3);
            let cores = entries
                .iter()
                .find(|e| (e.function, e.index) == (0xb, 1))
                .unwrap();
            assert_eq!((cores.eax, cores.ebx, cores.edx), (2, 3, u32::from(index)));
        }
    }

    #[test]
    fn nested_virtualisation_and_counters_are_hidden() {
        let supported = [
            entry(1, 0, [0, 0, u32::MAX, 0]),
            entry(0xa, 0, [1, 1, 1, 1]),
            entry(0x8000_0001, 0, [0, 0, u32::MAX, 0]),
            entry(0x8000_000a, 0, [1, 1, 1, 1]),
        ];
        let entries = for_vcpu(&supported, 0, 1);
        assert!(
            entries
                .iter()
                .all(|e| e.function != 0xa && e.function != 0x8000_000a)
        );
        let of = |function| entries.iter().find(|e| e.function == function).unwrap().ecx;
        assert_eq!(of(1) & 1 << 5, 0);
        assert_eq!(of(0x8000_0001) & 1 << 2, 0);
    }

    #[test]
    fn a_guest_made_here_misses_nothing_here() {
        let supported = [
            entry(0, 0, [0x10, 0x6874_7541, 0x444d_4163, 0x6974_6e65]),
            entry(1, 0, [0, 0, 0x00ff_ffff, 0x0fff_ffff]),
            entry(7, 0, [0, 0xffff, 0xffff, 0xff]),
            entry(0x8000_0001, 0, [0, 0, u32::MAX, u32::MAX]),
        ];
        assert!(missing_features(&for_vcpu(&supported, 1, 4), &supported).is_empty());
    }

    #[test]
    fn an_emulated_host_gives_no_xsave_and_hardware_gives_all() {
        let all = [
            entry(1, 0, [u32::MAX; 4]),
            entry(7, 0, [u32::MAX; 4]),
            entry(0xd, 0, [7; 4]),
        ];
        let mut restricted = all;
        HostCpu::Hardware.restrict(&mut restricted);
        assert_eq!(restricted, all);
        HostCpu::Tcg.restrict(&mut restricted);
        assert_eq!(restricted[0].ecx & (1 << 26 | 1 << 28), 0);
        assert_eq!(restricted[1].ebx & (1 << 5 | 1 << 16), 0);
        assert_ne!(restricted[1].ebx & 1 << 8, 0, "BMI2 needs no XSAVE");
        assert_eq!(restricted[2].eax, 0);
    }

    #[test]
    fn a_lost_feature_and_another_vendor_are_named() {
        let saved = [
            entry(0, 0, [1, 0x6874_7541, 0x444d_4163, 0x6974_6e65]),
            entry(7, 0, [0, 0b110, 0, 0]),
        ];
        let host = [
            entry(0, 0, [1, 0x756e_6547, 0x6c65_746e, 0x4965_6e69]),
            entry(7, 0, [0, 0b10, 0, 0]),
        ];
        let missing = missing_features(&saved, &host);
        assert_eq!(
            missing,
            ["CPU vendor AuthenticAMD", "CPUID 0x7.0:ebx bits 0x4"]
        );
    }
}
