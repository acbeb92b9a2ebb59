//! What the tests stand on.

mod node;
mod store;
mod world;

pub(crate) use node::{Fault, PAUSE, ScriptedNode};
pub(crate) use store::{CrashPoint, CrashingStore, Side};
pub(crate) use world::{World, image_state, refusal, scope, spec, state_of, terminated_reason};
