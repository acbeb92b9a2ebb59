//! Operations of the operator: accounts and their keys (`docs/hearth-api.md`).

use hearth_sigv4::uri::encode;
use http::Method;
use serde_json::{Value, json};

use crate::client::{Call, Client};
use crate::error::ClientError;

const ACCOUNTS: &str = "/hearth/v1/accounts";
const KEYS: &str = "/hearth/v1/keys";

impl Client {
    /// Makes an account with this number, this name, or both.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; also if the account exists already.
    pub async fn create_account(
        &self,
        account: Option<&str>,
        name: Option<&str>,
    ) -> Result<Value, ClientError> {
        let call = Call::lambda("CreateAccount", Method::POST, ACCOUNTS.to_owned());
        let input = json!({ "accountId": account, "name": name });
        self.call(call.json(&input)).await
    }

    /// All accounts.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn accounts(&self) -> Result<Value, ClientError> {
        let call = Call::lambda("ListAccounts", Method::GET, ACCOUNTS.to_owned());
        self.call(call).await
    }

    /// Makes a key of an account. The answer is the only one with its secret.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn create_key(&self, account: &str) -> Result<Value, ClientError> {
        let call = Call::lambda("CreateAccessKey", Method::POST, keys_of(account));
        self.call(call).await
    }

    /// The keys of an account, without their secrets.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn keys(&self, account: &str) -> Result<Value, ClientError> {
        let call = Call::lambda("ListAccessKeys", Method::GET, keys_of(account));
        self.call(call).await
    }

    /// Disables a key (`Inactive`), or enables it again (`Active`).
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn set_key_status(&self, key: &str, status: &str) -> Result<Value, ClientError> {
        let call = Call::lambda("UpdateAccessKey", Method::PUT, key_path(key));
        self.call(call.json(&json!({ "status": status }))).await
    }

    /// Removes a key.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn delete_key(&self, key: &str) -> Result<Value, ClientError> {
        let call = Call::lambda("DeleteAccessKey", Method::DELETE, key_path(key));
        self.call(call).await
    }
}

fn keys_of(account: &str) -> String {
    format!("{ACCOUNTS}/{}/keys", encode(account))
}

fn key_path(key: &str) -> String {
    format!("{KEYS}/{}", encode(key))
}
