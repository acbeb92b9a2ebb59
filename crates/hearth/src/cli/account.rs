//! `hearth account` and `hearth key`, as typed.

use clap::Subcommand;
use hearth_control::id::{AccessKeyId, AccountId};

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Make an account. It sees nothing of the others; `hearth key create` makes its first key.
    Create {
        /// Its number: 12 digits.
        account: AccountId,
    },
    /// List accounts.
    Ls,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and print it. The secret is shown this once.
    Create {
        /// The account that it signs for.
        account: AccountId,
    },
    /// List the keys of an account, or of all.
    Ls {
        /// The account.
        account: Option<AccountId>,
    },
    /// Refuse what a key signs, from the next request on.
    Disable {
        /// The key's id.
        key: AccessKeyId,
    },
    /// Accept a disabled key again.
    Enable {
        /// The key's id.
        key: AccessKeyId,
    },
    /// Remove a key for good.
    Delete {
        /// The key's id.
        key: AccessKeyId,
    },
}
