//! STS: who am I. The only operation that deployment scripts need to find their account.

use http::Method;

use crate::fault::Fault;
use crate::front::Call;
use crate::wire::query::{self, Parameters};
use crate::wire::{Label, Reply};

pub(crate) const NAMESPACE: &str = " xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"";

pub(crate) fn answer(call: &Call) -> Reply {
    let Some(parameters) = parameters(call) else {
        let fault = Fault::new(
            400,
            "MalformedQueryString",
            "The query string cannot be read.",
        );
        return query::fault(NAMESPACE, &call.request_id, &fault);
    };
    match parameters.get("Action") {
        Some("GetCallerIdentity") => get_caller_identity(call),
        _ => query::fault(
            NAMESPACE,
            &call.request_id,
            &query::unknown_action(&parameters),
        ),
    }
}

fn get_caller_identity(call: &Call) -> Reply {
    let account = call.caller.scope.account.to_string();
    let mut reply = query::result("GetCallerIdentity", NAMESPACE, &call.request_id, |xml| {
        xml.text("Arn", &call.caller.arn())
            .text("UserId", &call.caller.user_id())
            .text("Account", &account)
    });
    Label::of(&mut reply).operation = Some("GetCallerIdentity");
    reply
}

/// The parameters: in the form of a POST, or in the query of a presigned GET.
fn parameters(call: &Call) -> Option<Parameters> {
    let form = if call.head.method == Method::GET {
        call.head.uri.query().unwrap_or_default()
    } else {
        std::str::from_utf8(&call.body).ok()?
    };
    Parameters::parse(form)
}
