//! Saved state of one vCPU, and the order in which it is read and written.
//!
//! The order matters (Documentation/virt/kvm/api.rst): reading `mp_state` can make KVM accept a pending INIT
//! and change the other registers, so it is read first; CPUID decides which of the rest is accepted,
//! so it is written first; the local APIC's mode is in the system registers, so these come before the local
//! APIC; its deadline register is only taken in deadline mode, so it comes after it.

use std::time::Duration;

use kvm_bindings::{
    kvm_cpuid_entry2, kvm_debugregs, kvm_lapic_state, kvm_mp_state, kvm_msr_entry, kvm_regs,
    kvm_sregs, kvm_vcpu_events, kvm_xcrs, kvm_xsave,
};
use kvm_ioctls::{Cap, Kvm, VcpuFd};
use serde::{Deserialize, Serialize};

use super::clock;
use super::cpuid;
use super::msr::{self, MsrError};

// These structures are stored as the bytes that this kernel interface gives them: another size is
// another format.
const _: () = {
    assert!(size_of::<kvm_cpuid_entry2>() == 40);
    assert!(size_of::<kvm_debugregs>() == 128);
    assert!(size_of::<kvm_lapic_state>() == 1024);
    assert!(size_of::<kvm_mp_state>() == 4);
    assert!(size_of::<kvm_msr_entry>() == 16);
    assert!(size_of::<kvm_regs>() == 144);
    assert!(size_of::<kvm_sregs>() == 312);
    assert!(size_of::<kvm_vcpu_events>() == 64);
    assert!(size_of::<kvm_xcrs>() == 392);
    assert!(size_of::<kvm_xsave>() == 4096);
};

/// The complete state of one vCPU.
#[derive(Debug, Serialize, Deserialize)]
pub struct VcpuState {
    /// CPUID entries as the guest sees them.
    pub cpuid: Vec<kvm_cpuid_entry2>,
    /// Frequency of the vCPU's time stamp counter in kHz; 0 if the host could not report it.
    pub tsc_khz: u32,
    mp_state: kvm_mp_state,
    regs: kvm_regs,
    sregs: kvm_sregs,
    #[serde(with = "xsave_words")]
    xsave: Box<kvm_xsave>,
    xcrs: kvm_xcrs,
    debugregs: kvm_debugregs,
    lapic: kvm_lapic_state,
    msrs: Vec<kvm_msr_entry>,
    events: kvm_vcpu_events,
}

/// Why a vCPU could not be saved or restored.
#[derive(Debug, thiserror::Error)]
pub enum VcpuStateError {
    /// KVM refused a part.
    #[error("access the {what} of a vCPU")]
    Kvm {
        /// Which part.
        what: &'static str,
        /// The cause.
        #[source]
        source: kvm_ioctls::Error,
    },
    /// Model-specific registers could not be read or written.
    #[error(transparent)]
    Msr(#[from] MsrError),
    /// More CPUID entries than KVM takes.
    #[error("the saved state has {0} CPUID entries, more than KVM takes")]
    CpuidEntries(usize),
    /// The host's time stamp counter is of another frequency and cannot be scaled.
    #[error(
        "the guest's time stamp counter ran at {saved} kHz, this host's runs at {host} kHz and cannot be scaled"
    )]
    Tsc {
        /// Frequency in kHz when the state was saved.
        saved: u32,
        /// Frequency in kHz on this host.
        host: u32,
    },
}

/// Largest difference of frequencies that is taken for measurement error, in parts per million; what
/// Linux's NTP corrects (and what KVM itself tolerates).
const TSC_TOLERANCE_PPM: u64 = 250;

/// Whether the processor can scale a guest's time stamp counter.
///
/// KVM accepts any frequency above the host's even without hardware scaling. It then moves the counter forward only at
/// each entry into the guest, and between two entries the counter runs at the host's frequency. So the capability is
/// checked here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TscScaling {
    /// A guest's counter can run at any frequency.
    Possible,
    /// A guest's counter runs at the host's frequency.
    Impossible,
}

impl TscScaling {
    /// Asks KVM whether this host scales counters (`KVM_CAP_TSC_CONTROL`).
    pub fn of(kvm: &Kvm) -> Self {
        if kvm.check_extension(Cap::TscControl) {
            Self::Possible
        } else {
            Self::Impossible
        }
    }
}

fn failed(what: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> VcpuStateError {
    move |source| VcpuStateError::Kvm { what, source }
}

impl VcpuState {
    /// Reads the state of a vCPU that does not run. `msr_indices` are the model-specific registers that KVM can save.
    pub fn save(vcpu: &VcpuFd, msr_indices: &[u32]) -> Result<Self, VcpuStateError> {
        let mp_state = vcpu.get_mp_state().map_err(failed("run state"))?;
        let cpuid = vcpu
            .get_cpuid2(kvm_bindings::KVM_MAX_CPUID_ENTRIES)
            .map_err(failed("CPUID entries"))?
            .as_slice()
            .to_vec();
        let xsave = Box::new(vcpu.get_xsave().map_err(failed("extended registers"))?);
        Ok(Self {
            cpuid,
            tsc_khz: vcpu.get_tsc_khz().unwrap_or(0),
            mp_state,
            regs: vcpu.get_regs().map_err(failed("general registers"))?,
            sregs: vcpu.get_sregs().map_err(failed("system registers"))?,
            xsave,
            xcrs: vcpu
                .get_xcrs()
                .map_err(failed("extended control registers"))?,
            debugregs: vcpu.get_debug_regs().map_err(failed("debug registers"))?,
            lapic: vcpu.get_lapic().map_err(failed("local APIC"))?,
            msrs: msr::read(vcpu, msr_indices)?,
            events: vcpu.get_vcpu_events().map_err(failed("pending events"))?,
        })
    }

    /// Writes the state to a newly created vCPU.
    pub fn restore(&self, vcpu: &VcpuFd, scaling: TscScaling) -> Result<(), VcpuStateError> {
        let entries =
            cpuid::to_kvm(&self.cpuid).ok_or(VcpuStateError::CpuidEntries(self.cpuid.len()))?;
        vcpu.set_cpuid2(&entries).map_err(failed("CPUID entries"))?;
        self.restore_tsc_frequency(vcpu, scaling)?;
        vcpu.set_mp_state(self.mp_state)
            .map_err(failed("run state"))?;
        vcpu.set_regs(&self.regs)
            .map_err(failed("general registers"))?;
        vcpu.set_sregs(&self.sregs)
            .map_err(failed("system registers"))?;
        vcpu.set_xcrs(&self.xcrs)
            .map_err(failed("extended control registers"))?;
        // SAFETY: KVM copies more than `kvm_xsave` holds only when features beyond its 4096 bytes were
        // enabled by arch_prctl, which this process never calls.
        unsafe { vcpu.set_xsave(&self.xsave) }.map_err(failed("extended registers"))?;
        vcpu.set_debug_regs(&self.debugregs)
            .map_err(failed("debug registers"))?;
        vcpu.set_lapic(&self.lapic).map_err(failed("local APIC"))?;
        msr::write(vcpu, &self.msrs)?;
        vcpu.set_vcpu_events(&self.events)
            .map_err(failed("pending events"))
    }

    /// Moves the vCPU's clocks on by the time in which the guest did not run. Answers whether the time stamp counter
    /// was moved too: it stays if its frequency is unknown.
    ///
    /// A deadline of the timer is a value of that counter, so it may then lie in the past: KVM lets it fire as soon as it
    /// is written.
    pub fn move_on(&mut self, absence: Duration) -> bool {
        clock::move_apic_timer(&mut self.lapic, absence);
        let ticks = clock::tsc_ticks(absence, self.tsc_khz);
        for entry in self.msrs.iter_mut().filter(|entry| entry.index == msr::TSC) {
            entry.data = entry.data.wrapping_add(ticks);
        }
        self.tsc_khz != 0
    }

    /// Restores the frequency of the time stamp counter. Fails if this host cannot provide it.
    fn restore_tsc_frequency(
        &self,
        vcpu: &VcpuFd,
        scaling: TscScaling,
    ) -> Result<(), VcpuStateError> {
        let (saved, host) = (self.tsc_khz, vcpu.get_tsc_khz().unwrap_or(0));
        if same_frequency(saved, host) {
            return Ok(());
        }
        let refused = VcpuStateError::Tsc { saved, host };
        match scaling {
            TscScaling::Possible => vcpu.set_tsc_khz(saved).map_err(|_| refused),
            TscScaling::Impossible => Err(refused),
        }
    }
}

/// Whether a guest cannot tell the two frequencies apart. An unknown one (0) differs from all others.
fn same_frequency(saved_khz: u32, host_khz: u32) -> bool {
    let difference = u64::from(saved_khz.abs_diff(host_khz));
    difference * 1_000_000 <= u64::from(saved_khz) * TSC_TOLERANCE_PPM
}

/// Which of the registers that KVM lists are saved; the timer's deadline comes last, because restoring
/// writes them after the local APIC anyway and nothing else depends on it.
pub fn kept_msrs(listed: &[u32]) -> Vec<u32> {
    let mut kept: Vec<u32> = listed
        .iter()
        .copied()
        .filter(|index| msr::is_kept(*index))
        .collect();
    kept.sort_by_key(|index| *index == msr::TSC_DEADLINE);
    kept
}

/// The XSAVE area as words up to its last one that is not zero: most of its 4 KiB are the unused states of
/// large vector registers, and every byte of a state is hashed at each restore.
mod xsave_words {
    use kvm_bindings::kvm_xsave;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(area: &kvm_xsave, to: S) -> Result<S::Ok, S::Error> {
        let used = area
            .region
            .iter()
            .rposition(|word| *word != 0)
            .map_or(0, |last| last + 1);
        area.region[..used].serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Box<kvm_xsave>, D::Error> {
        let words = Vec::<u32>::deserialize(from)?;
        let mut area = Box::<kvm_xsave>::default();
        let used = area.region.get_mut(..words.len());
        used.ok_or_else(|| D::Error::custom("an XSAVE area of more than 4096 bytes"))?
            .copy_from_slice(&words);
        Ok(area)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Area(#[serde(with = "xsave_words")] Box<kvm_xsave>);

    #[test]
    fn an_xsave_area_comes_back_and_zeros_cost_little() {
        let mut area = Box::<kvm_xsave>::default();
        (area.region[0], area.region[143]) = (0x37f, u32::MAX);
        let region = area.region;
        let bytes = postcard::to_stdvec(&Area(area)).unwrap();
        assert!(bytes.len() < 200);
        let Area(back) = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(back.region, region);
        let too_long = postcard::to_stdvec(&vec![1_u32; 1025]).unwrap();
        assert!(postcard::from_bytes::<Area>(&too_long).is_err());
    }

    #[test]
    fn frequencies_within_the_tolerance_are_the_same() {
        assert!(same_frequency(2_000_000, 2_000_500));
        assert!(!same_frequency(2_000_000, 2_000_501));
        assert!(!same_frequency(2_000_000, 0));
        assert!(!same_frequency(0, 2_000_000));
        assert!(same_frequency(0, 0));
    }

    #[test]
    fn the_deadline_comes_last() {
        let kept = kept_msrs(&[msr::TSC, msr::TSC_DEADLINE, 0xc000_0082, 0x480]);
        assert_eq!(kept, [msr::TSC, 0xc000_0082, msr::TSC_DEADLINE]);
    }
}
