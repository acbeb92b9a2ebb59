//! Turns the names that people type for microVMs and images into the ids and ARNs of the API.

use anyhow::Result;
use hearth_client::Client;
use serde_json::Value;

use crate::view::text;

/// Prefix of microVM ids; people may omit it.
const PREFIX: &str = "microvm-";

/// Characters of a whole id: the prefix and a UUID.
const ID_CHARACTERS: usize = 44;

/// A name that matches nothing, or more than one thing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum NameError {
    /// No microVM.
    #[error("no microVM's id begins with {0}")]
    NoMicrovm(String),
    /// More than one.
    #[error("{count} microVMs' ids begin with {typed}")]
    ManyMicrovms { typed: String, count: usize },
    /// No image.
    #[error("there is no image {0}")]
    NoImage(String),
    /// No account.
    #[error("there is no account {0}")]
    NoAccount(String),
    /// More than one: names of accounts need not differ.
    #[error("{} accounts are named {name}: {}", .numbers.len(), .numbers.join(", "))]
    ManyAccounts {
        /// The name.
        name: String,
        /// Their numbers.
        numbers: Vec<String>,
    },
}

/// The number of the only account with a name.
pub(crate) fn only_account(name: &str, numbers: &[String]) -> Result<String, NameError> {
    match numbers {
        [] => Err(NameError::NoAccount(name.to_owned())),
        [one] => Ok(one.clone()),
        many => Err(NameError::ManyAccounts {
            name: name.to_owned(),
            numbers: many.to_vec(),
        }),
    }
}

/// The id of a microVM by a prefix. A full id is not looked up: the operation that follows reports a wrong one.
pub(crate) async fn microvm(client: &Client, typed: &str) -> Result<String> {
    if typed.starts_with(PREFIX) && typed.len() == ID_CHARACTERS {
        return Ok(typed.to_owned());
    }
    Ok(choose(typed, &client.microvms(None).await?)?)
}

/// The only living microVM with this prefix, else the only one with it.
fn choose(typed: &str, microvms: &[Value]) -> Result<String, NameError> {
    let beginning = typed.strip_prefix(PREFIX).unwrap_or(typed);
    let has_beginning = |microvm: &&Value| {
        let id = text(microvm, "microvmId");
        !beginning.is_empty()
            && id
                .strip_prefix(PREFIX)
                .is_some_and(|rest| rest.starts_with(beginning))
    };
    let found: Vec<_> = microvms.iter().filter(has_beginning).collect();
    let lives = |microvm: &&&Value| text(microvm, "state") != "TERMINATED";
    let living: Vec<_> = found
        .iter()
        .copied()
        .filter(|microvm| lives(&microvm))
        .collect();
    match (living.as_slice(), found.as_slice()) {
        ([one], _) | ([], [one]) => Ok(text(one, "microvmId").to_owned()),
        ([], []) => Err(NameError::NoMicrovm(typed.to_owned())),
        ([], many) | (many, _) => Err(NameError::ManyMicrovms {
            typed: typed.to_owned(),
            count: many.len(),
        }),
    }
}

/// An image, perhaps with a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageName {
    pub(crate) arn: String,
    pub(crate) version: Option<String>,
}

/// The image that was typed: `NAME[:VERSION]` or `ARN[:VERSION]`.
pub(crate) async fn image(client: &Client, typed: &str) -> Result<ImageName> {
    let (name, version) = split_version(typed);
    let arn = if name.starts_with("arn:") {
        name.to_owned()
    } else {
        find_image(client, name)
            .await?
            .ok_or_else(|| NameError::NoImage(name.to_owned()))?
    };
    Ok(ImageName {
        arn,
        version: version.map(str::to_owned),
    })
}

/// The ARN of the image with that name, if there is one.
pub(crate) async fn find_image(client: &Client, name: &str) -> Result<Option<String>> {
    let images = client.images(Some(name)).await?;
    let found = images.iter().find(|image| text(image, "name") == name);
    Ok(found.map(|image| text(image, "imageArn").to_owned()))
}

/// Colons of an image's ARN: `arn:aws:lambda:REGION:ACCOUNT:microvm-image:NAME`.
const ARN_COLONS: usize = 6;

/// Splits a version from the name before it.
fn split_version(typed: &str) -> (&str, Option<&str>) {
    let colons = typed.bytes().filter(|byte| *byte == b':').count();
    let expected = if typed.starts_with("arn:") {
        ARN_COLONS
    } else {
        0
    };
    match typed.rsplit_once(':') {
        Some((name, version)) if colons > expected => (name, Some(version)),
        _ => (typed, None),
    }
}

/// The name in an image's ARN.
pub(crate) fn image_name(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or(arn)
}

/// The beginning of a microVM's id that tables show.
pub(crate) fn short(id: &str) -> &str {
    id.get(..PREFIX.len() + 8).unwrap_or(id)
}

/// The log group of an image's builds and microVMs.
pub(crate) fn log_group(image: &str) -> String {
    format!("/aws/lambda-microvms/{image}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn listed() -> Vec<Value> {
        let microvm = |id: &str, state: &str| json!({"microvmId": id, "state": state});
        vec![
            microvm("microvm-aa11", "RUNNING"),
            microvm("microvm-aa22", "TERMINATED"),
            microvm("microvm-bb11", "TERMINATED"),
            microvm("microvm-cc11", "RUNNING"),
            microvm("microvm-cc22", "SUSPENDED"),
        ]
    }

    #[test]
    fn a_beginning_is_enough() {
        let choose = |typed: &str| choose(typed, &listed());
        assert_eq!(choose("aa2").unwrap(), "microvm-aa22");
        // Two have it, one lives.
        assert_eq!(choose("microvm-aa").unwrap(), "microvm-aa11");
        assert_eq!(choose("b").unwrap(), "microvm-bb11");
        assert_eq!(
            choose("cc"),
            Err(NameError::ManyMicrovms {
                typed: "cc".to_owned(),
                count: 2
            })
        );
        for nothing in ["", "microvm-", "x"] {
            assert_eq!(
                choose(nothing),
                Err(NameError::NoMicrovm(nothing.to_owned()))
            );
        }
    }

    #[test]
    fn a_name_of_two_accounts_names_none() {
        let numbers = ["1".to_owned(), "2".to_owned()];
        assert_eq!(only_account("a", &numbers[..1]).unwrap(), "1");
        let missing = only_account("a", &[]).unwrap_err();
        assert_eq!(missing, NameError::NoAccount("a".to_owned()));
        let told = only_account("a", &numbers).unwrap_err().to_string();
        assert_eq!(told, "2 accounts are named a: 1, 2");
    }

    #[test]
    fn versions_follow_names_and_arns() {
        let arn = "arn:aws:lambda:us-east-1:000000000000:microvm-image:hello";
        assert_eq!(split_version("hello"), ("hello", None));
        assert_eq!(split_version("hello:2.0"), ("hello", Some("2.0")));
        assert_eq!(split_version(arn), (arn, None));
        assert_eq!(split_version(&format!("{arn}:3.0")), (arn, Some("3.0")));
        assert_eq!(image_name(arn), "hello");
    }
}
