//! The query protocol of STS and IAM: parameters of a form in, XML out.

use serde_json::{Value, json};

use super::xml::Xml;
use super::{Label, Reply, add_retry_after, reply};
use crate::fault::Fault;
use crate::model::{Input, List, Member, Mismatch, Shape, check};
use crate::uri::decode;

const CONTENT_TYPE: &str = "text/xml";

/// Most parameters of a form: the longest list of an accepted operation has 50 tags.
const MAX_PARAMETERS: usize = 512;

/// The parameters of a query request.
#[derive(Debug, Default)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Parses `application/x-www-form-urlencoded`, where `+` is a blank.
    pub(crate) fn parse(form: &str) -> Option<Self> {
        let mut pairs = Vec::new();
        for pair in form.split('&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == MAX_PARAMETERS {
                return None;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((
                decode(&name.replace('+', " "))?,
                decode(&value.replace('+', " "))?,
            ));
        }
        Some(Self(pairs))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Refuses parameters that Hearth does not take, and without which the operation would do something else.
    pub(crate) fn refuse(&self, names: &[&str]) -> Result<(), Fault> {
        let given = |name: &&&str| {
            let mut pairs = self.0.iter();
            pairs.any(|(key, value)| key.split('.').next() == Some(**name) && !value.is_empty())
        };
        match names.iter().find(given) {
            None => Ok(()),
            Some(name) => Err(invalid(format!(
                "Hearth does not support {name}. Send the request without it."
            ))),
        }
    }

    /// The checked members of an input.
    pub(crate) fn checked_input(&self, members: &'static [Member]) -> Result<Input, Fault> {
        let input = self.members("", members)?;
        check(members, &input).map_err(|mismatch| match mismatch {
            Mismatch::Constraints(message) => invalid(message),
            Mismatch::Type | Mismatch::Union => invalid("The request cannot be read.".to_owned()),
        })?;
        Ok(input)
    }

    fn members(&self, prefix: &str, members: &'static [Member]) -> Result<Input, Fault> {
        let mut input = Input::new();
        for member in members {
            let name = format!("{prefix}{}", member.name);
            if let Some(value) = self.value(&name, member.shape)? {
                input.insert(member.name.to_owned(), value);
            }
        }
        Ok(input)
    }

    /// The value of a member: `Name`, `Name.member.1` and so on of a list, `Name.Member` of a structure.
    fn value(&self, name: &str, shape: &'static Shape) -> Result<Option<Value>, Fault> {
        let text = self.get(name);
        let value = match shape {
            Shape::List(list) => return self.list(name, list),
            Shape::Structure(structure) => {
                let members = self.members(&format!("{name}."), structure.members)?;
                return Ok((!members.is_empty()).then_some(Value::Object(members)));
            }
            Shape::Text(_) => return Ok(text.map(|text| json!(text))),
            Shape::Integer(_) => {
                text.map(|text| text.parse::<i64>().ok().map(|number| json!(number)))
            }
            Shape::Boolean => text.map(|text| text.parse::<bool>().ok().map(|is| json!(is))),
            // No supported operation has other members.
            Shape::Map(_) | Shape::Union(_) | Shape::Double(_) | Shape::Blob => text.map(|_| None),
        };
        match value {
            None => Ok(None),
            Some(Some(value)) => Ok(Some(value)),
            Some(None) => Err(invalid(format!("Invalid {name}"))),
        }
    }

    /// Clients send an empty list as an empty `Name`.
    fn list(&self, name: &str, list: &'static List) -> Result<Option<Value>, Fault> {
        let mut items = Vec::new();
        while let Some(item) =
            self.value(&format!("{name}.member.{}", items.len() + 1), list.item)?
        {
            items.push(item);
        }
        let is_given = !items.is_empty() || self.get(name).is_some();
        Ok(is_given.then_some(Value::Array(items)))
    }
}

fn invalid(message: String) -> Fault {
    Fault::new(400, "ValidationError", message)
}

/// `<ActionResponse><ActionResult>…</ActionResult><ResponseMetadata>…`.
pub(crate) fn result(
    action: &'static str,
    namespace: &'static str,
    request_id: &str,
    content: &Xml,
) -> Reply {
    let body = Xml::default().element_with(&format!("{action}Response"), namespace, |xml| {
        xml.element(&format!("{action}Result"), |xml| xml.append(content))
            .element("ResponseMetadata", |xml| xml.text("RequestId", request_id))
    });
    reply(200, CONTENT_TYPE, body.finish())
}

/// `<ErrorResponse><Error>…`.
pub(crate) fn fault(namespace: &'static str, request_id: &str, fault: &Fault) -> Reply {
    let side = if fault.status < 500 {
        "Sender"
    } else {
        "Receiver"
    };
    let body = Xml::default().element_with("ErrorResponse", namespace, |xml| {
        xml.element("Error", |xml| {
            xml.text("Type", side)
                .text("Code", fault.code)
                .text("Message", fault.message.as_deref().unwrap_or_default())
        })
        .text("RequestId", request_id)
    });
    let mut answer = reply(fault.status, CONTENT_TYPE, body.finish());
    Label::of(&mut answer).error = Some(fault.code);
    add_retry_after(&mut answer, fault);
    answer
}

/// The refusal of an action that the service does not have here.
pub(crate) fn unknown_action(parameters: &Parameters) -> Fault {
    let action: String = parameters
        .get("Action")
        .unwrap_or_default()
        .chars()
        .take(128)
        .collect();
    Fault::new(
        400,
        "InvalidAction",
        format!("Could not find operation {action} in this Hearth installation."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::iam::Operation;

    fn read(operation: Operation, form: &str) -> Result<Value, String> {
        let parameters = Parameters::parse(form).unwrap();
        let input = parameters.checked_input(operation.model().input);
        let input = input.map(Value::Object);
        input.map_err(|fault| fault.message.unwrap_or_default())
    }

    #[test]
    fn lists_and_structures_have_numbers_and_dots() {
        let form = "RoleName=r&Tags.member.1.Key=a&Tags.member.1.Value=&Tags.member.2.Value=c&Tags.member.2.Key=b";
        let tags = json!([{"Key": "a", "Value": ""}, {"Key": "b", "Value": "c"}]);
        let wanted = json!({"RoleName": "r", "Tags": tags});
        assert_eq!(read(Operation::TagRole, form), Ok(wanted));
        let form =
            "RoleName=r&TagKeys.member.1=a&TagKeys.member.2=b+c&TagKeys.member.4=not+reached";
        let wanted = json!({"RoleName": "r", "TagKeys": ["a", "b c"]});
        assert_eq!(read(Operation::UntagRole, form), Ok(wanted));
        let empty = json!({"RoleName": "r", "TagKeys": []});
        assert_eq!(read(Operation::UntagRole, "RoleName=r&TagKeys="), Ok(empty));
    }

    /// Recorded from AWS: tags are not repeated.
    #[test]
    fn refusals_name_the_place_and_no_tags() {
        let refused = |form: &str| read(Operation::TagRole, form).unwrap_err();
        let error = "1 validation error detected: Value";
        let long = format!(
            "RoleName=r&Tags.member.1.Value=v&Tags.member.1.Key={}",
            "k".repeat(129)
        );
        assert_eq!(
            refused(&long),
            format!(
                "{error} at 'tags.1.member.key' failed to satisfy constraint: Member must have length less than or equal to 128"
            )
        );
        let many: String = (1..=51)
            .map(|at| format!("&Tags.member.{at}.Key=k{at}&Tags.member.{at}.Value="))
            .collect();
        assert_eq!(
            refused(&format!("RoleName=r{many}")),
            format!(
                "{error} at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50"
            )
        );
        assert!(
            refused("RoleName=r&Tags.member.1.Key=a%26b&Tags.member.1.Value=")
                .contains(r"[\p{L}\p{Z}\p{N}_.:/=+\-@]+")
        );
        assert!(
            refused("RoleName=r&Tags.member.1.Key=a").contains("null at 'tags.1.member.value'")
        );
    }

    #[test]
    fn an_empty_text_is_a_text_and_an_empty_number_is_none() {
        let form = "RoleName=r&Description=";
        let wanted = json!({"RoleName": "r", "Description": ""});
        assert_eq!(read(Operation::UpdateRoleDescription, form), Ok(wanted));
        let form = "RoleName=r&MaxSessionDuration=";
        assert_eq!(
            read(Operation::UpdateRole, form),
            Err("Invalid MaxSessionDuration".to_owned())
        );
        let form = "OnlyAttached=yes";
        assert_eq!(
            read(Operation::ListPolicies, form),
            Err("Invalid OnlyAttached".to_owned())
        );
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        let parameters = Parameters::parse("A.member.1=x&B=&C=1").unwrap();
        let refused = |names: &[&str]| {
            parameters
                .refuse(names)
                .err()
                .and_then(|fault| fault.message)
        };
        assert!(refused(&["D", "A"]).unwrap().contains("support A."));
        assert!(refused(&["C"]).is_some());
        assert_eq!(refused(&["B", "D", "member"]), None);
    }
}
