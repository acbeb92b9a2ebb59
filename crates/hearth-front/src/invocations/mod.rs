//! Invocations of functions: the operations that run code, and what the runner of invocations needs of the front.
//!
//! Their bodies are events of functions and not members of a model, so they are read here by hand.

mod event_stream;
mod invoke;
mod invoke_async;
mod invoke_with_response_stream;
mod invoking;
mod keys;
mod logs;
mod named;
mod outcome;
mod request;
mod source;
mod trace;
mod version;

use crate::call::Call;
use crate::function_service::FunctionService;
use crate::wire::json::{Family, rest_fault};
use crate::wire::{Label, Reply};

pub(crate) use invoking::Invoking;
pub(crate) use request::too_large;

pub use invoking::Invocations;
pub use keys::FunctionKeys;
pub use logs::FunctionLogs;
pub use source::FunctionSource;

/// Answers a request to run a function.
pub(crate) async fn answer(
    functions: &FunctionService,
    invocations: &Invocations,
    invoking: Invoking,
    call: Call,
) -> Reply {
    let answered = match invoking {
        Invoking::Invoke => invoke::perform(functions, invocations, call).await,
        Invoking::InvokeAsync => invoke_async::perform(functions, invocations, call).await,
        Invoking::InvokeWithResponseStream => {
            invoke_with_response_stream::perform(functions, invocations, call).await
        }
    };
    let mut reply = answered.unwrap_or_else(|fault| rest_fault(Family::Functions, &fault));
    Label::of(&mut reply).operation = Some(invoking.name());
    reply
}
