//! Headers and parameters that ask for what is not here: refused by name, never taken in silence.

use http::HeaderMap;

use super::refusal::{Refused, refused};

/// Storage classes of S3. Objects keep the name; there is one kind of disk.
const STORAGE_CLASSES: &[&str] = &[
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "GLACIER_IR",
];

/// Headers with the values that say what holds anyway. Others of the same name ask for more than that.
const TAKEN: &[(&str, &[&str])] = &[
    // The owner is the account, and nobody else has anything to do with it.
    ("x-amz-acl", &["private", "bucket-owner-full-control"]),
    ("x-amz-object-ownership", &["BucketOwnerEnforced"]),
    // S3 says it of every object, whatever lies on the disk.
    ("x-amz-server-side-encryption", &["AES256"]),
    (
        "x-amz-server-side-encryption-bucket-key-enabled",
        &["false"],
    ),
    ("x-amz-bucket-object-lock-enabled", &["false"]),
];

/// What the names of headers begin with that nothing here answers to.
const NOT_HERE: &[&str] = &[
    "x-amz-grant-",
    "x-amz-server-side-encryption-",
    "x-amz-copy-source-server-side-encryption-",
    "x-amz-object-lock-",
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
    "x-amz-mfa",
];

/// The version of an object in a bucket that has none.
const ONLY_VERSION: &str = "null";

/// Judges the headers and the parameters of a request: presigned ones may have either in the query.
pub(super) fn judge_all(headers: &HeaderMap, pairs: &[(String, String)]) -> Result<(), Refused> {
    for (name, value) in headers {
        judge(name.as_str(), value.to_str().unwrap_or_default())?;
    }
    for (name, value) in pairs {
        judge(&name.to_ascii_lowercase(), value)?;
        if name == "versionId" && value != ONLY_VERSION {
            let text = "The specified version does not exist.";
            return Err(refused(404, "NoSuchVersion", text));
        }
    }
    Ok(())
}

/// Judges one header, or one field of a form, by its name in lower case.
pub(super) fn judge(name: &str, value: &str) -> Result<(), Refused> {
    if name == "x-amz-storage-class" && !STORAGE_CLASSES.contains(&value) {
        let text = "The storage class you specified is not valid";
        return Err(refused(400, "InvalidStorageClass", text));
    }
    let taken = TAKEN.iter().find(|(known, _)| *known == name);
    let is_taken = match taken {
        Some((_, values)) => values.contains(&value),
        None => !NOT_HERE.iter().any(|begin| name.starts_with(begin)),
    };
    if is_taken {
        return Ok(());
    }
    let text = match taken {
        Some((_, values)) => format!(
            "A header you provided implies functionality that is not implemented: {name}. Supported: {}.",
            values.join(", ")
        ),
        None => {
            format!("A header you provided implies functionality that is not implemented: {name}.")
        }
    };
    Err(refused(501, "NotImplemented", &text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_here_is_refused_by_name() {
        for (name, value, status) in [
            ("x-amz-acl", "private", 200),
            ("x-amz-acl", "public-read", 501),
            ("x-amz-grant-read", "id=1", 501),
            ("x-amz-server-side-encryption", "AES256", 200),
            ("x-amz-server-side-encryption", "aws:kms", 501),
            ("x-amz-server-side-encryption-aws-kms-key-id", "k", 501),
            (
                "x-amz-server-side-encryption-customer-algorithm",
                "AES256",
                501,
            ),
            (
                "x-amz-copy-source-server-side-encryption-customer-key",
                "k",
                501,
            ),
            ("x-amz-object-lock-mode", "GOVERNANCE", 501),
            ("x-amz-bucket-object-lock-enabled", "true", 501),
            ("x-amz-website-redirect-location", "/x", 501),
            ("x-amz-storage-class", "GLACIER", 200),
            ("x-amz-storage-class", "FAST", 400),
            ("x-amz-meta-acl", "public-read", 200),
            ("x-amz-content-sha256", "abc", 200),
        ] {
            let status_of = judge(name, value).map_or_else(|refused| refused.status, |()| 200);
            assert_eq!(status_of, status, "{name}: {value}");
        }
        let version = |value: &str| {
            let pairs = [("versionId".to_owned(), value.to_owned())];
            judge_all(&HeaderMap::new(), &pairs).is_ok()
        };
        assert!(version("null") && !version("3HL4kqtJlcpXroDTDmJ"));
    }
}
