//! STS: who a caller is, and sessions with roles of the account ([`crate::identity`]).

use http::Method;

use crate::call::Call;
use crate::fault::Fault;
use crate::identity::{AssumeError, AssumeRole, Identities, RoleArn, assume_role};
use crate::model::sts::{
    AssumeRoleInput, AssumeRoleOutput, AssumedRoleUser, Credentials, GetCallerIdentityInput,
    GetCallerIdentityOutput, Operation, Sts,
};
use crate::model::values::Sensitive;
use crate::policy::{Document, DocumentKind};
use crate::wire::query::{self, Parameters};
use crate::wire::xml::Xml;
use crate::wire::{Label, Reply};

pub(crate) const NAMESPACE: &str = " xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"";

/// Parameters of `AssumeRole` that would limit or mark a session, and are not supported.
const NOT_SUPPORTED: &[&str] = &[
    "PolicyArns",
    "Tags",
    "TransitiveTagKeys",
    "SerialNumber",
    "TokenCode",
    "SourceIdentity",
    "ProvidedContexts",
    "MinimumSessionTokenSize",
];

/// Longest session policy (AWS's own bound). It is in every session token, so in every request of the session.
const MAX_SESSION_POLICY_CHARS: usize = 2048;

/// One request with what answers it.
struct StsRequest<'a> {
    call: &'a Call,
    identities: &'a Identities,
}

pub(crate) async fn answer(call: &Call, identities: &Identities) -> Reply {
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
    let request = StsRequest { call, identities };
    match request.perform(operation, &parameters).await {
        Ok(result) => {
            let action = operation.model().name;
            let mut reply = query::result(action, NAMESPACE, &call.request_id, &result);
            Label::of(&mut reply).operation = Some(action);
            reply
        }
        Err(fault) => query::fault(NAMESPACE, &call.request_id, &fault),
    }
}

impl StsRequest<'_> {
    async fn perform(&self, operation: Operation, parameters: &Parameters) -> Result<Xml, Fault> {
        parameters.refuse(NOT_SUPPORTED)?;
        let input = parameters.checked_input(operation.model().input)?;
        operation.perform(self, input).await
    }
}

impl Sts for StsRequest<'_> {
    async fn assume_role(&self, input: AssumeRoleInput) -> Result<AssumeRoleOutput, Fault> {
        let role: RoleArn = input
            .role_arn
            .parse()
            .map_err(|_| validation(format!("{} is invalid", input.role_arn)))?;
        let (caller, arn) = (&self.call.caller, role.to_string());
        let asked = AssumeRole {
            role,
            session: input.role_session_name,
            policy: input.policy.map(session_policy).transpose()?,
            duration_s: input.duration_seconds,
            external_id: input.external_id,
        };
        let identities = self.identities;
        let assumed = assume_role(&identities.control, &identities.sessions, caller, asked).await;
        let assumed = assumed.map_err(|error| refused(error, &caller.arn(), &arn))?;
        tracing::info!(
            caller = caller.arn(),
            session = assumed.arn,
            access_key = assumed.access_key,
            "role assumed"
        );
        Ok(AssumeRoleOutput {
            credentials: Some(Credentials {
                access_key_id: assumed.access_key,
                secret_access_key: Sensitive(assumed.secret.reveal().to_owned()),
                session_token: assumed.session_token,
                expiration: assumed.expires_at.into(),
            }),
            assumed_role_user: Some(AssumedRoleUser {
                assumed_role_id: assumed.user_id,
                arn: assumed.arn,
            }),
        })
    }

    async fn get_caller_identity(
        &self,
        _: GetCallerIdentityInput,
    ) -> Result<GetCallerIdentityOutput, Fault> {
        let caller = &self.call.caller;
        Ok(GetCallerIdentityOutput {
            arn: Some(caller.arn()),
            user_id: Some(caller.user_id()),
            account: Some(caller.scope.account.to_string()),
        })
    }
}

/// A session policy of bounded size that can be parsed.
fn session_policy(document: String) -> Result<String, Fault> {
    let chars = document.chars().count();
    if chars > MAX_SESSION_POLICY_CHARS {
        let percent = chars * 100 / MAX_SESSION_POLICY_CHARS;
        let text = format!(
            "Packed size of session tags and policies consumes {percent}% of allotted space."
        );
        return Err(Fault::new(400, "PackedPolicyTooLarge", text));
    }
    match Document::parse(&document, DocumentKind::Identity) {
        Ok(_) => Ok(document),
        Err(error) => {
            let text = format!("The session policy cannot be read: {error}.");
            Err(Fault::new(400, "MalformedPolicyDocument", text))
        }
    }
}

fn refused(error: AssumeError, caller: &str, role: &str) -> Fault {
    match error {
        AssumeError::Denied => Fault::new(
            403,
            "AccessDenied",
            format!(
                "User: {caller} is not authorized to perform: sts:AssumeRole on resource: {role}"
            ),
        ),
        AssumeError::NotUnderstood => Fault::new(
            403,
            "AccessDenied",
            format!("The role {role} has a policy that cannot be read: put it again, or delete it."),
        ),
        AssumeError::TooLong => validation(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
                .to_owned(),
        ),
        AssumeError::TooLongInChain => validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
                .to_owned(),
        ),
        AssumeError::Unavailable => Fault::internal(&"the role cannot be read"),
    }
}

fn validation(message: String) -> Fault {
    Fault::new(400, "ValidationError", message)
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
