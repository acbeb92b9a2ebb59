//! The two families of the Lambda API that share a signing name: `lambda-microvms` and
//! `lambda-core`.
//!
//! One way for every operation: find it by its path, count it against the caller's rate, gather
//! its input, hold that against the model, call the operation, shape the answer. Operations are
//! one file each in [`crate::microvms`] and [`crate::connectors`].

mod address;
mod authorize;
mod input;
pub(crate) mod refusal;

pub(crate) mod fields;
pub(crate) mod page;

use std::sync::Arc;

use hearth_control::arn::Scope;
use hearth_control::{Control, ControlError};
use serde_json::Value;

use crate::endpoint_tokens::EndpointTokens;
use crate::fault::Fault;
use crate::front::Call;
use crate::identity::Caller;
use crate::model::{Mismatch, Operation, check};
use crate::wire::json::{Family, rest, rest_fault};
use crate::wire::{Label, Reply, gateway_not_found, reply};
use crate::{connectors, microvms};
use address::Address;
use page::PageTokens;

/// What the operations work on.
pub(crate) struct Lambda {
    pub(crate) control: Control,
    pub(crate) pages: PageTokens,
    pub(crate) endpoint_tokens: Arc<dyn EndpointTokens>,
}

/// One call of one operation.
pub(crate) struct Context<'a> {
    pub(crate) control: &'a Control,
    pub(crate) pages: &'a PageTokens,
    pub(crate) endpoint_tokens: &'a dyn EndpointTokens,
    pub(crate) caller: &'a Caller,
    pub(crate) operation: &'static Operation,
    family: Family,
    /// The resource that the request names, for refusals that have to name it.
    resource: String,
}

/// What an operation answers; the status stands in its table.
pub(crate) enum Answer {
    Json(Value),
    Empty,
}

impl Context<'_> {
    pub(crate) fn scope(&self) -> &Scope {
        &self.caller.scope
    }

    /// What AWS says when a policy does not allow the call, which is how foreign resources look.
    pub(crate) fn access_denied(&self) -> Fault {
        refusal::access_denied(self)
    }

    /// A refusal of the control plane in the words of this operation's family.
    pub(crate) fn refused(&self, error: ControlError) -> Fault {
        refusal::fault(self, error)
    }
}

impl Lambda {
    /// Answers one request.
    pub(crate) async fn answer(&self, call: Call) -> Reply {
        let path = call.head.uri.path().to_owned();
        match address::find(call.head.method.as_str(), &path) {
            None => gateway_not_found(),
            Some(Address::Runtime) => rest_fault(Family::Core, &no_runtimes()),
            Some(Address::Operation {
                family,
                operation,
                labels,
            }) => {
                let mut reply = match self.perform(call, family, operation, labels).await {
                    Ok(Answer::Json(body)) => rest(operation.status, Some(&body)),
                    Ok(Answer::Empty) => reply(operation.status, "application/json", ""),
                    Err(fault) => rest_fault(family, &fault),
                };
                Label::of(&mut reply).operation = Some(operation.name);
                reply
            }
        }
    }

    async fn perform(
        &self,
        call: Call,
        family: Family,
        operation: &'static Operation,
        labels: Vec<(&'static str, String)>,
    ) -> Result<Answer, Fault> {
        let mut context = Context {
            control: &self.control,
            pages: &self.pages,
            endpoint_tokens: self.endpoint_tokens.as_ref(),
            caller: &call.caller,
            operation,
            family,
            resource: "*".to_owned(),
        };
        let account = call.caller.scope.account;
        let taken = self.control.throttle(account, address::rate(operation));
        taken.map_err(|refusal| context.refused(refusal.into()))?;
        let input = input::gather(operation, &labels, call.head.uri.query(), &call.body)?;
        check(operation.input, &input).map_err(mismatch)?;
        context.resource = named_resource(&input).unwrap_or(context.resource);
        context.authorize(&input).await?;
        match family {
            Family::Microvms => microvms::perform(&context, Value::Object(input)).await,
            Family::Core => connectors::perform(&context, Value::Object(input)).await,
        }
    }
}

/// Runtimes of ordinary functions, which Hearth does not have, in an error that their model has.
fn no_runtimes() -> Fault {
    let text = "Customer-managed runtimes are not implemented by this Hearth installation.";
    Fault::new(400, "InvalidParameterValueException", text)
}

fn mismatch(mismatch: Mismatch) -> Fault {
    match mismatch {
        Mismatch::Type => Fault::unparseable(),
        Mismatch::Union => Fault {
            is_capitalised: true,
            ..Fault::new(400, "SerializationException", "Expected null")
        },
        Mismatch::Constraints(message) => Fault::validation(message),
    }
}

fn named_resource(input: &crate::model::Input) -> Option<String> {
    [
        "imageIdentifier",
        "microvmIdentifier",
        "Resource",
        "Identifier",
        "Name",
    ]
    .iter()
    .find_map(|name| input.get(*name)?.as_str())
    .map(str::to_owned)
}
