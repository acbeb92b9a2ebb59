//! The operations of all families, by method and path.
//!
//! Paths are matched as sent: a label is one segment, so an ARN with an unescaped slash matches nothing, just as at
//! the gateway of AWS (facts section 1).

use super::operation::Operation;
use crate::model::{OperationModel, lambda};
use crate::uri::decode;
use crate::wire::json::Family;

/// The path prefix of runtimes, which Hearth does not have.
const RUNTIMES: &str = "/2026-10-01/runtimes";

/// What a path names.
pub(super) enum Address {
    Operation {
        operation: Operation,
        /// The decoded labels, by name.
        labels: Vec<(&'static str, String)>,
    },
    Runtime,
    /// An operation on functions that is refused by name.
    Refused(&'static OperationModel),
}

/// Finds what a request addresses. `query` is a part of some addresses of functions.
pub(super) fn find(method: &str, path: &str, query: Option<&str>) -> Option<Address> {
    let find = |is_of_functions: bool| {
        let found = Operation::all().filter_map(|operation| {
            let model = operation.model();
            let is_wanted = (operation.family() == Family::Functions) == is_of_functions;
            if !is_wanted || model.method != method {
                return None;
            }
            let labels = match is_of_functions {
                true => match_function_path(model.path, path, query)?,
                false => match_path(model.path, path)?,
            };
            Some((operation, labels))
        });
        // The address with more of the query is the one that is meant.
        found.max_by_key(|(operation, _)| operation.model().path.contains('?'))
    };
    let is_of_functions = |labels: &[(&str, String)]| {
        let mut labels = labels.iter();
        labels.any(|(label, value)| *label == "Resource" && is_functions_own(value))
    };
    let found = match find(false) {
        // Tags of both families have the same addresses.
        Some((_, labels)) if is_of_functions(&labels) => find(true),
        None => find(true),
        found => found,
    };
    if let Some((operation, labels)) = found {
        return Some(Address::Operation { operation, labels });
    }
    if path.starts_with(RUNTIMES) {
        return Some(Address::Runtime);
    }
    let mut refused = lambda::refused().iter();
    let refused = refused.find(|model| {
        model.method == method && match_function_path(model.path, path, query).is_some()
    });
    refused.map(Address::Refused)
}

/// Whether an ARN names a resource of functions.
fn is_functions_own(arn: &str) -> bool {
    let kind = arn.split(':').nth(5);
    kind.is_some_and(|kind| {
        [
            "function",
            "event-source-mapping",
            "code-signing-config",
            "capacity-provider",
        ]
        .contains(&kind)
    })
}

/// Paths of functions may end with a slash, as old clients send them, and some have a query.
fn match_function_path(
    template: &'static str,
    path: &str,
    query: Option<&str>,
) -> Option<Vec<(&'static str, String)>> {
    let (template, wanted) = match template.split_once('?') {
        Some((template, wanted)) => (template, Some(wanted)),
        None => (template, None),
    };
    let has_it =
        |wanted: &str| query.is_some_and(|query| query.split('&').any(|own| own == wanted));
    if !wanted.is_none_or(has_it) {
        return None;
    }
    match_path(template, path.strip_suffix('/').unwrap_or(path))
}

fn match_path(template: &'static str, path: &str) -> Option<Vec<(&'static str, String)>> {
    let mut labels = Vec::new();
    let mut segments = path.split('/');
    for wanted in template.split('/') {
        let segment = segments.next()?;
        match wanted
            .strip_prefix('{')
            .and_then(|label| label.strip_suffix('}'))
        {
            Some(label) => labels.push((label, decode(segment).filter(|value| !value.is_empty())?)),
            None if wanted == segment => {}
            None => return None,
        }
    }
    segments.next().is_none().then_some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, address: &str) -> Option<(&'static str, Vec<String>)> {
        let (path, query) = match address.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (address, None),
        };
        match find(method, path, query)? {
            Address::Operation { operation, labels } => Some((
                operation.name(),
                labels.into_iter().map(|(_, value)| value).collect(),
            )),
            Address::Runtime => Some(("runtime", Vec::new())),
            Address::Refused(model) => Some((model.name, Vec::new())),
        }
    }

    fn name(method: &str, address: &str) -> Option<&'static str> {
        found(method, address).map(|found| found.0)
    }

    #[test]
    fn encoded_and_raw_colons_are_the_same() {
        let arn = "arn:aws:lambda:eu-1:000000000000:microvm-image:a".to_owned();
        let expected = Some(("GetMicrovmImage", vec![arn.clone()]));
        let encoded = arn.replace(':', "%3A");
        assert_eq!(
            found("GET", &format!("/2025-09-09/microvm-images/{arn}")),
            expected
        );
        assert_eq!(
            found("GET", &format!("/2025-09-09/microvm-images/{encoded}")),
            expected
        );
    }

    #[test]
    fn encoded_slashes_belong_to_the_label_and_raw_ones_do_not() {
        let image = "/2025-09-09/microvm-images/";
        assert_eq!(
            found("GET", &format!("{image}a%2Fb")),
            Some(("GetMicrovmImage", vec!["a/b".to_owned()]))
        );
        assert_eq!(found("GET", &format!("{image}a/b")), None);
        assert_eq!(found("GET", image), None);
    }

    #[test]
    fn tags_and_connectors_and_runtimes_have_their_own_prefixes() {
        assert_eq!(
            found("DELETE", "/2017-03-31/tags/x").map(|found| found.0),
            Some("UntagResource")
        );
        let versions = "/2026-04-04/network-connectors/x/versions";
        assert_eq!(
            found("GET", versions).map(|found| found.0),
            Some("ListNetworkConnectorVersions")
        );
        assert_eq!(
            found("POST", "/2026-10-01/runtimes").map(|found| found.0),
            Some("runtime")
        );
    }

    #[test]
    fn tags_are_of_the_family_that_the_arn_is_of() {
        let tags = "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3A";
        for (resource, is_of_functions) in [("microvm-image%3Aa", false), ("function%3Aa", true)] {
            let address = format!("{tags}{resource}");
            let found = find("GET", &address, None);
            let Some(Address::Operation { operation, .. }) = found else {
                panic!("{address}");
            };
            assert_eq!(operation.name(), "ListTags");
            assert_eq!(operation.family() == Family::Functions, is_of_functions);
        }
    }

    #[test]
    fn functions_have_slashes_and_queries_in_their_addresses() {
        assert_eq!(name("GET", "/2015-03-31/functions"), Some("ListFunctions"));
        assert_eq!(name("GET", "/2015-03-31/functions/"), Some("ListFunctions"));
        let name_of = found("GET", "/2015-03-31/functions/f:1");
        assert_eq!(name_of, Some(("GetFunction", vec!["f:1".to_owned()])));
        assert_eq!(
            name("GET", "/2018-10-31/layers?MaxItems=1"),
            Some("ListLayers")
        );
        let by_arn = "/2018-10-31/layers?Arn=a&find=LayerVersion";
        assert_eq!(name("GET", by_arn), Some("GetLayerVersionByArn"));
        let provisioned = "/2019-09-30/functions/f/provisioned-concurrency";
        let listed = format!("{provisioned}?List=ALL");
        assert_eq!(
            name("GET", &listed),
            Some("ListProvisionedConcurrencyConfigs")
        );
        assert_eq!(
            name("GET", provisioned),
            Some("GetProvisionedConcurrencyConfig")
        );
        assert_eq!(
            name("POST", "/2015-03-31/functions/f/invocations"),
            Some("Invoke")
        );
    }
}
