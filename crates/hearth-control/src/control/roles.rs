//! Operations on stored IAM roles.

use super::Control;
use super::accounts::random_text;
use crate::account::{CreateRole, Role, RolePolicy};
use crate::id::{AccountId, RoleName};
use crate::page::{Cursor, Page, PageRequest};
use crate::refusal::{ControlError, Refusal};
use crate::store::{Batch, Change, Guard, StoreError, Verdict};

/// The alphabet of role ids: base 32.
const ID_LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

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
            created_at: self.shared.clock.now(),
        };
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

    /// Lists the roles of an account, by name.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn roles(
        &self,
        account: AccountId,
        page: PageRequest,
    ) -> Result<Page<Role>, ControlError> {
        let limit = page.bounded_limit();
        let after = page.after.as_ref().map(Cursor::key);
        let found = self.shared.store.roles(account, after, limit + 1).await?;
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
        let empty = Guard::RolePoliciesBelow(account, name.clone(), 1);
        let removal = Change::RemoveRole(account, name.clone());
        match self
            .change_role(account, name, Batch::new().guard(empty).change(removal))
            .await?
        {
            Verdict::Committed => Ok(()),
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
        let role = Role {
            trust_policy,
            ..self.role(account, name).await?
        };
        let batch = Batch::new().change(Change::PutRole(role));
        self.change_role(account, name, batch).await.map(|_| ())
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
        self.remove_policy(account, name, policy, removal).await
    }

    /// Attaches a managed policy to a role. Only its ARN is stored.
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
        let change = Change::AttachRolePolicy(account, name.clone(), policy_arn.to_owned());
        self.add_policy(account, name, change).await
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
        let removal = Change::DetachRolePolicy(account, name.clone(), policy_arn.to_owned());
        self.remove_policy(account, name, policy_arn, removal).await
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
            Verdict::Blocked(_) => Err(Refusal::RoleQuota { max }.into()),
        }
    }

    async fn remove_policy(
        &self,
        account: AccountId,
        name: &RoleName,
        policy: &str,
        removal: Change,
    ) -> Result<(), ControlError> {
        let removed = self.change_role(account, name, Batch::new().change(removal));
        match removed.await {
            Err(ControlError::Store(StoreError::NothingToChange(_))) => {
                Err(Refusal::RolePolicyNotFound(name.clone(), policy.to_owned()).into())
            }
            removed => removed.map(|_| ()),
        }
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
