//! x86_64: the layout of guest memory, the initial state of CPUs, and their saved state.

pub mod layout;

pub mod acpi;
pub mod aml;
pub mod clock;
pub mod cpuid;
pub mod irqchip;
pub mod msr;
pub mod registers;
pub mod vcpu_state;
