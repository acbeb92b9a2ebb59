//! Operations on managed policies of an account.
//!
//! As with roles, the changes of one account come one after the other (`control/roles.rs`).

use super::Control;
use super::accounts::random_text;
use super::roles::ID_LETTERS;
use crate::account::Role;
use crate::id::AccountId;
use crate::image::Tags;
use crate::managed_policy::{
    CreatePolicy, FoundPolicy, MAX_POLICIES, MAX_POLICY_VERSIONS, ManagedPolicy, PolicyArn,
    PolicyFilter, PolicyRefusal, PolicyVersion,
};
use crate::page::{Cursor, Page, PageRequest};
use crate::refusal::{ControlError, Refusal};
use crate::store::{Batch, Change, Guard, StoreError, Verdict};

/// The number of a policy's first version.
const FIRST_VERSION: u32 = 1;

impl Control {
    /// Creates a managed policy with its first version.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn create_policy(
        &self,
        request: CreatePolicy,
    ) -> Result<ManagedPolicy, ControlError> {
        let now = self.shared.clock.now();
        let account = request.arn.account;
        self.check_tags(account, &request.tags)?;
        let policy = ManagedPolicy {
            policy_id: format!("ANPA{}", random_text(ID_LETTERS, 17)),
            description: request.description,
            default_version: FIRST_VERSION,
            last_version: FIRST_VERSION,
            tags: request.tags,
            created_at: now,
            updated_at: now,
            arn: request.arn,
        };
        let version = PolicyVersion {
            number: FIRST_VERSION,
            document: request.document,
            created_at: now,
        };
        let batch = Batch::new()
            .guard(Guard::AccountPresent(account))
            .guard(Guard::PolicyNameFree(account, policy.arn.name.clone()))
            .guard(Guard::PoliciesBelow(account, MAX_POLICIES))
            .change(Change::PutPolicy(policy.clone()))
            .change(Change::AddPolicyVersion(policy.arn.clone(), version));
        match self.shared.commit(batch).await? {
            Verdict::Committed => Ok(policy),
            Verdict::Blocked(Guard::AccountPresent(_)) => {
                Err(Refusal::AccountNotFound(account).into())
            }
            Verdict::Blocked(Guard::PoliciesBelow(..)) => {
                Err(refused(&policy.arn, PolicyRefusal::Quota))
            }
            Verdict::Blocked(_) => Err(refused(&policy.arn, PolicyRefusal::Exists)),
        }
    }

    /// Returns one managed policy of the account.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn policy(
        &self,
        account: AccountId,
        arn: &PolicyArn,
    ) -> Result<FoundPolicy, ControlError> {
        if arn.account != account {
            return Err(refused(arn, PolicyRefusal::NotFound));
        }
        let found = self.shared.store.policy(arn).await?;
        found.ok_or_else(|| refused(arn, PolicyRefusal::NotFound))
    }

    /// Lists managed policies of the account, by name.
    ///
    /// # Errors
    ///
    /// A failure of the store.
    pub async fn policies(
        &self,
        account: AccountId,
        filter: &PolicyFilter,
        page: PageRequest,
    ) -> Result<Page<FoundPolicy>, ControlError> {
        let limit = page.bounded_limit();
        let after = page.after.as_ref().map(Cursor::key);
        let store = &self.shared.store;
        let found = store.policies(account, filter, after, limit + 1).await?;
        let cursor = |found: &FoundPolicy| Cursor::new(&found.policy.arn.name);
        Ok(Page::cut(found, limit, cursor))
    }

    /// Deletes a managed policy that no role has, and that has no version but the one in force.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn delete_policy(
        &self,
        account: AccountId,
        arn: &PolicyArn,
    ) -> Result<(), ControlError> {
        let batch = Batch::new()
            .guard(Guard::PolicyUnattached(arn.clone()))
            .guard(Guard::PolicyVersionsBelow(arn.clone(), 2))
            .change(Change::RemovePolicy(arn.clone()));
        match self.change_policy(account, arn, batch).await? {
            Verdict::Committed => Ok(()),
            Verdict::Blocked(Guard::PolicyUnattached(_)) => {
                Err(refused(arn, PolicyRefusal::Attached))
            }
            Verdict::Blocked(_) => Err(refused(arn, PolicyRefusal::HasVersions)),
        }
    }

    /// Adds a version to a managed policy, and puts it in force if asked to.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn create_policy_version(
        &self,
        account: AccountId,
        arn: &PolicyArn,
        document: String,
        in_force: bool,
    ) -> Result<PolicyVersion, ControlError> {
        let mut policy = self.policy(account, arn).await?.policy;
        let version = PolicyVersion {
            number: policy.last_version.saturating_add(1),
            document,
            created_at: self.shared.clock.now(),
        };
        policy.last_version = version.number;
        policy.updated_at = version.created_at;
        if in_force {
            policy.default_version = version.number;
        }
        let batch = Batch::new()
            .guard(Guard::PolicyVersionsBelow(arn.clone(), MAX_POLICY_VERSIONS))
            .change(Change::AddPolicyVersion(arn.clone(), version.clone()))
            .change(Change::PutPolicy(policy));
        match self.change_policy(account, arn, batch).await? {
            Verdict::Committed => Ok(version),
            Verdict::Blocked(_) => Err(refused(arn, PolicyRefusal::VersionQuota)),
        }
    }

    /// Lists the versions of a managed policy from new to old.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn policy_versions(
        &self,
        account: AccountId,
        arn: &PolicyArn,
    ) -> Result<Vec<PolicyVersion>, ControlError> {
        self.policy(account, arn).await?;
        Ok(self.shared.store.policy_versions(arn).await?)
    }

    /// Puts a version of a managed policy in force.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn set_default_policy_version(
        &self,
        account: AccountId,
        arn: &PolicyArn,
        number: u32,
    ) -> Result<(), ControlError> {
        let policy = ManagedPolicy {
            default_version: number,
            ..self.policy(account, arn).await?.policy
        };
        let batch = Batch::new()
            .guard(Guard::PolicyVersionPresent(arn.clone(), number))
            .change(Change::PutPolicy(policy));
        match self.change_policy(account, arn, batch).await? {
            Verdict::Committed => Ok(()),
            Verdict::Blocked(_) => Err(refused(arn, PolicyRefusal::VersionNotFound(number))),
        }
    }

    /// Deletes a version of a managed policy that is not in force.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn delete_policy_version(
        &self,
        account: AccountId,
        arn: &PolicyArn,
        number: u32,
    ) -> Result<(), ControlError> {
        if self.policy(account, arn).await?.policy.default_version == number {
            return Err(refused(arn, PolicyRefusal::DefaultVersion));
        }
        let removal = Change::RemovePolicyVersion(arn.clone(), number);
        let removed = self.change_policy(account, arn, Batch::new().change(removal));
        match removed.await {
            Err(ControlError::Store(StoreError::NothingToChange(_))) => {
                Err(refused(arn, PolicyRefusal::VersionNotFound(number)))
            }
            removed => removed.map(|_| ()),
        }
    }

    /// Adds tags to a managed policy. Replaces tags of the same key.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn tag_policy(
        &self,
        account: AccountId,
        arn: &PolicyArn,
        tags: Tags,
    ) -> Result<(), ControlError> {
        let mut policy = self.policy(account, arn).await?.policy;
        policy.tags.extend(tags);
        self.check_tags(account, &policy.tags)?;
        let batch = Batch::new().change(Change::PutPolicy(policy));
        self.change_policy(account, arn, batch).await.map(|_| ())
    }

    /// Removes tags from a managed policy. No-op for tags that it does not have.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn untag_policy(
        &self,
        account: AccountId,
        arn: &PolicyArn,
        keys: &[String],
    ) -> Result<(), ControlError> {
        let mut policy = self.policy(account, arn).await?.policy;
        policy.tags.retain(|key, _| !keys.contains(key));
        let batch = Batch::new().change(Change::PutPolicy(policy));
        self.change_policy(account, arn, batch).await.map(|_| ())
    }

    /// Lists the roles that a managed policy is attached to and whose path begins so, by name.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn policy_roles(
        &self,
        account: AccountId,
        arn: &PolicyArn,
        path_prefix: &str,
        page: PageRequest,
    ) -> Result<Page<Role>, ControlError> {
        self.policy(account, arn).await?;
        let limit = page.bounded_limit();
        let after = page.after.as_ref().map(Cursor::key);
        let found = self
            .shared
            .store
            .policy_roles(arn, path_prefix, after, limit + 1);
        let cursor = |role: &Role| Cursor::new(&role.name);
        Ok(Page::cut(found.await?, limit, cursor))
    }

    /// Commits a batch that changes an existing policy of the account.
    async fn change_policy(
        &self,
        account: AccountId,
        arn: &PolicyArn,
        mut batch: Batch,
    ) -> Result<Verdict, ControlError> {
        if arn.account != account {
            return Err(refused(arn, PolicyRefusal::NotFound));
        }
        batch.guards.insert(0, Guard::PolicyPresent(arn.clone()));
        match self.shared.commit(batch).await? {
            Verdict::Blocked(Guard::PolicyPresent(_)) => Err(refused(arn, PolicyRefusal::NotFound)),
            verdict => Ok(verdict),
        }
    }
}

fn refused(arn: &PolicyArn, why: PolicyRefusal) -> ControlError {
    let arn = arn.to_string();
    Refusal::ManagedPolicy { arn, why }.into()
}
