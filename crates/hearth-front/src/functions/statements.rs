//! Statements of resource policies as AWS words them (facts section 1.8).

use std::collections::BTreeMap;

use hearth_functions::{Policy, Statement};
use serde::Serialize;
use serde_json::{Value, json};

use super::names::invalid;
use crate::fault::Fault;

/// A statement. Its members are in the order in which AWS was recorded to send them.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Document {
    pub(super) sid: String,
    pub(super) effect: &'static str,
    pub(super) principal: Value,
    pub(super) action: String,
    pub(super) resource: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) condition: BTreeMap<&'static str, BTreeMap<&'static str, String>>,
}

impl Document {
    /// Adds a condition, if there is a value.
    pub(super) fn on(
        mut self,
        operator: &'static str,
        key: &'static str,
        value: Option<String>,
    ) -> Self {
        if let Some(value) = value {
            self.condition
                .entry(operator)
                .or_default()
                .insert(key, value);
        }
        self
    }

    /// As it is stored.
    pub(super) fn stored(self, accounts: Vec<String>) -> Result<Statement, Fault> {
        let document = serde_json::to_string(&self).map_err(|error| Fault::internal(&error))?;
        Ok(Statement {
            sid: self.sid,
            document,
            accounts,
        })
    }
}

/// A principal: a service, an account, a role or user of one, or everybody.
pub(super) fn principal(text: &str) -> Result<Value, Fault> {
    let is_account = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if text == "*" {
        Ok(json!("*"))
    } else if is_account {
        Ok(json!({"AWS": format!("arn:aws:iam::{text}:root")}))
    } else if text.starts_with("arn:aws:iam::") {
        Ok(json!({"AWS": text}))
    } else if text.ends_with(".amazonaws.com") {
        Ok(json!({"Service": text}))
    } else {
        Err(invalid(
            "The provided principal was invalid. Please check the principal and try again.",
        ))
    }
}

/// A policy as a document.
pub(super) fn document(policy: &Policy) -> String {
    let statements = policy.statements.iter();
    let statements: Vec<&str> = statements.map(|own| own.document.as_str()).collect();
    format!(
        r#"{{"Version":"2012-10-17","Id":"default","Statement":[{}]}}"#,
        statements.join(",")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_written_in_the_order_of_aws() {
        let document = Document {
            sid: "s".to_owned(),
            effect: "Allow",
            principal: principal("s3.amazonaws.com").unwrap(),
            action: "lambda:InvokeFunction".to_owned(),
            resource: "arn".to_owned(),
            condition: BTreeMap::new(),
        };
        let document = document
            .on(
                "ArnLike",
                "AWS:SourceArn",
                Some("arn:aws:s3:::b".to_owned()),
            )
            .on("StringEquals", "AWS:SourceAccount", None);
        assert_eq!(
            document.stored(Vec::new()).unwrap().document,
            r#"{"Sid":"s","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"lambda:InvokeFunction","Resource":"arn","Condition":{"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::b"}}}"#
        );
    }

    #[test]
    fn principals_are_services_accounts_and_everybody() {
        let root = json!({"AWS": "arn:aws:iam::000000000001:root"});
        assert_eq!(principal("000000000001").unwrap(), root);
        assert_eq!(principal("arn:aws:iam::000000000001:root").unwrap(), root);
        assert_eq!(principal("*").unwrap(), json!("*"));
        assert!(principal("nobody").is_err());
    }
}
