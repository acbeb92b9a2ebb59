//! `hearth account` and `hearth key`, as typed.

use clap::Subcommand;
use hearth_control::account::AccountName;
use hearth_control::id::{AccessKeyId, AccountId};

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Make an account. It sees nothing of the others; `hearth key create` makes its first key.
    Create {
        /// Its number: 12 digits; by default one that is free.
        #[arg(required_unless_present = "name")]
        account: Option<AccountId>,
        /// A name to know it by, which other commands take instead of the number.
        #[arg(long)]
        name: Option<AccountName>,
    },
    /// List accounts.
    #[command(visible_alias = "list")]
    Ls,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and print it. The secret is shown this once.
    Create {
        /// The account that it signs for: its number or its name.
        account: String,
    },
    /// List the keys of an account, or of all.
    #[command(visible_alias = "list")]
    Ls {
        /// The account: its number or its name.
        account: Option<String>,
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
    #[command(visible_alias = "rm")]
    Delete {
        /// The key's id.
        key: AccessKeyId,
    },
}
