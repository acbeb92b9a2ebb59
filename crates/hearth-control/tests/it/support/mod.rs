//! What the tests stand on.

mod host;
mod store;
mod world;

pub(crate) use host::{Fault, PAUSE, ScriptedHost};
pub(crate) use store::{CrashPoint, CrashingStore, Side};
pub(crate) use world::{
    World, eventually, image_state, refusal, scope, spec, state_of, suspended_reason,
    terminated_reason, token,
};
