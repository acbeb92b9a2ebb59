//! x86_64: where things are in guest memory, how a CPU begins, and what its saved state is.

pub mod layout;

pub mod acpi;
pub mod aml;
pub mod clock;
pub mod cpuid;
pub mod irqchip;
pub mod msr;
pub mod registers;
pub mod vcpu_state;
