//! Which operation a method and a path mean.
//!
//! Paths are matched as they were sent: a label is one segment, so an ARN with a raw slash matches
//! nothing, just as AWS's gateway finds nothing (facts section 1).

use hearth_control::throttle::Rate;

use crate::model::{Operation, connector_operations, microvm_operations};
use crate::uri::decode;
use crate::wire::json::Family;

/// Paths of the runtimes, which Hearth does not have.
const RUNTIMES: &str = "/2026-10-01/runtimes";

/// What a path leads to.
pub(super) enum Address {
    Operation {
        family: Family,
        operation: &'static Operation,
        /// The decoded labels by name.
        labels: Vec<(&'static str, String)>,
    },
    Runtime,
}

pub(super) fn find(method: &str, path: &str) -> Option<Address> {
    let families = [
        (Family::Microvms, microvm_operations()),
        (Family::Core, connector_operations()),
    ];
    for (family, operations) in families {
        for operation in operations
            .iter()
            .filter(|operation| operation.method == method)
        {
            if let Some(labels) = match_path(operation.path, path) {
                return Some(Address::Operation {
                    family,
                    operation,
                    labels,
                });
            }
        }
    }
    path.starts_with(RUNTIMES).then_some(Address::Runtime)
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

/// The bucket that a call is taken from.
pub(super) fn rate(operation: &Operation) -> Rate {
    match operation.name {
        "RunMicrovm" => Rate::Run,
        "ResumeMicrovm" => Rate::Resume,
        "SuspendMicrovm" => Rate::Suspend,
        "TerminateMicrovm" => Rate::Terminate,
        "GetMicrovm" => Rate::Get,
        "CreateMicrovmAuthToken" => Rate::AuthToken,
        "CreateMicrovmShellAuthToken" => Rate::ShellToken,
        _ if operation.method == "GET" => Rate::OtherRead,
        _ => Rate::OtherWrite,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, path: &str) -> Option<(&'static str, Vec<String>)> {
        match find(method, path)? {
            Address::Operation {
                operation, labels, ..
            } => Some((
                operation.name,
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
