//! STS: `GetCallerIdentity`, the only operation that deployment scripts need, to find their account.

use http::Method;

use crate::call::Call;
use crate::fault::Fault;
use crate::model::sts::{GetCallerIdentityInput, GetCallerIdentityOutput, Operation, Sts};
use crate::wire::query::{self, Parameters};
use crate::wire::xml::Xml;
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
    let action = parameters.get("Action").unwrap_or_default();
    let mut operations = Operation::ALL.iter().copied();
    let Some(operation) = operations.find(|operation| operation.model().name == action) else {
        let fault = query::unknown_action(&parameters);
        return query::fault(NAMESPACE, &call.request_id, &fault);
    };
    match perform(call, operation, &parameters) {
        Ok(result) => {
            let action = operation.model().name;
            let mut reply = query::result(action, NAMESPACE, &call.request_id, &result);
            Label::of(&mut reply).operation = Some(action);
            reply
        }
        Err(fault) => query::fault(NAMESPACE, &call.request_id, &fault),
    }
}

fn perform(call: &Call, operation: Operation, parameters: &Parameters) -> Result<Xml, Fault> {
    let input = parameters.checked_input(operation.model().input)?;
    operation.perform(call, input)
}

impl Sts for Call {
    fn get_caller_identity(
        &self,
        _: GetCallerIdentityInput,
    ) -> Result<GetCallerIdentityOutput, Fault> {
        Ok(GetCallerIdentityOutput {
            arn: Some(self.caller.arn()),
            user_id: Some(self.caller.user_id()),
            account: Some(self.caller.scope.account.to_string()),
        })
    }
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
