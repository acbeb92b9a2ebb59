//! Checks an operation against the policies of a caller's role. As on AWS, the resource is the image, even for
//! operations on microVMs (facts section 12).
//!
//! A role that could pass on a stronger role, or a connector that it may not use, could do everything. So roles and
//! connectors that a request names need `iam:PassRole` and `lambda:PassNetworkConnector` as well.

use hearth_control::arn::{ConnectorArn, ConnectorRef};
use hearth_control::connector::ConnectorKey;
use hearth_functions::FunctionRef;
use serde_json::Value;

use super::Context;
use super::connector_key::connector_key;
use super::operation::Subject;
use crate::fault::Fault;
use crate::identity::{
    BuildRoleError, Denied, Principal, RoleArn, check_function_role, may_build_role_read,
};
use crate::model::Input;
use crate::policy::Facts;

/// Members that name roles for the service to assume later.
const ROLES: &[&str] = &["buildRoleArn", "executionRoleArn", "OperatorRole", "Role"];

/// Members that name connectors.
const CONNECTORS: &[&str] = &["ingressNetworkConnectors", "egressNetworkConnectors"];

impl Context<'_> {
    /// # Errors
    ///
    /// The denial of AWS, if no policy allows the operation.
    pub(super) async fn authorize(&self, input: &Input) -> Result<(), Fault> {
        self.refuse_foreign_role(input)?;
        self.authorize_caller(input).await?;
        self.authorize_build_role(input).await?;
        self.check_function_role(input).await
    }

    async fn authorize_caller(&self, input: &Input) -> Result<(), Fault> {
        let principal = &self.caller.principal;
        if matches!(principal, Principal::Account) {
            return Ok(());
        }
        let may = |action: &str, resources: &[String]| {
            let allowed = principal.may(action, resources, &Facts::new());
            allowed.map_err(|denied: Denied| Fault::access_denied(denied.to_string()))
        };
        let action = format!("lambda:{}", self.operation.name());
        may(&action, &self.resources_of(input).await)?;
        for role in ROLES
            .iter()
            .filter_map(|member| input.get(*member)?.as_str())
        {
            may("iam:PassRole", &[role.to_owned()])?;
        }
        for connector in CONNECTORS
            .iter()
            .flat_map(|member| texts(input.get(*member)))
        {
            may("lambda:PassNetworkConnector", &passed_connector(connector))?;
        }
        for layer in texts(input.get("Layers")) {
            may("lambda:GetLayerVersion", &[layer.to_owned()])?;
        }
        match artifact(input).or_else(|| code(input)) {
            Some(object) => may("s3:GetObject", &[object]),
            None => Ok(()),
        }
    }

    /// Checks that the service may assume the execution role of a function.
    async fn check_function_role(&self, input: &Input) -> Result<(), Fault> {
        let role = input.get("Role").and_then(Value::as_str);
        let Some(role) = role.filter(|_| self.operation.subject() == Subject::Function) else {
            return Ok(());
        };
        let function = self.function_of(input);
        let account = self.scope().account;
        let checked = check_function_role(self.control, account, role, &function).await;
        checked.map_err(|error| match error {
            BuildRoleError::Unavailable => Fault::internal(&"the execution role cannot be read"),
            // Terraform asks again when it reads this text, because roles take time on AWS.
            _ => Fault::new(
                400,
                "InvalidParameterValueException",
                "The role defined for the function cannot be assumed by Lambda.",
            ),
        })
    }

    /// Checks that the build role may read the artifact. The build begins at once, so this is decided here.
    async fn authorize_build_role(&self, input: &Input) -> Result<(), Fault> {
        let role = input.get("buildRoleArn").and_then(Value::as_str);
        let (Some(role), Some(object)) = (role, artifact(input)) else {
            return Ok(());
        };
        let image = match self.operation.subject() {
            Subject::NewImage => self.new_image(input),
            _ => self.resource.clone(),
        };
        let account = self.scope().account;
        let may_read = may_build_role_read(self.control, account, role, &image, object).await;
        may_read.map_err(|error| match error {
            BuildRoleError::Denied(denied) => Fault::access_denied(denied.to_string()),
            BuildRoleError::NotAssumable => Fault::validation(format!(
                "The role {role} cannot be assumed by Lambda. It has to trust lambda.amazonaws.com, and its policies \
                 have to be ones that can be read."
            )),
            BuildRoleError::Unavailable => Fault::internal(&"the build role cannot be read"),
        })
    }

    /// Refuses a role of another account.
    fn refuse_foreign_role(&self, input: &Input) -> Result<(), Fault> {
        let named = input.get("executionRoleArn").or_else(|| input.get("Role"));
        let role = named.and_then(Value::as_str);
        let account = |role: &str| role.parse().map(|role: RoleArn| role.account);
        match role.map(account) {
            None => Ok(()),
            Some(Ok(account)) if account == self.scope().account => Ok(()),
            Some(_) => Err(Fault::access_denied(
                "Cross-account pass role is not allowed.",
            )),
        }
    }

    /// All spellings of the resource of the operation.
    async fn resources_of(&self, input: &Input) -> Vec<String> {
        let text = |member: &str| input.get(member).and_then(Value::as_str);
        match self.operation.subject() {
            Subject::All => vec![self.resource.clone()],
            Subject::Named(_) => match self.resource.parse::<ConnectorArn>() {
                Ok(arn) => connector_spellings(&arn),
                Err(_) => vec![self.resource.clone()],
            },
            Subject::NewImage => vec![self.new_image(input)],
            Subject::Microvm => vec![self.image_of(text("microvmIdentifier")).await],
            Subject::NewConnector => vec![self.arn("network-connector:*")],
            Subject::Connector => self.named_connector(text("Identifier")).await,
            Subject::Function => vec![self.function_of(input)],
            Subject::Layer => vec![self.layer_of(input)],
        }
    }

    /// The ARN of a function, qualified if the request is. The operation refuses a text that names none.
    fn function_of(&self, input: &Input) -> String {
        let text = |member: &str| input.get(member).and_then(Value::as_str);
        let name = text("FunctionName").unwrap_or_default();
        let qualifier = text("Qualifier");
        let read = name.parse::<FunctionRef>();
        let Ok(read) = read.and_then(|read| read.qualified(qualifier)) else {
            return name.to_owned();
        };
        let scope = self.scope();
        let account = read.account.unwrap_or_else(|| scope.account.to_string());
        let region = read.region.unwrap_or_else(|| scope.region.to_string());
        let arn = format!("arn:aws:lambda:{region}:{account}:function:{}", read.name);
        match read.qualifier {
            Some(qualifier) => format!("{arn}:{qualifier}"),
            None => arn,
        }
    }

    /// The ARN of a layer, or of its version if the request has one.
    fn layer_of(&self, input: &Input) -> String {
        let name = input.get("LayerName").and_then(Value::as_str);
        let name = name.unwrap_or_default();
        let arn = match name.starts_with("arn:") {
            true => name.to_owned(),
            false => self.arn(&format!("layer:{name}")),
        };
        match input.get("VersionNumber").and_then(Value::as_i64) {
            Some(version) => format!("{arn}:{version}"),
            None => arn,
        }
    }

    fn new_image(&self, input: &Input) -> String {
        let name = input.get("name").and_then(Value::as_str);
        self.arn(&format!("microvm-image:{}", name.unwrap_or_default()))
    }

    fn arn(&self, resource: &str) -> String {
        let scope = self.scope();
        format!(
            "arn:aws:lambda:{}:{}:{resource}",
            scope.region, scope.account
        )
    }

    /// The ARNs of a connector, from any of its names. If the name names no connector, the operation refuses it, but
    /// only for callers that are allowed on `*`.
    async fn named_connector(&self, identifier: Option<&str>) -> Vec<String> {
        let unqualified = |id| ConnectorArn {
            scope: self.scope().clone(),
            id,
            version: None,
        };
        let arn = match identifier.map(connector_key) {
            Some(Ok(ConnectorKey::Arn(arn))) => Some(arn),
            Some(Ok(ConnectorKey::Id(id))) => Some(unqualified(id)),
            Some(Ok(key @ ConnectorKey::Name(_))) => {
                let found = self.control.connector(self.scope(), &key).await;
                found.ok().map(|found| unqualified(found.connector.id))
            }
            Some(Err(_)) | None => None,
        };
        arn.map_or_else(|| vec!["*".to_owned()], |arn| connector_spellings(&arn))
    }

    /// Only a caller that is allowed on `*` may learn that a microVM does not exist.
    async fn image_of(&self, microvm: Option<&str>) -> String {
        let Some(Ok(id)) = microvm.map(str::parse) else {
            return "*".to_owned();
        };
        let microvm = self.control.microvm(self.scope(), id).await;
        microvm.map_or_else(|_| "*".to_owned(), |microvm| microvm.image.to_string())
    }
}

/// The ARNs of a connector that is passed to a microVM or image. The operation refuses a text that is no ARN.
fn passed_connector(text: &str) -> Vec<String> {
    match text.parse() {
        Ok(ConnectorRef::Own(arn)) => connector_spellings(&arn),
        Ok(managed @ ConnectorRef::Managed { .. }) => vec![managed.to_string()],
        Err(_) => vec![text.to_owned()],
    }
}

/// The ARN of a version and the unqualified ARN: a policy on the connector holds for all of its versions.
fn connector_spellings(arn: &ConnectorArn) -> Vec<String> {
    let unqualified = ConnectorArn {
        version: None,
        ..arn.clone()
    };
    match arn.version {
        None => vec![unqualified.to_string()],
        Some(_) => vec![arn.to_string(), unqualified.to_string()],
    }
}

/// The artifact of a request as policies name it. The operation refuses a text that is no address in S3.
fn artifact(input: &Input) -> Option<String> {
    let uri = input.get("codeArtifact")?.get("uri")?.as_str()?;
    let object = uri.strip_prefix("s3://")?;
    Some(format!("arn:aws:s3:::{object}"))
}

/// The object that the code of a function or a layer comes from, as policies name it.
fn code(input: &Input) -> Option<String> {
    let inside = ["Code", "Content"]
        .iter()
        .filter_map(|name| input.get(*name)?.as_object());
    std::iter::once(input).chain(inside).find_map(|members| {
        let bucket = members.get("S3Bucket")?.as_str()?;
        let key = members.get("S3Key")?.as_str()?;
        Some(format!("arn:aws:s3:::{bucket}/{key}"))
    })
}

fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::operation::Operation;
    use super::*;

    const CONNECTOR: &str = "arn:aws:lambda:us-east-1:000000000001:network-connector:nc-a991cd0b-3321-3e2c-a982-d5c4db52b17a";

    /// Finding M11: a version of a connector passed by a policy on the connector.
    #[test]
    fn a_version_of_a_connector_is_the_connector() {
        let version = format!("{CONNECTOR}:2");
        assert_eq!(passed_connector(CONNECTOR), [CONNECTOR]);
        assert_eq!(passed_connector(&version), [version.as_str(), CONNECTOR]);
    }

    /// Finding M12: nothing was asked about the artifact.
    #[test]
    fn an_artifact_is_an_object() {
        let input = json!({"codeArtifact": {"uri": "s3://bucket/a/b.zip"}});
        let object = artifact(input.as_object().unwrap());
        assert_eq!(object.as_deref(), Some("arn:aws:s3:::bucket/a/b.zip"));
    }

    /// A role or a connector that is not in the lists above would be handed on without a policy that allows it.
    #[test]
    fn every_member_that_names_a_role_or_a_connector_is_held_against_policies() {
        for operation in Operation::all() {
            for member in operation.model().input {
                let is_role = member.name.contains("Role");
                let is_connector = member.name.contains("NetworkConnectors");
                let name = &member.name;
                assert!(!is_role || ROLES.contains(name), "{name}");
                assert!(!is_connector || CONNECTORS.contains(name), "{name}");
            }
        }
    }
}
