//! The managed policies of AWS that Hearth knows: those that roles of applications commonly have, as far as Hearth
//! has the services. Any other managed policy that is attached to a role is stored and gives no rights. The managed
//! policies of AWS contain no denials that could be missed.

use crate::policy::Document;

const PREFIX: &str = "arn:aws:iam::aws:policy/";

/// Policies by name, and the actions that they allow on every resource.
const KNOWN: &[(&str, &[&str])] = &[
    ("AdministratorAccess", &["*"]),
    ("AmazonS3FullAccess", &["s3:*"]),
    ("AmazonS3ReadOnlyAccess", &["s3:Get*", "s3:List*"]),
    ("CloudWatchLogsFullAccess", &["logs:*"]),
    (
        "CloudWatchLogsReadOnlyAccess",
        &[
            "logs:Describe*",
            "logs:Get*",
            "logs:List*",
            "logs:FilterLogEvents",
        ],
    ),
    (
        "service-role/AWSLambdaBasicExecutionRole",
        &[
            "logs:CreateLogGroup",
            "logs:CreateLogStream",
            "logs:PutLogEvents",
        ],
    ),
];

/// The document of a managed policy. `None` if Hearth does not know the policy.
pub(super) fn document(arn: &str) -> Option<Document> {
    let name = arn.strip_prefix(PREFIX)?;
    let (_, actions) = KNOWN.iter().find(|(known, _)| *known == name)?;
    Some(Document::allowing(actions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_and_unknown() {
        assert!(document("arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess").is_some());
        assert!(document("arn:aws:iam::aws:policy/PowerUserAccess").is_none());
        assert!(document("arn:aws:iam::000000000001:policy/AmazonS3ReadOnlyAccess").is_none());
    }
}
