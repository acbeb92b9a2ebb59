//! Whether the policies of a caller's role allow an operation, on the resource that AWS holds it against: the image, also for
//! operations on microVMs (facts section 12).
//!
//! A role that could hand on a stronger one, or open a way that it must not open, could do everything. Therefore roles and
//! connectors that a request names need `iam:PassRole` and `lambda:PassNetworkConnector` as well.

use serde_json::Value;

use super::Context;
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
        let action = format!("lambda:{}", self.operation.name);
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
        let Some(id) = input.get("microvmIdentifier").and_then(Value::as_str) else {
            return match (
                self.operation.name,
                input.get("name").and_then(Value::as_str),
            ) {
                ("CreateMicrovmImage", Some(name)) => {
                    let scope = self.scope();
                    format!(
                        "arn:aws:lambda:{}:{}:microvm-image:{name}",
                        scope.region, scope.account
                    )
                }
                _ => self.resource.clone(),
            };
        };
        let Ok(id) = id.parse() else {
            return "*".to_owned();
        };
        // Of one that is not there only who may ask about all learns it.
        let microvm = self.control.microvm(self.scope(), id).await;
        microvm.map_or_else(|_| "*".to_owned(), |microvm| microvm.image.to_string())
    }
}

fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str)
}
