//! The guest-facing HTTP APIs of one environment: the Runtime API 2018-06-01 and the Extensions API 2020-01-01.
//!
//! ```text
//! connection ──> serve ──> routes: what is asked ──> call ──> the environment's task ──> reply ──> HTTP
//! ```
//!
//! Handlers decide nothing: [`Life`](crate::life::Life) does. What programs send is bounded here.

mod handle;
mod routes;
mod serve;

pub(crate) use handle::{ApiCalls, Asked, Delivery, ExtensionDelivery, Replied};
pub(crate) use serve::serve;
