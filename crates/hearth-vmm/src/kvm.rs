//! Opens KVM and creates an empty virtual machine.

use std::sync::{Mutex, PoisonError};

use kvm_ioctls::{Cap, Kvm, VmFd};

use crate::arch::x86_64::layout;

/// The version that every kernel of the last fifteen years has.
const API_VERSION: i32 = 12;

/// The KVM capabilities that Hearth needs, each with its name for the error message.
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

/// Why KVM cannot be used, or a virtual machine cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    /// `/dev/kvm` cannot be opened.
    #[error("open /dev/kvm")]
    Open(#[source] kvm_ioctls::Error),
    /// KVM has another API version than Hearth uses.
    #[error("KVM has API version {0}, Hearth speaks {API_VERSION}")]
    Version(i32),
    /// A capability is missing.
    #[error("this KVM has no {0}")]
    Missing(&'static str),
    /// KVM refused a step.
    #[error("KVM cannot {step}")]
    Step {
        /// The step that failed.
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

/// `/dev/kvm`, opened before the sandbox closed the way to it. The first machine takes it.
static AHEAD: Mutex<Option<Kvm>> = Mutex::new(None);

/// Opens `/dev/kvm` ahead of time, for a process that is about to enter its sandbox. Best effort: if the device is
/// missing, [`open`] reports it later.
pub(crate) fn open_ahead() {
    *AHEAD.lock().unwrap_or_else(PoisonError::into_inner) = Kvm::new().ok();
}

/// Opens `/dev/kvm` and checks that it has the API version and the capabilities that Hearth needs.
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

/// Creates a virtual machine with interrupt controllers and without memory or CPUs.
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
