//! `[quotas]`: quotas of all accounts, and of single accounts.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use hearth_control::id::AccountId;
use hearth_control::policy;
use serde::{Deserialize, Serialize};

/// Defines the tables from one list of keys: the table of all accounts has every key, the table of one account may have
/// it, and `hearth_control::policy::Quotas` must have it.
macro_rules! tables {
    ($($key:ident: $kind:ty,)*) => {
        /// The table `[quotas]`. The defaults and their reasons are documented at [`policy::Quotas`].
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct Quotas {
            $(pub(crate) $key: $kind,)*
            /// Quotas of single accounts, by the account's number.
            pub(crate) accounts: BTreeMap<String, AccountQuotas>,
        }

        /// The table of one account. A missing key has the value of all accounts.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct AccountQuotas {
            $(
                #[serde(skip_serializing_if = "Option::is_none")]
                pub(crate) $key: Option<$kind>,
            )*
        }

        impl Default for Quotas {
            fn default() -> Self {
                let policy::Quotas { $($key,)* } = policy::Quotas::default();
                Self { $($key,)* accounts: BTreeMap::new() }
            }
        }

        impl Quotas {
            /// Quotas of accounts without a table of their own.
            pub(crate) fn of_all(&self) -> policy::Quotas {
                policy::Quotas { $($key: self.$key,)* }
            }

            fn of(&self, account: &AccountQuotas) -> policy::Quotas {
                policy::Quotas { $($key: account.$key.unwrap_or(self.$key),)* }
            }
        }
    };
}

tables! {
    microvms: u32,
    memory_mib: u64,
    runs_per_second: u32,
    ended_microvms: u32,
    images: u32,
    versions_per_image: u32,
    concurrent_builds: u32,
    connectors: u32,
    versions_per_connector: u32,
    tags_per_resource: u32,
    access_keys: u32,
    roles: u32,
    policies_per_role: u32,
    requests_per_second: u32,
    request_burst: u32,
    object_mib: u64,
    log_mib: u64,
    log_events_per_second: u32,
    followers: u32,
}

impl Quotas {
    pub(super) fn problem(&self) -> Option<String> {
        if let Err(error) = self.of_accounts() {
            return Some(error.to_string());
        }
        let of_accounts = self.accounts.iter();
        let of_accounts =
            of_accounts.map(|(name, own)| (format!(".accounts.{name}"), self.of(own)));
        let mut all = [(String::new(), self.of_all())]
            .into_iter()
            .chain(of_accounts);
        all.find_map(|(table, quotas)| {
            let rates = [
                ("runs_per_second", quotas.runs_per_second),
                ("requests_per_second", quotas.requests_per_second),
                ("request_burst", quotas.request_burst),
                ("log_events_per_second", quotas.log_events_per_second),
            ];
            let (key, _) = rates.into_iter().find(|(_, rate)| *rate == 0)?;
            Some(format!(
                "quotas{table}.{key} = 0 shuts the account out; write 1 or more, or delete the account's keys"
            ))
        })
    }

    /// Quotas of accounts with a table of their own.
    pub(crate) fn of_accounts(&self) -> Result<BTreeMap<AccountId, policy::Quotas>> {
        let accounts = self.accounts.iter().map(|(name, own)| {
            let account = name.parse().map_err(|_| {
                anyhow!(
                    "quotas.accounts has \"{name}\", which is not an account's number of twelve digits"
                )
            })?;
            Ok((account, self.of(own)))
        });
        accounts.collect()
    }
}
