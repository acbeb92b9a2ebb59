//! Accounts, access keys, disks and metrics: `/hearth/v1/accounts...`, `/hearth/v1/keys...`, `/hearth/v1/disk-usage`
//! and `/hearth/v1/metrics`, one file per operation.
//!
//! These operations are for the operator: only keys of the first account, which exists from the first start on, may
//! call them. A secret is shown once, in the answer that creates it.

mod address;
mod create_access_key;
mod create_account;
mod delete_access_key;
mod get_disk_usage;
mod get_metrics;
mod list_access_keys;
mod list_accounts;
mod shape;
mod update_access_key;

use std::sync::Arc;

use hearth_control::id::{AccessKeyId, AccountId};
use hearth_control::throttle::Rate;
use hearth_control::{Control, ControlError, Refusal};

use crate::call::Call;
use crate::disks::Disks;
use crate::fault::Fault;
use crate::lambda::refusal;
use crate::metrics_page::MetricsPage;
use crate::sigv4::access_key_hint;
use crate::wire::json::{Family, rest_fault};
use crate::wire::{Label, Reply, gateway_not_found};
use address::Operation;
#[cfg(test)]
pub(crate) use address::ROUTES;

/// One call of one operation.
struct Context<'a> {
    control: &'a Control,
    disks: &'a dyn Disks,
    page: &'a Arc<MetricsPage>,
    /// The name in the path: an account number or an access key id.
    name: &'a str,
    call: &'a Call,
}

/// Answers one request.
pub(crate) async fn answer(
    control: &Control,
    disks: &dyn Disks,
    page: &Arc<MetricsPage>,
    call: &Call,
) -> Reply {
    let found = address::find(call.head.method.as_str(), call.head.uri.path());
    let Some((operation, name)) = found else {
        return gateway_not_found();
    };
    let context = Context {
        control,
        disks,
        page,
        name,
        call,
    };
    let mut reply = match context.perform(operation).await {
        Ok(reply) => reply,
        Err(fault) => rest_fault(Family::Microvms, &fault),
    };
    Label::of(&mut reply).operation = Some(operation.name());
    reply
}

impl Context<'_> {
    async fn perform(&self, operation: Operation) -> Result<Reply, Fault> {
        let account = self.call.caller.scope.account;
        let rate = if operation.is_read() {
            Rate::OtherRead
        } else {
            Rate::OtherWrite
        };
        let taken = self.control.throttle(account, rate);
        taken.map_err(|refusal| fault(refusal.into()))?;
        if account != AccountId::FIRST {
            let text = format!("Only keys of account {} may do this.", AccountId::FIRST);
            return Err(Fault::new(403, "AccessDeniedException", text));
        }
        match operation {
            Operation::ListAccounts => list_accounts::perform(self).await,
            Operation::CreateAccount => create_account::perform(self).await,
            Operation::ListAccessKeys => list_access_keys::perform(self).await,
            Operation::CreateAccessKey => create_access_key::perform(self).await,
            Operation::UpdateAccessKey => update_access_key::perform(self).await,
            Operation::GetDiskUsage => get_disk_usage::perform(self).await,
            Operation::GetMetrics => Ok(get_metrics::perform(self).await),
            Operation::DeleteAccessKey => delete_access_key::perform(self).await,
        }
    }

    /// The account in the path.
    fn account(&self) -> Result<AccountId, Fault> {
        let found = self.name.parse();
        found.map_err(|_| not_found(format!("Account not found: {}", self.name)))
    }

    /// The key in the path. The key that signed the request is refused, so that nobody locks themselves out.
    fn other_key(&self) -> Result<AccessKeyId, Fault> {
        let key = self.name.parse().map_err(|_| self.no_key())?;
        let own = access_key_hint(&self.call.head);
        if own.is_some_and(|(own, _)| own == self.name) {
            let text = format!(
                "{} signed this request; use another key to change it.",
                self.name
            );
            return Err(Fault::new(409, "ConflictException", text));
        }
        Ok(key)
    }

    fn no_key(&self) -> Fault {
        not_found(format!("Access key not found: {}", self.name))
    }
}

fn not_found(text: String) -> Fault {
    Fault::new(404, "ResourceNotFoundException", text)
}

/// A refusal of the control plane as an error answer.
fn fault(error: ControlError) -> Fault {
    let ControlError::Refused(refused) = error else {
        return refusal::outside_lambda(error);
    };
    match refused {
        Refusal::AccountNotFound(id) => not_found(format!("Account not found: {id}")),
        Refusal::AccountExists(id) => {
            let text = format!("Account {id} exists already.");
            Fault::new(409, "ConflictException", text)
        }
        Refusal::AccessKeyNotFound => not_found("Access key not found".to_owned()),
        Refusal::AccessKeyQuota { max } => {
            let text = format!("The account has {max} access keys, as many as it may.");
            Fault::new(402, "ServiceQuotaExceededException", text)
        }
        other => refusal::outside_lambda(other.into()),
    }
}
