//! What a microVM must hold, tried on real ones.
//!
//! The library holds what tests and benchmark share ([`guest`]), and what the program in the guest
//! (`test-guest`) and the host must agree on: a stream of bytes that both can make.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

pub mod guest;

/// The port on the guest's loopback where `test-guest serve` answers.
pub const PORT: u16 = 7000;

/// An endless stream of bytes that depends on its seed alone (xorshift64*), so that both ends of a transfer
/// know every byte.
#[derive(Debug, Clone)]
pub struct Pattern(u64);

impl Pattern {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Fills `buffer`, whose length is a multiple of 8, with the next bytes.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        let (words, _) = buffer.as_chunks_mut::<8>();
        for word in words {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            *word = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
        }
    }
}
