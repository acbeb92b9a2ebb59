//! Guest memory as devices see it.

/// Guest memory as every device sees it. A clone shares the mappings.
pub type GuestRam = vm_memory::GuestMemoryMmap<()>;
