//! Operations on stored IAM roles.
//!
//! A role is read, changed and written as a whole. Its guards hold whatever happens meanwhile, but of two changes at
//! once one may be lost: whoever calls these methods makes the changes of one account one after the other.

use super::Control;
use super::accounts::random_text;
use crate::account::{CreateRole, Role, RolePolicy};
use crate::id::{AccountId, RoleName};
use crate::image::Tags;
use crate::managed_policy::{MAX_ATTACHED_POLICIES, PolicyArn, PolicyRefusal};
use crate::page::{Cursor, Page, PageRequest};
use crate::refusal::{ControlError, Refusal};
use crate::store::{Batch, Change, Guard, StoreError, Verdict};

/// The alphabet of role ids: base 32.
pub(super) const ID_LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The beginning of the ARNs of AWS's own managed policies.
const OF_AWS: &str = "arn:aws:iam::aws:policy/";

impl Control {
    /// Creates a role.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn create_role(
        &self,
        account: AccountId,
        request: CreateRole,
    ) -> Result<Role, ControlError> {
        let role = Role {
            account,
            name: request.name,
            path: request.path,
            role_id: format!("AROA{}", random_text(ID_LETTERS, 17)),
            description: request.description,
            trust_policy: request.trust_policy,
            max_session_s: request.max_session_s,
            tags: request.tags,
            created_at: self.shared.clock.now(),
        };
        self.check_tags(account, &role.tags)?;
        let max = self.quotas(account).roles;
        let batch = Batch::new()
            .guard(Guard::AccountPresent(account))
            .guard(Guard::RoleAbsent(account, role.name.clone()))
            .guard(Guard::RolesBelow(account, max))
            .change(Change::PutRole(role.clone()));
        match self.shared.commit(batch).await? {
            Verdict::Committed => Ok(role),
            Verdict::Blocked(Guard::AccountPresent(_)) => {
                Err(Refusal::AccountNotFound(account).into())
            }
            Verdict::Blocked(Guard::RolesBelow(..)) => Err(Refusal::RoleQuota { max }.into()),
            Verdict::Blocked(_) => Err(Refusal::RoleExists(role.name).into()),
        }
    }

    /// Returns one role.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn role(&self, account: AccountId, name: &RoleName) -> Result<Role, ControlError> {
        let role = self.shared.store.role(account, name).await?;
        role.ok_or_else(|| Refusal::RoleNotFound(name.clone()).into())
    }

    /// Lists the roles of an account whose path begins so, by name.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn roles(
        &self,
        account: AccountId,
        path_prefix: &str,
        page: PageRequest,
    ) -> Result<Page<Role>, ControlError> {
        let limit = page.bounded_limit();
        let after = page.after.as_ref().map(Cursor::key);
        let store = &self.shared.store;
        let found = store.roles(account, path_prefix, after, limit + 1).await?;
        Ok(Page::cut(found, limit, |role| Cursor::new(&role.name)))
    }

    /// Deletes a role that has no policies.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn delete_role(
        &self,
        account: AccountId,
        name: &RoleName,
    ) -> Result<(), ControlError> {
        let batch = Batch::new()
            .guard(Guard::RoleUnattached(account, name.clone()))
            .guard(Guard::RolePoliciesBelow(account, name.clone(), 1))
            .change(Change::RemoveRole(account, name.clone()));
        match self.change_role(account, name, batch).await? {
            Verdict::Committed => Ok(()),
            Verdict::Blocked(Guard::RoleUnattached(..)) => {
                Err(Refusal::RoleAttached(name.clone()).into())
            }
            Verdict::Blocked(_) => Err(Refusal::RoleNotEmpty(name.clone()).into()),
        }
    }

    /// Replaces the trust policy of a role.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn set_role_trust(
        &self,
        account: AccountId,
        name: &RoleName,
        trust_policy: String,
    ) -> Result<(), ControlError> {
        self.edit_role(account, name, |role| role.trust_policy = trust_policy)
            .await
            .map(|_| ())
    }

    /// Replaces the description of a role.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn set_role_description(
        &self,
        account: AccountId,
        name: &RoleName,
        description: Option<String>,
    ) -> Result<Role, ControlError> {
        self.edit_role(account, name, |role| role.description = description)
            .await
    }

    /// Replaces the longest session of a role.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn set_role_session(
        &self,
        account: AccountId,
        name: &RoleName,
        max_session_s: u32,
    ) -> Result<Role, ControlError> {
        self.edit_role(account, name, |role| role.max_session_s = max_session_s)
            .await
    }

    /// Adds tags to a role. Replaces tags of the same key, in whatever case.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn tag_role(
        &self,
        account: AccountId,
        name: &RoleName,
        tags: Tags,
    ) -> Result<(), ControlError> {
        let mut all = self.role(account, name).await?.tags;
        all.retain(|key, _| !tags.keys().any(|new| is_same_key(new, key)));
        all.extend(tags);
        self.check_tags(account, &all)?;
        let edited = self.edit_role(account, name, |role| role.tags = all);
        edited.await.map(|_| ())
    }

    /// Removes tags from a role, in whatever case. No-op for tags that it does not have.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn untag_role(
        &self,
        account: AccountId,
        name: &RoleName,
        keys: &[String],
    ) -> Result<(), ControlError> {
        let edited = self.edit_role(account, name, |role| {
            role.tags
                .retain(|key, _| !keys.iter().any(|gone| is_same_key(gone, key)));
        });
        edited.await.map(|_| ())
    }

    /// Writes an inline policy of a role. Replaces one of the same name.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn put_role_policy(
        &self,
        account: AccountId,
        name: &RoleName,
        policy: RolePolicy,
    ) -> Result<(), ControlError> {
        let change = Change::PutRolePolicy(account, name.clone(), policy);
        self.add_policy(account, name, change).await
    }

    /// Returns one inline policy of a role.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn role_policy(
        &self,
        account: AccountId,
        name: &RoleName,
        policy: &str,
    ) -> Result<RolePolicy, ControlError> {
        let policies = self.role_policies(account, name).await?;
        let found = policies.into_iter().find(|known| known.name == policy);
        found.ok_or_else(|| Refusal::RolePolicyNotFound(name.clone(), policy.to_owned()).into())
    }

    /// Lists the inline policies of a role, by name.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn role_policies(
        &self,
        account: AccountId,
        name: &RoleName,
    ) -> Result<Vec<RolePolicy>, ControlError> {
        self.role(account, name).await?;
        Ok(self.shared.store.role_policies(account, name).await?)
    }

    /// Deletes an inline policy of a role.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn delete_role_policy(
        &self,
        account: AccountId,
        name: &RoleName,
        policy: &str,
    ) -> Result<(), ControlError> {
        let removal = Change::RemoveRolePolicy(account, name.clone(), policy.to_owned());
        let absent = Refusal::RolePolicyNotFound(name.clone(), policy.to_owned());
        self.remove_policy(account, name, removal, absent).await
    }

    /// Attaches a managed policy to a role: one of the account, or one of AWS, of which only the ARN is stored. No-op if
    /// it is attached already.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn attach_role_policy(
        &self,
        account: AccountId,
        name: &RoleName,
        policy_arn: &str,
    ) -> Result<(), ControlError> {
        let refused = |why| {
            let arn = policy_arn.to_owned();
            Refusal::ManagedPolicy { arn, why }
        };
        let mut batch = Batch::new();
        if !policy_arn.starts_with(OF_AWS) {
            let arn = policy_arn.parse().ok();
            let own = arn.filter(|arn: &PolicyArn| arn.account == account);
            let own = own.ok_or_else(|| refused(PolicyRefusal::NotAttachable))?;
            batch = batch.guard(Guard::PolicyPresent(own));
        }
        let max = self
            .quotas(account)
            .policies_per_role
            .min(MAX_ATTACHED_POLICIES);
        let batch = batch
            .guard(Guard::AttachmentFits {
                account,
                role: name.clone(),
                policy_arn: policy_arn.to_owned(),
                max,
            })
            .change(Change::AttachRolePolicy(
                account,
                name.clone(),
                policy_arn.to_owned(),
            ));
        match self.change_role(account, name, batch).await? {
            Verdict::Committed => Ok(()),
            Verdict::Blocked(Guard::PolicyPresent(_)) => {
                Err(refused(PolicyRefusal::NotAttachable).into())
            }
            Verdict::Blocked(_) => Err(Refusal::RolePolicyQuota { max }.into()),
        }
    }

    /// Lists the ARNs of the managed policies attached to a role.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn attached_role_policies(
        &self,
        account: AccountId,
        name: &RoleName,
    ) -> Result<Vec<String>, ControlError> {
        self.role(account, name).await?;
        Ok(self.shared.store.role_attachments(account, name).await?)
    }

    /// Returns the documents in force of the account's own policies that are attached to a role.
    ///
    /// # Errors
    ///
    /// A failure of the store.
    pub async fn attached_documents(
        &self,
        account: AccountId,
        name: &RoleName,
    ) -> Result<Vec<String>, ControlError> {
        Ok(self.shared.store.attached_documents(account, name).await?)
    }

    /// Detaches a managed policy from a role.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn detach_role_policy(
        &self,
        account: AccountId,
        name: &RoleName,
        policy_arn: &str,
    ) -> Result<(), ControlError> {
        let arn = policy_arn.to_owned();
        let removal = Change::DetachRolePolicy(account, name.clone(), arn.clone());
        let why = PolicyRefusal::NotFound;
        let absent = Refusal::ManagedPolicy { arn, why };
        self.remove_policy(account, name, removal, absent).await
    }

    async fn add_policy(
        &self,
        account: AccountId,
        name: &RoleName,
        change: Change,
    ) -> Result<(), ControlError> {
        let max = self.quotas(account).policies_per_role;
        let room = Guard::RolePoliciesBelow(account, name.clone(), max);
        match self
            .change_role(account, name, Batch::new().guard(room).change(change))
            .await?
        {
            Verdict::Committed => Ok(()),
            Verdict::Blocked(_) => Err(Refusal::RolePolicyQuota { max }.into()),
        }
    }

    async fn remove_policy(
        &self,
        account: AccountId,
        name: &RoleName,
        removal: Change,
        absent: Refusal,
    ) -> Result<(), ControlError> {
        let removed = self.change_role(account, name, Batch::new().change(removal));
        match removed.await {
            Err(ControlError::Store(StoreError::NothingToChange(_))) => Err(absent.into()),
            removed => removed.map(|_| ()),
        }
    }

    /// Reads a role, changes it and writes it.
    async fn edit_role(
        &self,
        account: AccountId,
        name: &RoleName,
        edit: impl FnOnce(&mut Role) + Send,
    ) -> Result<Role, ControlError> {
        let mut role = self.role(account, name).await?;
        edit(&mut role);
        let batch = Batch::new().change(Change::PutRole(role.clone()));
        self.change_role(account, name, batch).await?;
        Ok(role)
    }

    /// Checks the number of tags of a role or a managed policy.
    pub(super) fn check_tags(&self, account: AccountId, tags: &Tags) -> Result<(), Refusal> {
        let max = self.quotas(account).tags_per_resource;
        if tags.len() > max as usize {
            return Err(Refusal::TagQuota { max });
        }
        Ok(())
    }

    /// Commits a batch that changes an existing role.
    async fn change_role(
        &self,
        account: AccountId,
        name: &RoleName,
        mut batch: Batch,
    ) -> Result<Verdict, ControlError> {
        batch
            .guards
            .insert(0, Guard::RolePresent(account, name.clone()));
        match self.shared.commit(batch).await? {
            Verdict::Blocked(Guard::RolePresent(..)) => {
                Err(Refusal::RoleNotFound(name.clone()).into())
            }
            verdict => Ok(verdict),
        }
    }
}

/// Whether two keys of tags are one: those of roles differ by more than case.
fn is_same_key(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}
