//! The operations of both families, by method and path.
//!
//! Paths are matched as sent: a label is one segment, so an ARN with an unescaped slash matches nothing, just as at
//! the gateway of AWS (facts section 1).

use super::operation::Operation;
use crate::uri::decode;

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
}

pub(super) fn find(method: &str, path: &str) -> Option<Address> {
    let mut operations = Operation::all().filter(|operation| operation.model().method == method);
    let found = operations.find_map(|operation| {
        let labels = match_path(operation.model().path, path)?;
        Some(Address::Operation { operation, labels })
    });
    let runtime = || path.starts_with(RUNTIMES).then_some(Address::Runtime);
    found.or_else(runtime)
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

    fn found(method: &str, path: &str) -> Option<(&'static str, Vec<String>)> {
        match find(method, path)? {
            Address::Operation { operation, labels } => Some((
                operation.name(),
                labels.into_iter().map(|(_, value)| value).collect(),
            )),
            Address::Runtime => Some(("runtime", Vec::new())),
        }
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
        assert_eq!(found("GET", "/2015-03-31/functions"), None);
    }
}
