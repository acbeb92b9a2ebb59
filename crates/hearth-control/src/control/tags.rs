//! Operations on tags.

use super::{Control, own};
use crate::arn::{Scope, TaggedArn};
use crate::image::Tags;
use crate::refusal::{ControlError, Refusal};
use crate::store::{Batch, Change, Guard, Verdict};

impl Control {
    /// Returns the tags of a resource.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn tags(&self, scope: &Scope, resource: &TaggedArn) -> Result<Tags, ControlError> {
        own(scope, resource.scope())?;
        let store = &self.shared.store;
        let is_there = match resource {
            TaggedArn::Image(arn) => store.image(arn).await?.is_some(),
            TaggedArn::Connector(arn) => store
                .connector(arn.id)
                .await?
                .is_some_and(|connector| connector.scope == *scope),
        };
        if !is_there {
            return Err(Refusal::TaggedNotFound(resource.clone()).into());
        }
        Ok(store.tags(&resource.unqualified()).await?)
    }

    /// Adds tags to a resource. Replaces tags of the same key.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn tag(
        &self,
        scope: &Scope,
        resource: &TaggedArn,
        tags: Tags,
    ) -> Result<(), ControlError> {
        let bare = resource.unqualified();
        let fit = Guard::TagsFit {
            resource: bare.clone(),
            keys: tags.keys().cloned().collect(),
            max: self.quotas(scope.account).tags_per_resource,
        };
        let batch = Batch::new().guard(fit).change(Change::PutTags(bare, tags));
        self.change_tags(scope, resource, batch).await
    }

    /// Removes tags from a resource. No-op for tags that it does not have.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn untag(
        &self,
        scope: &Scope,
        resource: &TaggedArn,
        keys: &[String],
    ) -> Result<(), ControlError> {
        let removal = Change::RemoveTags(resource.unqualified(), keys.to_vec());
        self.change_tags(scope, resource, Batch::new().change(removal))
            .await
    }

    async fn change_tags(
        &self,
        scope: &Scope,
        resource: &TaggedArn,
        mut batch: Batch,
    ) -> Result<(), ControlError> {
        own(scope, resource.scope())?;
        batch
            .guards
            .insert(0, Guard::TaggedPresent(resource.clone()));
        match self.shared.commit(batch).await? {
            Verdict::Committed => Ok(()),
            Verdict::Blocked(Guard::TagsFit { max, .. }) => Err(Refusal::TagQuota { max }.into()),
            Verdict::Blocked(_) => Err(Refusal::TaggedNotFound(resource.clone()).into()),
        }
    }
}
