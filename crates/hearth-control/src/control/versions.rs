//! Operations on versions and builds of images, and on managed base images.

use super::image_owner::Command;
use super::{Control, own};
use crate::arn::{ImageArn, ManagedImageArn, Scope};
use crate::id::{BuildId, VersionNumber};
use crate::image::{Build, BuildFilter, ImageVersion, ManagedImage, ManagedVersion, VersionStatus};
use crate::page::{Cursor, Page, PageRequest};
use crate::refusal::{ControlError, Refusal};

impl Control {
    /// Returns one version of an image.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn version(
        &self,
        scope: &Scope,
        arn: &ImageArn,
        number: VersionNumber,
    ) -> Result<ImageVersion, ControlError> {
        own(scope, &arn.scope)?;
        let version = self.shared.store.version(arn, number).await?;
        version.ok_or_else(|| Refusal::VersionNotFound(arn.clone(), number).into())
    }

    /// Lists the versions of an image, newest first.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn versions(
        &self,
        scope: &Scope,
        arn: &ImageArn,
        page: PageRequest,
    ) -> Result<Page<ImageVersion>, ControlError> {
        own(scope, &arn.scope)?;
        self.known_image(arn).await?;
        let limit = page.bounded_limit();
        let before = page.after.map(|cursor| cursor.key().parse()).transpose();
        let before = before.map_err(|_| Refusal::BadCursor)?;
        let found = self.shared.store.versions(arn, before, limit + 1).await?;
        Ok(Page::cut(found, limit, |version| {
            Cursor::new(&version.number)
        }))
    }

    /// Sets whether a version may be launched.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn set_version_status(
        &self,
        scope: &Scope,
        arn: &ImageArn,
        number: VersionNumber,
        status: VersionStatus,
    ) -> Result<ImageVersion, ControlError> {
        own(scope, &arn.scope)?;
        let not_found = || Refusal::VersionNotFound(arn.clone(), number);
        let owner = self.shared.images.get(arn).ok_or_else(not_found)?;
        let asked = owner
            .ask(|reply| Command::SetStatus(number, status, reply))
            .await;
        asked.unwrap_or_else(|| Err(not_found().into()))
    }

    /// Starts to delete a version.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn delete_version(
        &self,
        scope: &Scope,
        arn: &ImageArn,
        number: VersionNumber,
    ) -> Result<ImageVersion, ControlError> {
        own(scope, &arn.scope)?;
        let not_found = || Refusal::VersionNotFound(arn.clone(), number);
        let owner = self.shared.images.get(arn).ok_or_else(not_found)?;
        let asked = owner
            .ask(|reply| Command::DeleteVersion(number, reply))
            .await;
        asked.unwrap_or_else(|| Err(not_found().into()))
    }

    /// Returns one build of a version.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn build(
        &self,
        scope: &Scope,
        arn: &ImageArn,
        number: VersionNumber,
        id: BuildId,
    ) -> Result<Build, ControlError> {
        self.version(scope, arn, number).await?;
        let build = self.shared.store.build(id).await?;
        let build = build.filter(|build| build.image == *arn && build.version == number);
        build.ok_or_else(|| Refusal::BuildNotFound(arn.clone(), number, id).into())
    }

    /// Lists the builds of a version. A cursor counts in the list without the filter.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn builds(
        &self,
        scope: &Scope,
        arn: &ImageArn,
        number: VersionNumber,
        filter: &BuildFilter,
        page: PageRequest,
    ) -> Result<Page<Build>, ControlError> {
        self.version(scope, arn, number).await?;
        let limit = page.bounded_limit();
        let after = page.after.map(|cursor| cursor.key().parse()).transpose();
        let after = after.map_err(|_| Refusal::BadCursor)?;
        let found = self
            .shared
            .store
            .builds(arn, number, after, limit + 1)
            .await?;
        let mut page = Page::cut(found, limit, |build| Cursor::new(&build.id));
        page.items.retain(|build| build.matches(filter));
        Ok(page)
    }

    /// Lists the managed base images, by name.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn managed_images(
        &self,
        page: PageRequest,
    ) -> Result<Page<ManagedImage>, ControlError> {
        let limit = page.bounded_limit();
        let after = page.after.as_ref().map(Cursor::key).unwrap_or_default();
        let mut images = self.shared.managed_images.clone();
        images.retain(|image| image.name.as_str() > after);
        images.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Page::cut(images, limit, |image| Cursor::new(&image.name)))
    }

    /// Lists the versions of a managed base image, newest first.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn managed_versions(
        &self,
        arn: &ManagedImageArn,
        page: PageRequest,
    ) -> Result<Page<ManagedVersion>, ControlError> {
        let limit = page.bounded_limit();
        let before = page.after.map(|cursor| cursor.key().parse()).transpose();
        let before: Option<u32> = before.map_err(|_| Refusal::BadCursor)?;
        let image = self
            .shared
            .managed_images
            .iter()
            .find(|image| image.name == arn.name);
        let image = image.ok_or_else(|| Refusal::ManagedImageNotFound(arn.clone()))?;
        let mut versions = image.versions.clone();
        versions.retain(|version| before.is_none_or(|before| version.number < before));
        versions.sort_by_key(|version| std::cmp::Reverse(version.number));
        Ok(Page::cut(versions, limit, |version| {
            Cursor::new(&version.number)
        }))
    }
}
