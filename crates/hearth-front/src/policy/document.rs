//! Policy documents, parsed from JSON. Strict: a document with a member that is not understood is refused.

use serde_json::{Map, Value};

use super::Truth;
use super::condition::{self, Condition};
use super::parse::{ParseError, texts};
use super::pattern::{Letters, Pattern};

/// The kind of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DocumentKind {
    /// Says what its owner may do: names resources and no principals.
    Identity,
    /// Says who may assume a role: names principals and no resources.
    Trust,
}

/// A policy document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    statements: Vec<Statement>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) effect: Effect,
    pub(super) actions: Choice,
    pub(super) resources: Option<Choice>,
    pub(super) principals: Option<Choice>,
    pub(super) conditions: Vec<Condition>,
}

/// Texts that are covered, or all but those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    Of(Vec<Pattern>),
    AllBut(Vec<Pattern>),
}

impl Choice {
    /// Whether the choice covers a thing with these spellings.
    pub(super) fn covers(&self, texts: &[&str]) -> Truth {
        let any = |patterns: &[Pattern]| {
            let pairs = patterns
                .iter()
                .flat_map(|pattern| texts.iter().map(|text| pattern.matches(text)));
            pairs.fold(Truth::No, Truth::or)
        };
        match self {
            Self::Of(patterns) => any(patterns),
            Self::AllBut(patterns) => any(patterns).not(),
        }
    }
}

impl Document {
    /// Parses a document.
    ///
    /// # Errors
    ///
    /// [`ParseError`], which says what is wrong with the document.
    pub(crate) fn parse(text: &str, kind: DocumentKind) -> Result<Self, ParseError> {
        let value: Value = serde_json::from_str(text).map_err(|_| ParseError::NO_JSON)?;
        let members = value
            .as_object()
            .ok_or(ParseError("a policy is a JSON object"))?;
        for (name, value) in members {
            match name.as_str() {
                "Statement" | "Id" => {}
                "Version" if value == "2012-10-17" || value == "2008-10-17" => {}
                _ => return Err(ParseError("a policy has Version, Id and Statement alone")),
            }
        }
        let statements = match members.get("Statement") {
            Some(Value::Array(statements)) => statements.as_slice(),
            Some(one @ Value::Object(_)) => std::slice::from_ref(one),
            _ => return Err(ParseError("a policy has a Statement")),
        };
        let statements: Result<_, _> = statements
            .iter()
            .map(|statement| Statement::parse(statement, kind))
            .collect();
        Ok(Self {
            statements: statements?,
        })
    }

    /// A document that allows these actions, and no others, on every resource.
    pub(crate) fn allowing(actions: &[&str]) -> Self {
        let patterns = |texts: &[&str], letters| {
            let patterns = texts.iter().map(|text| Pattern::new(text, letters));
            Choice::Of(patterns.collect())
        };
        Self {
            statements: vec![Statement {
                effect: Effect::Allow,
                actions: patterns(actions, Letters::AnyCase),
                resources: Some(patterns(&["*"], Letters::Exact)),
                principals: None,
                conditions: Vec::new(),
            }],
        }
    }

    pub(super) fn statements(&self) -> &[Statement] {
        &self.statements
    }
}

impl Statement {
    fn parse(value: &Value, kind: DocumentKind) -> Result<Self, ParseError> {
        let members = value
            .as_object()
            .ok_or(ParseError("a Statement is an object"))?;
        let known = |name: &str| match name {
            "Sid" | "Effect" | "Action" | "NotAction" | "Condition" => true,
            "Resource" | "NotResource" => kind == DocumentKind::Identity,
            "Principal" => kind == DocumentKind::Trust,
            _ => false,
        };
        if kind == DocumentKind::Trust && members.contains_key("Resource") {
            return Err(ParseError::RESOURCE_IN_TRUST);
        }
        if !members.keys().all(|name| known(name)) {
            return Err(ParseError(
                "a Statement has a member that does not belong there",
            ));
        }
        let effect = match members.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            _ => return Err(ParseError("Effect is Allow or Deny")),
        };
        Ok(Self {
            effect,
            actions: choice(members, "Action", "NotAction", Letters::AnyCase)?,
            resources: match kind {
                DocumentKind::Identity => {
                    Some(choice(members, "Resource", "NotResource", Letters::Exact)?)
                }
                DocumentKind::Trust => None,
            },
            principals: match kind {
                DocumentKind::Identity => None,
                DocumentKind::Trust => Some(principals(members.get("Principal"), effect)?),
            },
            conditions: match members.get("Condition") {
                None => Vec::new(),
                Some(value) => condition::parse(value)?,
            },
        })
    }
}

fn choice(
    members: &Map<String, Value>,
    name: &str,
    negated: &str,
    letters: Letters,
) -> Result<Choice, ParseError> {
    let patterns = |value: &Value| {
        let texts = texts(value).ok_or(ParseError("a text or a list of texts is wanted"))?;
        let patterns = texts.iter().map(|text| Pattern::new(text, letters));
        Ok(patterns.collect())
    };
    match (members.get(name), members.get(negated)) {
        (Some(value), None) => patterns(value).map(Choice::Of),
        (None, Some(value)) => patterns(value).map(Choice::AllBut),
        _ => Err(ParseError(
            "a Statement has Action or NotAction, and Resource or NotResource",
        )),
    }
}

/// The services, accounts and roles that a statement names. Federations and others cannot ask here: they are no one.
fn principals(value: Option<&Value>, effect: Effect) -> Result<Choice, ParseError> {
    let malformed = ParseError("Principal is \"*\" or an object");
    let mut named = Vec::new();
    match value {
        Some(Value::String(all)) if all == "*" => named.push("*".to_owned()),
        Some(Value::Object(kinds)) => {
            for (kind, value) in kinds {
                let names = texts(value).ok_or(malformed)?;
                let names = names.iter().map(|name| match kind.as_str() {
                    "Service" => Ok(Some(format!("Service:{name}"))),
                    "AWS" => aws_principal(name, effect).map(Some),
                    _ => Ok(None),
                });
                let names: Result<Vec<_>, _> = names.collect();
                named.extend(names?.into_iter().flatten());
            }
        }
        _ => return Err(malformed),
    }
    let patterns = named.iter().map(|name| Pattern::new(name, Letters::Exact));
    Ok(Choice::Of(patterns.collect()))
}

/// An account, a role or a session as a principal. The number of an account means the account's root. "Everybody" is
/// whoever has keys when something is allowed, and services too when it is denied.
fn aws_principal(name: &str, effect: Effect) -> Result<String, ParseError> {
    let is_account = name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_digit());
    match name {
        "*" if effect == Effect::Deny => Ok("*".to_owned()),
        "*" => Ok("AWS:*".to_owned()),
        _ if is_account => Ok(format!("AWS:arn:aws:iam::{name}:root")),
        // Here AWS knows no other wildcard.
        _ if name.contains(['*', '?']) => Err(ParseError("Invalid principal in policy")),
        _ => Ok(format!("AWS:{name}")),
    }
}
