//! The three families of the Lambda API that share a signing name: `lambda`, `lambda-microvms` and
//! `lambda-core`.
//!
//! Every operation takes the same way: it is found by its path, counted against the caller's rate, its input is
//! gathered and checked against the model, the operation is called, and its output is written. Operations are one
//! file each in [`crate::functions`], [`crate::microvms`] and [`crate::connectors`]. The code that calls them is generated
//! ([`crate::model`]).

mod address;
mod authorize;
pub(crate) mod canonical;
pub(crate) mod connector_key;
mod input;
mod operation;
pub(crate) mod refusal;
mod refused;
mod unsupported;

pub(crate) mod page;

use std::sync::Arc;

use crate::call::{Call, IsEncrypted};
use crate::endpoint_tokens::EndpointTokens;
use crate::fault::Fault;
use crate::function_service::FunctionService;
use crate::identity::Caller;
use crate::invocations::{Invocations, Invoking, answer};
use crate::model::values::Written;
use crate::model::{Input, Mismatch, check};
use crate::wire::json::{Family, rest, rest_fault};
use crate::wire::{Label, Reply, gateway_not_found, reply};
use address::Address;
use hearth_control::arn::Scope;
use hearth_control::request::{RequestDigest, RequestToken};
use hearth_control::{Control, ControlError};
use http::header::HOST;
use http::request::Parts;
use operation::{Operation, Subject};
use page::PageTokens;
use refused::refused;
use unsupported::refuse_unsupported;

/// The service of all families.
pub(crate) struct Lambda {
    pub(crate) control: Control,
    pub(crate) pages: PageTokens,
    pub(crate) endpoint_tokens: Arc<dyn EndpointTokens>,
    pub(crate) functions: FunctionService,
    /// `None` if nothing here runs functions.
    pub(crate) invocations: Option<Invocations>,
}

/// One call of one operation.
pub(crate) struct Context<'a> {
    pub(crate) control: &'a Control,
    pub(crate) pages: &'a PageTokens,
    pub(crate) endpoint_tokens: &'a dyn EndpointTokens,
    pub(crate) functions: &'a FunctionService,
    /// By which scheme and name the client reached this service, without a slash at the end.
    pub(crate) base_url: String,
    pub(crate) caller: &'a Caller,
    pub(crate) operation: Operation,
    /// The resource that the request names, for refusals that name it.
    resource: String,
    /// The digest of the input, to be stored with its client token. `None` if it has no token.
    digest: Option<RequestDigest>,
}

impl Context<'_> {
    pub(crate) fn scope(&self) -> &Scope {
        &self.caller.scope
    }

    /// A client token together with the digest of its request.
    pub(crate) fn request_token(&self, token: Option<String>) -> Option<RequestToken> {
        canonical::request_token(token, self.digest?)
    }

    /// The denial by a policy. A resource of another account gets the same answer.
    pub(crate) fn access_denied(&self) -> Fault {
        refusal::access_denied(self)
    }

    /// A refusal of the control plane in the words of the operation's family.
    pub(crate) fn refused(&self, error: ControlError) -> Fault {
        refusal::fault(self, error)
    }
}

fn find(head: &Parts) -> Option<Address> {
    address::find(head.method.as_str(), head.uri.path(), head.uri.query())
}

/// By which scheme and name the client reached this service.
fn base_url(head: &Parts) -> String {
    let scheme = match head.extensions.get::<IsEncrypted>() {
        Some(_) => "https",
        None => "http",
    };
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    format!("{scheme}://{}", host.unwrap_or("localhost"))
}

/// The name of the operation, if its requests may have code, and so be larger than others.
pub(crate) fn operation_with_code(head: &Parts) -> Option<&'static str> {
    match find(head) {
        Some(Address::Operation { operation, .. }) => {
            operation.has_code().then(|| operation.name())
        }
        _ => None,
    }
}

/// The family of a request, for error answers.
pub(crate) fn family(head: &Parts) -> Family {
    match find(head) {
        Some(Address::Operation { operation, .. }) => operation.family(),
        Some(Address::Runtime) => Family::Core,
        Some(Address::Refused(_)) => Family::Functions,
        None => Family::Microvms,
    }
}

impl Lambda {
    /// Answers one request.
    pub(crate) async fn answer(&self, call: Call) -> Reply {
        match find(&call.head) {
            None => gateway_not_found(),
            Some(Address::Runtime) => rest_fault(Family::Core, &no_runtimes()),
            Some(Address::Refused(model)) => {
                if let Some((invocations, invoking)) = self.invoking(model.name) {
                    return answer(&self.functions, invocations, invoking, call).await;
                }
                let mut reply = rest_fault(Family::Functions, &refused(model.name));
                Label::of(&mut reply).operation = Some(model.name);
                reply
            }
            Some(Address::Operation { operation, labels }) => {
                let status = operation.model().status;
                let mut reply = match self.perform(call, operation, labels).await {
                    Ok(Some(body)) => rest(status, Some(&body)),
                    Ok(None) => reply(status, "application/json", ""),
                    Err(fault) => rest_fault(operation.family(), &fault),
                };
                Label::of(&mut reply).operation = Some(operation.name());
                reply
            }
        }
    }

    /// How an operation of this name runs a function, if it does and something runs functions.
    fn invoking(&self, name: &str) -> Option<(&Invocations, Invoking)> {
        Some((self.invocations.as_ref()?, Invoking::of(name)?))
    }

    async fn perform(
        &self,
        mut call: Call,
        operation: Operation,
        labels: Vec<(&'static str, String)>,
    ) -> Result<Written, Fault> {
        let mut context = Context {
            control: &self.control,
            pages: &self.pages,
            endpoint_tokens: self.endpoint_tokens.as_ref(),
            functions: &self.functions,
            base_url: base_url(&call.head),
            caller: &call.caller,
            operation,
            resource: "*".to_owned(),
            digest: None,
        };
        let account = call.caller.scope.account;
        let taken = self.control.throttle(account, operation.rate());
        taken.map_err(|refusal| context.refused(refusal.into()))?;
        let model = operation.model();
        // Given back when the operation is done.
        let _place = call.place.take();
        // Of a large body two copies at a time are enough.
        let body = std::mem::take(&mut call.body);
        let input = input::gather(model, &labels, call.head.uri.query(), &body)?;
        drop(body);
        check(model.input, &input).map_err(mismatch)?;
        context.digest = canonical::has_token(&input).then(|| canonical::digest(&input));
        context.resource = named_resource(operation.subject(), &input).unwrap_or(context.resource);
        if operation.family() == Family::Functions {
            refuse_unsupported(&input)?;
        }
        context.authorize(&input).await?;
        match operation {
            Operation::Functions(operation) => operation.perform(&context, input).await,
            Operation::Microvms(operation) => operation.perform(&context, input).await,
            Operation::Core(operation) => operation.perform(&context, input).await,
        }
    }
}

/// The refusal for runtimes of ordinary functions, with an error that their model has.
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

/// The resource as the request names it.
fn named_resource(subject: Subject, input: &Input) -> Option<String> {
    let member = match subject {
        Subject::All
        | Subject::NewImage
        | Subject::NewConnector
        | Subject::Function
        | Subject::Layer => return None,
        Subject::Named(member) => member,
        Subject::Connector => "Identifier",
        Subject::Microvm => "microvmIdentifier",
    };
    input.get(member)?.as_str().map(str::to_owned)
}
