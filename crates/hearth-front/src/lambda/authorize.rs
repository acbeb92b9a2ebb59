//! Whether the policies of a caller's role allow an operation, on the resource that AWS holds it against: the image, also for
//! operations on microVMs (facts section 12).
//!
//! A role that could hand on a stronger one, or open a way that it must not open, could do everything. Therefore roles and
//! connectors that a request names need `iam:PassRole` and `lambda:PassNetworkConnector` as well.

use serde_json::Value;

use super::Context;
use super::operation::Subject;
use crate::fault::Fault;
use crate::identity::{Denied, Principal, RoleName};
use crate::model::Input;
use crate::policy::Facts;

/// Members that name roles which the service takes later.
const ROLES: &[&str] = &["buildRoleArn", "executionRoleArn", "OperatorRole"];

/// Members that name connectors.
const CONNECTORS: &[&str] = &["ingressNetworkConnectors", "egressNetworkConnectors"];

impl Context<'_> {
    /// # Errors
    ///
    /// AWS's words for what no policy allows.
    pub(super) async fn authorize(&self, input: &Input) -> Result<(), Fault> {
        self.refuse_foreign_role(input)?;
        let principal = &self.caller.principal;
        if matches!(principal, Principal::Account) {
            return Ok(());
        }
        let may = |action: &str, resource: String| {
            let allowed = principal.may(action, &[resource], &Facts::new());
            allowed.map_err(|denied: Denied| Fault::access_denied(denied.to_string()))
        };
        let action = format!("lambda:{}", self.operation.name());
        may(&action, self.resource_of(input).await)?;
        for role in ROLES
            .iter()
            .filter_map(|member| input.get(*member)?.as_str())
        {
            may("iam:PassRole", role.to_owned())?;
        }
        for connector in CONNECTORS
            .iter()
            .flat_map(|member| texts(input.get(*member)))
        {
            may("lambda:PassNetworkConnector", connector.to_owned())?;
        }
        Ok(())
    }

    /// Nobody gives a microVM the role of somebody else.
    fn refuse_foreign_role(&self, input: &Input) -> Result<(), Fault> {
        let role = input.get("executionRoleArn").and_then(Value::as_str);
        let account = |role: &str| role.parse().map(|role: RoleName| role.account);
        match role.map(account) {
            None => Ok(()),
            Some(Ok(account)) if account == self.scope().account => Ok(()),
            Some(_) => Err(Fault::access_denied(
                "Cross-account pass role is not allowed.",
            )),
        }
    }

    async fn resource_of(&self, input: &Input) -> String {
        let text = |member: &str| input.get(member).and_then(Value::as_str);
        match self.operation.subject() {
            Subject::All | Subject::Named(_) => self.resource.clone(),
            Subject::NewImage => {
                let scope = self.scope();
                let name = text("name").unwrap_or_default();
                format!(
                    "arn:aws:lambda:{}:{}:microvm-image:{name}",
                    scope.region, scope.account
                )
            }
            Subject::Microvm => self.image_of(text("microvmIdentifier")).await,
        }
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

fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::super::operation::Operation;
    use super::*;

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
