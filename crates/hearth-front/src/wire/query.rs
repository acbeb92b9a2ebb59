//! The query protocol of STS and IAM: parameters of a form in, XML out.

use serde_json::json;

use super::xml::Xml;
use super::{Label, Reply, add_retry_after, reply};
use crate::fault::Fault;
use crate::model::{Input, Member, Mismatch, Shape, check};
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

    /// The checked members of an input. An empty parameter counts as absent.
    pub(crate) fn checked_input(&self, members: &'static [Member]) -> Result<Input, Fault> {
        let mut input = Input::new();
        for member in members {
            let Some(text) = self.get(member.name).filter(|text| !text.is_empty()) else {
                continue;
            };
            let value = match member.shape {
                Shape::Integer(_) => text.parse().map(|number: i64| json!(number)).ok(),
                Shape::Text(_) => Some(json!(text)),
                // No supported operation has other members.
                _ => None,
            };
            let value = value.ok_or_else(|| invalid(format!("Invalid {}", member.name)))?;
            input.insert(member.name.to_owned(), value);
        }
        check(members, &input).map_err(|mismatch| match mismatch {
            Mismatch::Constraints(message) => invalid(message),
            Mismatch::Type | Mismatch::Union => invalid("The request cannot be read.".to_owned()),
        })?;
        Ok(input)
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
