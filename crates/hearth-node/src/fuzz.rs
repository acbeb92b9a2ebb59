//! The fuzz target for frames of agents.

pub use crate::codec::fuzz::frames as agent_frames;
