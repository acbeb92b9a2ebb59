//! Tokens of a microVM at those that began where it was.

use anyhow::Result;
use hearth_client::Client;
use serde_json::json;

use super::super::attempt::Attempt;
use super::super::endpoint::reach;
use super::super::fixture::Fixture;
use crate::microvm::wait::{Patience, Wish, wait};
use crate::view::text;

/// Reaches a fork with tokens of its parent: while the parent lives, and of a parent that has ended, which nobody can ask any more.
/// Control: the fork with a token of its own.
pub(super) async fn tokens_of_a_parent(fixture: &Fixture) -> Result<Attempt> {
    let tenant = &fixture.tenant;
    let mut forks = Vec::new();
    let tried = attempt(fixture, &mut forks).await;
    // Whatever happened, they go again.
    for fork in forks {
        let _ = tenant.terminate(&fork).await;
    }
    tried
}

async fn attempt(fixture: &Fixture, forks: &mut Vec<String>) -> Result<Attempt> {
    let tenant = &fixture.tenant;
    let parent = fork(tenant, &fixture.open.id, forks).await?;
    let token_of_parent = parent.token(tenant).await?;
    let child = fork(tenant, &parent.id, forks).await?;
    let mut attack = false;
    for token in [&fixture.open.token, &token_of_parent] {
        attack |= reach(tenant, &child.endpoint, token, None).await?;
    }
    tenant.terminate(&parent.id).await?;
    let patience = Patience::seconds(Patience::DEFAULT_SECONDS);
    wait(tenant, &parent.id, Wish::Terminated, patience).await?;
    attack |= reach(tenant, &child.endpoint, &token_of_parent, None).await?;
    let own = child.token(tenant).await?;
    Ok(Attempt {
        attack,
        control: reach(tenant, &child.endpoint, &own, None).await?,
    })
}

struct Fork {
    id: String,
    endpoint: String,
}

impl Fork {
    async fn token(&self, tenant: &Client) -> Result<String> {
        let token = tenant.auth_token(&self.id, Some(8080), 5).await?;
        Ok(text(&token["authToken"], "X-aws-proxy-auth").to_owned())
    }
}

async fn fork(tenant: &Client, parent: &str, forks: &mut Vec<String>) -> Result<Fork> {
    let made = tenant.fork(parent, &json!({})).await?;
    let id = text(&made, "microvmId").to_owned();
    forks.push(id.clone());
    let patience = Patience::seconds(Patience::DEFAULT_SECONDS);
    wait(tenant, &id, Wish::Launched, patience).await?;
    Ok(Fork {
        id,
        endpoint: text(&made, "endpoint").to_owned(),
    })
}
