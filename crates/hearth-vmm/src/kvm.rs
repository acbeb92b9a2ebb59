//! Opening KVM and making an empty virtual machine.

use std::sync::{Mutex, PoisonError};

use kvm_ioctls::{Cap, Kvm, VmFd};

use crate::arch::x86_64::layout;

/// The version that every kernel of the last fifteen years has.
const API_VERSION: i32 = 12;

/// What Hearth cannot do without, with the name for the refusal.
const NEEDED: [(Cap, &str); 8] = [
    (Cap::Irqchip, "in-kernel interrupt controllers"),
    (Cap::Irqfd, "irqfd"),
    (Cap::Ioeventfd, "ioeventfd"),
    (Cap::UserMemory, "user memory"),
    (Cap::SetTssAddr, "TSS address"),
    (Cap::ImmediateExit, "immediate exit"),
    (Cap::MpState, "run states"),
    (Cap::AdjustClock, "clock adjustment"),
];

/// Why there is no virtual machine.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    /// No access to the device.
    #[error("open /dev/kvm")]
    Open(#[source] kvm_ioctls::Error),
    /// Not the interface that Hearth speaks.
    #[error("KVM has API version {0}, Hearth speaks {API_VERSION}")]
    Version(i32),
    /// A capability is missing.
    #[error("this KVM has no {0}")]
    Missing(&'static str),
    /// A step failed.
    #[error("KVM cannot {step}")]
    Step {
        /// Which one.
        step: &'static str,
        /// The cause.
        #[source]
        source: kvm_ioctls::Error,
    },
}

/// Maps an ioctl's error to the step that failed.
pub(crate) fn step(step: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> KvmError {
    move |source| KvmError::Step { step, source }
}

/// Opened while this process still could; the first machine takes it.
static AHEAD: Mutex<Option<Kvm>> = Mutex::new(None);

/// Opens `/dev/kvm` for a process that is about to lose its way there. A host without it is told so by [`open`].
pub(crate) fn open_ahead() {
    *AHEAD.lock().unwrap_or_else(PoisonError::into_inner) = Kvm::new().ok();
}

/// Opens `/dev/kvm` and checks that it is what Hearth needs.
pub fn open() -> Result<Kvm, KvmError> {
    let ahead = AHEAD.lock().unwrap_or_else(PoisonError::into_inner).take();
    let kvm = match ahead {
        Some(kvm) => kvm,
        None => Kvm::new().map_err(KvmError::Open)?,
    };
    match kvm.get_api_version() {
        API_VERSION => {}
        other => return Err(KvmError::Version(other)),
    }
    for (capability, name) in NEEDED {
        if !kvm.check_extension(capability) {
            return Err(KvmError::Missing(name));
        }
    }
    Ok(kvm)
}

/// Makes a virtual machine with interrupt controllers and without memory or CPUs.
pub fn create_vm(kvm: &Kvm) -> Result<VmFd, KvmError> {
    let vm = kvm.create_vm().map_err(step("create a virtual machine"))?;
    vm.set_identity_map_address(layout::IDENTITY_MAP)
        .map_err(step("set the identity map"))?;
    vm.set_tss_address(layout::TSS)
        .map_err(step("set the TSS address"))?;
    vm.create_irq_chip()
        .map_err(step("create interrupt controllers"))?;
    Ok(vm)
}
