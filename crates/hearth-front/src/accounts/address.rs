//! The operations on accounts, by method and path.

/// The prefix of every path.
const PREFIX: &str = "/hearth/v1/";

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    ListAccounts,
    CreateAccount,
    ListAccessKeys,
    CreateAccessKey,
    UpdateAccessKey,
    DeleteAccessKey,
    GetDiskUsage,
    GetMetrics,
}

/// Method, path after the prefix, operation. `{id}` stands for a name.
pub(crate) const ROUTES: [(&str, &str, Operation); 8] = [
    ("GET", "accounts", Operation::ListAccounts),
    ("POST", "accounts", Operation::CreateAccount),
    ("GET", "accounts/{id}/keys", Operation::ListAccessKeys),
    ("POST", "accounts/{id}/keys", Operation::CreateAccessKey),
    ("PUT", "keys/{id}", Operation::UpdateAccessKey),
    ("DELETE", "keys/{id}", Operation::DeleteAccessKey),
    ("GET", "disk-usage", Operation::GetDiskUsage),
    ("GET", "metrics", Operation::GetMetrics),
];

impl Operation {
    /// The name of the operation in metrics and the audit log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ListAccounts => "ListAccounts",
            Self::CreateAccount => "CreateAccount",
            Self::ListAccessKeys => "ListAccountAccessKeys",
            Self::CreateAccessKey => "CreateAccountAccessKey",
            Self::UpdateAccessKey => "UpdateAccountAccessKey",
            Self::DeleteAccessKey => "DeleteAccountAccessKey",
            Self::GetDiskUsage => "GetDiskUsage",
            Self::GetMetrics => "GetMetrics",
        }
    }

    /// Whether the operation changes nothing.
    pub(super) fn is_read(self) -> bool {
        matches!(
            self,
            Self::ListAccounts | Self::ListAccessKeys | Self::GetDiskUsage | Self::GetMetrics
        )
    }
}

/// The operation, and the name in the path (empty where there is none). Names need no escapes.
pub(super) fn find<'p>(method: &str, path: &'p str) -> Option<(Operation, &'p str)> {
    let path = path.strip_prefix(PREFIX)?;
    ROUTES.iter().find_map(|(known, template, operation)| {
        let name = match template.split_once("{id}") {
            None => (path == *template).then_some("")?,
            Some((before, after)) => path.strip_prefix(before)?.strip_suffix(after)?,
        };
        let is_found = *known == method && !name.contains('/');
        is_found.then_some((*operation, name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_matched_as_a_whole() {
        assert_eq!(
            find("GET", "/hearth/v1/accounts"),
            Some((Operation::ListAccounts, ""))
        );
        assert_eq!(
            find("POST", "/hearth/v1/accounts/1/keys"),
            Some((Operation::CreateAccessKey, "1"))
        );
        assert_eq!(
            find("DELETE", "/hearth/v1/keys/K"),
            Some((Operation::DeleteAccessKey, "K"))
        );
        for path in [
            "/hearth/v1/accounts/",
            "/hearth/v1/accounts/1/2/keys",
            "/hearth/v1/keys",
            "/hearth/v1/keys/a/b",
        ] {
            assert_eq!(find("PUT", path).or(find("GET", path)), None, "{path}");
        }
    }
}
