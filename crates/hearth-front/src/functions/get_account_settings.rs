//! `GetAccountSettings`: limits of the account in this region, and what it has.

use super::shape::signed;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{
    AccountLimit, AccountUsage, GetAccountSettingsInput, GetAccountSettingsOutput,
};

pub(super) async fn perform(
    context: &Context<'_>,
    _: GetAccountSettingsInput,
) -> Result<GetAccountSettingsOutput, Fault> {
    let usage = context
        .store(|store, owner| store.account_usage(owner))
        .await?;
    let limits = context.functions.store.limits();
    let unreserved = limits.concurrency.saturating_sub(usage.reserved);
    Ok(GetAccountSettingsOutput {
        account_limit: Some(AccountLimit {
            code_size_unzipped: Some(signed(limits.unzipped_bytes)),
            code_size_zipped: Some(signed(limits.zipped_bytes)),
            concurrent_executions: Some(limits.concurrency.into()),
            total_code_size: Some(signed(limits.code_storage_bytes)),
            unreserved_concurrent_executions: Some(unreserved.into()),
        }),
        account_usage: Some(AccountUsage {
            function_count: Some(signed(usage.functions)),
            total_code_size: Some(signed(usage.code_bytes)),
        }),
    })
}
