//! Operations on accounts and their access keys. They are for the operator, not for the accounts.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Control;
use crate::account::{AccessKey, Account, CreateAccount, KeyStatus, SecretKey};
use crate::id::{AccessKeyId, AccountId, IdError};
use crate::refusal::{ControlError, Refusal};
use crate::store::{Batch, Change, Guard, Verdict};

/// The alphabet of access key ids: base 32.
const ID_LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// The alphabet of secret access keys: base 64.
const SECRET_LETTERS: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl Control {
    /// Creates an account.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn create_account(
        &self,
        request: impl Into<CreateAccount>,
    ) -> Result<Account, ControlError> {
        let CreateAccount { id, name } = request.into();
        let id = id.unwrap_or_else(random_number);
        let account = Account {
            id,
            created_at: self.shared.clock.now(),
        };
        let mut batch = Batch::new()
            .guard(Guard::AccountAbsent(id))
            .change(Change::AddAccount(account));
        if let Some(name) = name {
            batch = batch.change(Change::NameAccount(id, name));
        }
        match self.shared.commit(batch).await? {
            Verdict::Committed => {
                self.shared.ledger.add_accounts(1);
                Ok(account)
            }
            Verdict::Blocked(_) => Err(Refusal::AccountExists(id).into()),
        }
    }

    /// Lists all accounts.
    ///
    /// # Errors
    ///
    /// A failure of the store.
    pub async fn accounts(&self) -> Result<Vec<Account>, ControlError> {
        Ok(self.shared.store.accounts().await?)
    }

    /// Returns the names of the accounts that have one.
    ///
    /// # Errors
    ///
    /// A failure of the store.
    pub async fn account_names(&self) -> Result<BTreeMap<AccountId, String>, ControlError> {
        Ok(self.shared.store.account_names().await?)
    }

    /// Creates an access key for an account.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn create_access_key(&self, account: AccountId) -> Result<AccessKey, ControlError> {
        let key = self.new_access_key(account)?;
        let max = self.quotas(account).access_keys;
        let batch = Batch::new()
            .guard(Guard::AccountPresent(account))
            .guard(Guard::AccessKeysBelow(account, max))
            .change(Change::AddAccessKey(key.clone()));
        match self.shared.commit(batch).await? {
            Verdict::Committed => Ok(key),
            Verdict::Blocked(Guard::AccessKeysBelow(..)) => {
                Err(Refusal::AccessKeyQuota { max }.into())
            }
            Verdict::Blocked(_) => Err(Refusal::AccountNotFound(account).into()),
        }
    }

    /// Lists the access keys of an account.
    ///
    /// # Errors
    ///
    /// A failure of the store.
    pub async fn access_keys(&self, account: AccountId) -> Result<Vec<AccessKey>, ControlError> {
        Ok(self.shared.store.access_keys(account).await?)
    }

    /// Returns one access key, also a disabled one: the caller checks the status. `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// A failure of the store.
    pub async fn access_key(&self, id: &AccessKeyId) -> Result<Option<AccessKey>, ControlError> {
        Ok(self.shared.store.access_key(id).await?)
    }

    /// Enables or disables an access key.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn set_access_key_status(
        &self,
        id: &AccessKeyId,
        status: KeyStatus,
    ) -> Result<(), ControlError> {
        self.change_key(id, Change::SetAccessKey(id.clone(), status))
            .await
    }

    /// Deletes an access key.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn delete_access_key(&self, id: &AccessKeyId) -> Result<(), ControlError> {
        self.change_key(id, Change::RemoveAccessKey(id.clone()))
            .await
    }

    async fn change_key(&self, id: &AccessKeyId, change: Change) -> Result<(), ControlError> {
        let batch = Batch::new()
            .guard(Guard::AccessKeyPresent(id.clone()))
            .change(change);
        match self.shared.commit(batch).await? {
            Verdict::Committed => Ok(()),
            Verdict::Blocked(_) => Err(Refusal::AccessKeyNotFound.into()),
        }
    }

    /// Creates the first account with one access key, if there is no account yet.
    pub(super) async fn make_first_account(&self) -> Result<(), ControlError> {
        let account = Account {
            id: AccountId::FIRST,
            created_at: self.shared.clock.now(),
        };
        let key = self.new_access_key(account.id)?;
        let batch = Batch::new()
            .guard(Guard::NoAccounts)
            .change(Change::AddAccount(account))
            .change(Change::AddAccessKey(key));
        // Blocked means that accounts exist: this is not the first start.
        self.shared.commit(batch).await?;
        Ok(())
    }

    fn new_access_key(&self, account: AccountId) -> Result<AccessKey, ControlError> {
        // The forms of AWS: AKIA and 16 characters, and a secret of 40 characters (240 random bits).
        let id = format!("AKIA{}", random_text(ID_LETTERS, 16));
        let id = id.parse().map_err(|_: IdError| ControlError::Closed)?;
        Ok(AccessKey {
            id,
            secret: SecretKey::new(random_text(SECRET_LETTERS, 40)),
            account,
            status: KeyStatus::Active,
            created_at: self.shared.clock.now(),
        })
    }
}

/// A random account number. On a host with a million accounts one number in a million is taken, and is refused.
fn random_number() -> AccountId {
    const DIGITS: u64 = 1_000_000_000_000;
    let (number, _) = Uuid::new_v4().as_u64_pair();
    // Below the end of the range by the remainder.
    AccountId::from_number(number % DIGITS).unwrap_or(AccountId::FIRST)
}

/// Random text. The size of the alphabet is a power of two, so every letter is equally likely.
pub(super) fn random_text<const LETTERS: usize>(letters: &[u8; LETTERS], length: usize) -> String {
    const { assert!(LETTERS.is_power_of_two()) };
    // Each random UUID brings 122 bits of entropy of the system.
    let mut hasher = blake3::Hasher::new();
    for _ in 0..4 {
        hasher.update(Uuid::new_v4().as_bytes());
    }
    let mut bytes = vec![0; length];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
        .into_iter()
        .map(|byte| char::from(letters[usize::from(byte) % LETTERS]))
        .collect()
}
