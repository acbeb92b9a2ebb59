//! The body of a fuzz target: what reads the frames of agents.

pub use crate::codec::fuzz::frames as agent_frames;
