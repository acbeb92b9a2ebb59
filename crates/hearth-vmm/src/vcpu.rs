//! vCPU threads. The thread that runs a vCPU owns its descriptor.
//!
//! ```text
//!            give(VcpuFd)
//!   held ------------------> thread in KVM_RUN
//!    ^                            |
//!    '------- VcpuFd, Stop -------'   stop flag and signal, or the guest's own end
//! ```
//!
//! A held vCPU has no half-done instruction: a device access that was served is completed before the vCPU is handed
//! back. So saving a vCPU means only reading its registers.

use std::cell::Cell;
use std::io;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, compiler_fence};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

use hearth_wire::vmm::EndReason;
use kvm_bindings::KVM_INTERNAL_ERROR_EMULATION;
use kvm_ioctls::{VcpuExit, VcpuFd};
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler};

use crate::bus::{Bus, PortEffect};
use crate::sandbox::{ThreadKind, confine_thread};

/// Stack of a vCPU thread: its loop calls into devices, none of which recurses.
const STACK_BYTES: usize = 256 << 10;

/// Why a vCPU thread stopped running its vCPU.
#[derive(Debug)]
enum Stop {
    /// The machine asked for it.
    Asked,
    /// The guest ended, or KVM failed.
    Ended(EndReason),
}

/// Why the vCPU threads could not be started.
#[derive(Debug, thiserror::Error)]
pub enum VcpuError {
    /// The signal that interrupts a vCPU could not be set up.
    #[error("install the handler of the signal that interrupts vCPUs")]
    Signal(#[source] vmm_sys_util::errno::Error),
    /// A thread could not be started.
    #[error("start the thread of vCPU {index}")]
    Spawn {
        /// Number of the vCPU.
        index: usize,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// All vCPUs of a machine.
#[derive(Debug)]
pub struct Vcpus {
    threads: Vec<VcpuThread>,
}

#[derive(Debug)]
struct VcpuThread {
    thread: JoinHandle<()>,
    give: Sender<VcpuFd>,
    take: Receiver<(VcpuFd, Stop)>,
    stop: Arc<AtomicBool>,
    held: Option<VcpuFd>,
}

impl Vcpus {
    /// Starts a thread for each of `vcpus`, which are held at first. `ended` is written when a vCPU stops by itself.
    pub fn start(
        vcpus: Vec<VcpuFd>,
        bus: &Arc<Bus>,
        ended: &Arc<EventFd>,
    ) -> Result<Self, VcpuError> {
        register_signal_handler(SIGRTMIN(), interrupt).map_err(VcpuError::Signal)?;
        let start = |(index, vcpu)| {
            VcpuThread::start(index, vcpu, Arc::clone(bus), Arc::clone(ended))
                .map_err(|source| VcpuError::Spawn { index, source })
        };
        let threads = vcpus
            .into_iter()
            .enumerate()
            .map(start)
            .collect::<Result<_, _>>()?;
        Ok(Self { threads })
    }

    /// Lets all vCPUs run.
    pub fn resume(&mut self) {
        for thread in &mut self.threads {
            if let Some(vcpu) = thread.held.take() {
                thread.stop.store(false, Ordering::SeqCst);
                // The receiver lives as long as its thread, which ends only with the process.
                let _ = thread.give.send(vcpu);
            }
        }
    }

    /// Stops all vCPUs and takes them back. Answers why the guest ended, if a vCPU ended meanwhile.
    pub fn pause(&mut self) -> Option<EndReason> {
        for thread in self.threads.iter().filter(|thread| thread.held.is_none()) {
            thread.stop.store(true, Ordering::SeqCst);
            // Fails only for a thread that is gone, which the receive below finds as well.
            let _ = thread.thread.kill(SIGRTMIN());
        }
        let mut reason = None;
        for thread in self
            .threads
            .iter_mut()
            .filter(|thread| thread.held.is_none())
        {
            match thread.take.recv() {
                Ok((vcpu, stop)) => {
                    thread.held = Some(vcpu);
                    reason = reason.or(stop.reason());
                }
                Err(_) => reason = Some(EndReason::Kvm("a vCPU thread is gone".into())),
            }
        }
        reason
    }

    /// Why a vCPU stopped by itself, if one did.
    pub fn take_ended(&mut self) -> Option<EndReason> {
        self.threads
            .iter_mut()
            .find_map(|thread| match thread.take.try_recv() {
                Ok((vcpu, stop)) => {
                    thread.held = Some(vcpu);
                    stop.reason()
                }
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => {
                    Some(EndReason::Kvm("a vCPU thread is gone".into()))
                }
            })
    }

    /// The vCPUs that are held: all of them while the machine is paused, else none or some.
    pub fn held(&self) -> impl Iterator<Item = &VcpuFd> {
        self.threads
            .iter()
            .filter_map(|thread| thread.held.as_ref())
    }

    /// Number of vCPUs.
    pub fn count(&self) -> usize {
        self.threads.len()
    }
}

impl Drop for Vcpus {
    /// The threads share the bus and with it the devices, which clean up behind themselves when the last
    /// owner goes.
    fn drop(&mut self) {
        // Whatever a guest ended with now, nobody asks any more.
        let _ = self.pause();
        for VcpuThread { thread, give, .. } in self.threads.drain(..) {
            drop(give);
            let _ = thread.join();
        }
    }
}

impl Stop {
    fn reason(self) -> Option<EndReason> {
        match self {
            Self::Asked => None,
            Self::Ended(reason) => Some(reason),
        }
    }
}

impl VcpuThread {
    fn start(index: usize, vcpu: VcpuFd, bus: Arc<Bus>, ended: Arc<EventFd>) -> io::Result<Self> {
        let (give, given) = channel::<VcpuFd>();
        let (back, take) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let body = move || {
            if confine_thread(ThreadKind::Vcpu).is_err() {
                // The channels close with the thread: the machine has lost a vCPU and ends.
                let _ = ended.write(1);
                return;
            }
            while let Ok(mut vcpu) = given.recv() {
                IMMEDIATE_EXIT.set(&raw mut vcpu.get_kvm_run().immediate_exit);
                let stop = run(&mut vcpu, &bus, &asked);
                IMMEDIATE_EXIT.set(ptr::null_mut());
                let by_itself = matches!(stop, Stop::Ended(_));
                if back.send((vcpu, stop)).is_err() {
                    return;
                }
                if by_itself {
                    // A full counter means that the machine is being told already.
                    let _ = ended.write(1);
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name(format!("vcpu-{index}"))
            .stack_size(STACK_BYTES)
            .spawn(body)?;
        Ok(Self {
            thread,
            give,
            take,
            stop,
            held: Some(vcpu),
        })
    }
}

thread_local! {
    /// Address of the `immediate_exit` byte of the vCPU that the current thread runs: set, it makes KVM_RUN return at
    /// once.
    static IMMEDIATE_EXIT: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
}

/// Signal handler that makes the thread's `KVM_RUN` return at once. The signal itself interrupts a call that is under
/// way; the flag stops a call that is about to begin.
extern "C" fn interrupt(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let immediate_exit = IMMEDIATE_EXIT.get();
    if !immediate_exit.is_null() {
        // SAFETY: the pointer is into the mapping of the vCPU that this very thread owns until it sets it
        // back to null; nobody else writes the byte meanwhile, and KVM expects it to change at any time.
        unsafe { immediate_exit.write_volatile(1) };
    }
}

/// Runs the vCPU until `stop` is set or the guest ends.
fn run(vcpu: &mut VcpuFd, bus: &Bus, stop: &AtomicBool) -> Stop {
    loop {
        vcpu.set_kvm_immediate_exit(0);
        // A signal after this line sets the flag again; one before it has set `stop`.
        compiler_fence(Ordering::SeqCst);
        if stop.load(Ordering::SeqCst) {
            return complete(vcpu, bus);
        }
        if let Some(reason) = step(vcpu, bus) {
            return Stop::Ended(reason);
        }
    }
}

/// Lets KVM finish the instruction whose device access was served last, and nothing more.
///
/// An access wider than a device register comes in pieces, each an exit of its own; KVM_RUN with
/// `immediate_exit` ends with EINTR when nothing is left to complete.
fn complete(vcpu: &mut VcpuFd, bus: &Bus) -> Stop {
    /// The widest access has 64 bytes, in pieces of 8.
    const PIECES_MAX: usize = 16;
    for _ in 0..PIECES_MAX {
        vcpu.set_kvm_immediate_exit(1);
        match vcpu.run() {
            Err(error) if error.errno() == libc::EINTR => break,
            Err(error) if error.errno() == libc::EAGAIN => {}
            Err(error) => return Stop::Ended(EndReason::Kvm(format!("KVM_RUN failed: {error}"))),
            Ok(exit) => {
                if let Some(reason) = serve(exit, bus).unwrap_or_else(|exit| Some(exit.into())) {
                    return Stop::Ended(reason);
                }
            }
        }
    }
    vcpu.set_kvm_immediate_exit(0);
    Stop::Asked
}

/// Enters the guest once and serves its exit. `Some` is the end of the guest.
fn step(vcpu: &mut VcpuFd, bus: &Bus) -> Option<EndReason> {
    let result = match vcpu.run() {
        Ok(exit) => serve(exit, bus),
        Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => Ok(None),
        Err(error) => Ok(Some(EndReason::Kvm(format!("KVM_RUN failed: {error}")))),
    };
    match result {
        Ok(reason) => reason,
        Err(Unserved::InternalError) => Some(EndReason::Kvm(internal_error(vcpu))),
        Err(unserved) => Some(unserved.into()),
    }
}

/// An exit that no device serves.
#[derive(Debug)]
enum Unserved {
    InternalError,
    Other(String),
}

impl From<Unserved> for EndReason {
    fn from(unserved: Unserved) -> Self {
        match unserved {
            Unserved::InternalError => Self::Kvm("internal error".into()),
            Unserved::Other(what) => Self::Kvm(what),
        }
    }
}

/// Serves one exit. `Some` is the end of the guest.
fn serve(exit: VcpuExit<'_>, bus: &Bus) -> Result<Option<EndReason>, Unserved> {
    match exit {
        VcpuExit::MmioRead(address, data) => bus.mmio_read(address, data),
        VcpuExit::MmioWrite(address, data) => bus.mmio_write(address, data),
        VcpuExit::IoIn(port, data) => bus.port_read(port, data),
        VcpuExit::IoOut(port, data) => {
            if bus.port_write(port, data) == PortEffect::Shutdown {
                return Ok(Some(EndReason::GuestShutdown));
            }
        }
        VcpuExit::Intr | VcpuExit::IrqWindowOpen => {}
        VcpuExit::Shutdown => return Ok(Some(EndReason::TripleFault)),
        VcpuExit::SystemEvent(..) => return Ok(Some(EndReason::GuestShutdown)),
        VcpuExit::InternalError => return Err(Unserved::InternalError),
        other => return Err(Unserved::Other(format!("unexpected exit {other:?}"))),
    }
    Ok(None)
}

/// Describes an internal error of KVM: its kind, and for a failed emulation the instruction's bytes.
fn internal_error(vcpu: &mut VcpuFd) -> String {
    let rip = vcpu.get_regs().map(|regs| regs.rip).unwrap_or_default();
    // SAFETY: KVM filled this member of the union: the exit was KVM_EXIT_INTERNAL_ERROR.
    let internal = unsafe { vcpu.get_kvm_run().__bindgen_anon_1.internal };
    let kind = match internal.suberror {
        KVM_INTERNAL_ERROR_EMULATION => "instruction emulation failed".to_owned(),
        other => format!("internal error {other}"),
    };
    let count = (internal.ndata as usize).min(internal.data.len());
    format!("{kind} at {rip:#x}, data {:x?}", &internal.data[..count])
}

/// Asks KVM to tell the guest that it was paused, so that its watchdogs do not fire. No-op for a guest without a
/// paravirtual clock.
pub fn tell_of_pause(vcpu: &VcpuFd) {
    let _ = vcpu.kvmclock_ctrl();
}
