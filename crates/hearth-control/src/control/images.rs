//! Operations on images.

use std::sync::Arc;

use super::client_tokens::Repeatable;
use super::image_owner::{self, Command, Update};
use super::{Control, Shared, own};
use crate::arn::{ConnectorRef, ImageArn, ManagedConnector, Scope, TaggedArn};
use crate::hooks::{Hook, Hooks};
use crate::id::{ImageId, VersionNumber};
use crate::image::{
    ArtifactUri, CreateImage, Image, ImageSpec, ImageWithVersion, ManagedStatus, TaggedImage,
    UpdateImage,
};
use crate::machine::image::Life;
use crate::page::{Cursor, Page, PageRequest};
use crate::refusal::{ControlError, Refusal};
use crate::store::{Batch, Change, Guard, Intent, IntentSubject, Verdict};

impl Control {
    /// Creates an image and starts the build of its first version.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn create_image(
        &self,
        scope: &Scope,
        request: CreateImage,
    ) -> Result<ImageWithVersion, ControlError> {
        let arn = ImageArn {
            scope: scope.clone(),
            name: request.name.clone(),
        };
        let token = request.client_token.clone();
        let repeatable = Repeatable::new(scope, "CreateMicrovmImage", token);
        if repeatable.made_before(&self.shared).await?.is_some() {
            return self.first_version(&arn).await;
        }
        let spec = self.complete(scope, request.spec)?;
        self.check_egress(scope, &spec.egress).await?;
        self.check_artifact(scope, &spec.artifact).await?;
        let request = CreateImage { spec, ..request };
        let shared = Arc::clone(&self.shared);
        let (key, made) = (arn.clone(), repeatable.clone());
        match self
            .uncut(async move { create(&shared, key, request, &made).await })
            .await
        {
            Err(ControlError::Refused(Refusal::TokenConflict)) => {
                // A concurrent request with the same token was faster: the result is its image, or a token conflict.
                repeatable.made_before(&self.shared).await?;
                self.first_version(&arn).await
            }
            outcome => outcome,
        }
    }

    /// Starts the build of the next version of an image. The new specification replaces the old one as a whole.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn update_image(
        &self,
        scope: &Scope,
        request: UpdateImage,
    ) -> Result<ImageWithVersion, ControlError> {
        own(scope, &request.arn.scope)?;
        let token = request.client_token;
        let repeatable = Repeatable::new(scope, "UpdateMicrovmImage", token);
        if repeatable.made_before(&self.shared).await?.is_some() {
            return self.last_version(&request.arn).await;
        }
        let not_found = || Refusal::ImageNotFound(request.arn.clone());
        let owner = self.shared.images.get(&request.arn).ok_or_else(not_found)?;
        let spec = self.complete(scope, request.spec)?;
        self.check_egress(scope, &spec.egress).await?;
        self.check_artifact(scope, &spec.artifact).await?;
        let update = Box::new(Update {
            spec,
            token: repeatable.clone().into_parts(),
        });
        let asked = owner.ask(|reply| Command::Update(update, reply)).await;
        match asked.unwrap_or_else(|| Err(not_found().into())) {
            Err(ControlError::Refused(Refusal::TokenConflict | Refusal::ImageBusy(..)))
                if repeatable.made_before(&self.shared).await?.is_some() =>
            {
                self.last_version(&request.arn).await
            }
            outcome => outcome,
        }
    }

    /// Returns one image with its tags.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn image(&self, scope: &Scope, arn: &ImageArn) -> Result<TaggedImage, ControlError> {
        own(scope, &arn.scope)?;
        let image = self.known_image(arn).await?;
        let tags = self
            .shared
            .store
            .tags(&TaggedArn::Image(arn.clone()))
            .await?;
        Ok(TaggedImage { image, tags })
    }

    /// Lists the images of the scope, by name.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn images(
        &self,
        scope: &Scope,
        page: PageRequest,
    ) -> Result<Page<Image>, ControlError> {
        let limit = page.bounded_limit();
        let after = page.after.map(|cursor| cursor.key().parse()).transpose();
        let after = after.map_err(|_| Refusal::BadCursor)?;
        let found = self
            .shared
            .store
            .images(scope, after.as_ref(), limit + 1)
            .await?;
        Ok(Page::cut(found, limit, |image| {
            Cursor::new(&image.arn.name)
        }))
    }

    /// Cancels the build of an image that waits or works. Its version has failed then, and the image can be changed and
    /// deleted.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn cancel_build(&self, scope: &Scope, arn: &ImageArn) -> Result<Image, ControlError> {
        own(scope, &arn.scope)?;
        let not_found = || Refusal::ImageNotFound(arn.clone());
        let owner = self.shared.images.get(arn).ok_or_else(not_found)?;
        owner
            .ask(Command::CancelBuild)
            .await
            .unwrap_or_else(|| Err(not_found().into()))
    }

    /// Starts to delete an image with all its versions.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn delete_image(&self, scope: &Scope, arn: &ImageArn) -> Result<Image, ControlError> {
        own(scope, &arn.scope)?;
        let not_found = || Refusal::ImageNotFound(arn.clone());
        let owner = self.shared.images.get(arn).ok_or_else(not_found)?;
        owner
            .ask(Command::Delete)
            .await
            .unwrap_or_else(|| Err(not_found().into()))
    }

    pub(super) async fn known_image(&self, arn: &ImageArn) -> Result<Image, ControlError> {
        let image = self.shared.store.image(arn).await?;
        image.ok_or_else(|| Refusal::ImageNotFound(arn.clone()).into())
    }

    async fn first_version(&self, arn: &ImageArn) -> Result<ImageWithVersion, ControlError> {
        let image = self.known_image(arn).await?;
        self.with_version(image, VersionNumber::FIRST).await
    }

    async fn last_version(&self, arn: &ImageArn) -> Result<ImageWithVersion, ControlError> {
        let image = self.known_image(arn).await?;
        let last = image.last_version;
        self.with_version(image, last).await
    }

    async fn with_version(
        &self,
        image: Image,
        number: VersionNumber,
    ) -> Result<ImageWithVersion, ControlError> {
        let version = self.shared.store.version(&image.arn, number).await?;
        let version = version.ok_or_else(|| Refusal::VersionNotFound(image.arn.clone(), number))?;
        Ok(ImageWithVersion { image, version })
    }

    /// A specification with its defaults filled in, as answers show it.
    fn complete(&self, scope: &Scope, mut spec: ImageSpec) -> Result<ImageSpec, Refusal> {
        check_hooks(spec.hooks.as_ref())?;
        spec.base_version = Some(self.base_version(&spec)?);
        if spec.egress.is_empty() {
            let (region, connector) = (scope.region.clone(), self.shared.default_egress);
            spec.egress
                .push(ConnectorRef::Managed { region, connector });
        }
        Ok(spec)
    }

    /// The requested version of the base image, or else the newest available one.
    fn base_version(&self, spec: &ImageSpec) -> Result<u32, Refusal> {
        let base = self
            .shared
            .managed_images
            .iter()
            .find(|image| image.name == spec.base.name);
        let versions = base
            .map(|image| image.versions.as_slice())
            .unwrap_or_default();
        let fits = |number: u32, status: ManagedStatus| match spec.base_version {
            Some(wanted) => number == wanted && status != ManagedStatus::Recalled,
            None => status == ManagedStatus::Available,
        };
        let found = versions
            .iter()
            .find(|version| fits(version.number, version.status));
        found
            .map(|version| version.number)
            .ok_or_else(|| Refusal::BaseVersionUnavailable {
                base: spec.base.clone(),
                version: spec.base_version,
            })
    }

    /// Checks that the artifact is there: a build that cannot begin would be refused minutes later, when its turn comes.
    async fn check_artifact(&self, scope: &Scope, uri: &ArtifactUri) -> Result<(), Refusal> {
        let looked = self.shared.host.look_for_artifact(scope, uri).await;
        looked.map_err(|why| Refusal::ArtifactUnreadable(uri.clone(), why))
    }

    /// Checks that every connector is for egress, belongs to the scope and can be used.
    pub(super) async fn check_egress(
        &self,
        scope: &Scope,
        connectors: &[ConnectorRef],
    ) -> Result<(), ControlError> {
        for connector in connectors {
            match connector {
                ConnectorRef::Managed {
                    connector: managed, ..
                } if managed.is_ingress() => {
                    return Err(Refusal::WrongDirection(connector.clone()).into());
                }
                ConnectorRef::Managed { .. } => {}
                ConnectorRef::Own(arn) => {
                    own(scope, &arn.scope)?;
                    let unusable = || Refusal::ConnectorUnusable(connector.clone());
                    self.active_connector(arn).await?.ok_or_else(unusable)?;
                }
            }
        }
        Ok(())
    }
}

/// Checks that every connector is for ingress. Only the service has such connectors.
pub(super) fn check_ingress(connectors: &[ConnectorRef]) -> Result<(), Refusal> {
    let leads_in = |connector: &&ConnectorRef| matches!(connector, ConnectorRef::Managed { connector, .. } if connector.is_ingress());
    match connectors.iter().find(|connector| !leads_in(connector)) {
        Some(wrong) => Err(Refusal::WrongDirection(wrong.clone())),
        None => Ok(()),
    }
}

/// The ingress connector of a microVM that names none.
pub(super) fn default_ingress(scope: &Scope) -> ConnectorRef {
    ConnectorRef::Managed {
        region: scope.region.clone(),
        connector: ManagedConnector::HttpIngress,
    }
}

fn check_hooks(hooks: Option<&Hooks>) -> Result<(), Refusal> {
    let Some(hooks) = hooks else { return Ok(()) };
    let microvm = [Hook::Run, Hook::Resume, Hook::Suspend, Hook::Terminate];
    let build = [Hook::Ready, Hook::Validate];
    let any = |list: &[Hook]| list.iter().any(|hook| hooks.is_enabled(*hook));
    if any(&microvm) && !hooks.is_enabled(Hook::Ready) {
        return Err(Refusal::ReadyHookMissing);
    }
    if (any(&microvm) || any(&build)) && hooks.port.is_none() {
        return Err(Refusal::HookPortMissing);
    }
    Ok(())
}

/// Writes the records of a new image and starts its owner.
async fn create(
    shared: &Arc<Shared>,
    arn: ImageArn,
    request: CreateImage,
    repeatable: &Repeatable,
) -> Result<ImageWithVersion, ControlError> {
    let now = shared.clock.now();
    let life = Life::new();
    let image = Image {
        arn: arn.clone(),
        id: ImageId::generate(),
        state: life.state,
        latest_active_version: None,
        latest_failed_version: None,
        last_version: life.last,
        created_at: now,
        updated_at: now,
    };
    let (version, build) = image_owner::new_version(shared, &image, life.last, request.spec);
    let quotas = shared.policy.quotas_of(arn.scope.account);
    let (scope, resource) = (arn.scope.clone(), TaggedArn::Image(arn.clone()));
    let batch = Batch::new()
        .guard(Guard::ImageAbsent(arn.clone()))
        .guard(Guard::ImagesBelow(scope.clone(), quotas.images))
        .guard(Guard::OpenBuildsBelow(scope, quotas.concurrent_builds))
        .guard(Guard::TagsFit {
            resource: resource.clone(),
            keys: request.tags.keys().cloned().collect(),
            max: quotas.tags_per_resource,
        })
        .change(Change::PutImage(image.clone()))
        .change(Change::PutVersion(Box::new(version.clone())))
        .change(Change::PutBuild(build))
        .change(Change::PutTags(resource, request.tags))
        .change(Change::Intend(Intent {
            subject: IntentSubject::Image(arn.clone()),
            what: "Build".to_owned(),
            at: now,
        }));
    let batch = repeatable.note(shared, batch, arn.to_string());
    match shared.commit(batch).await? {
        Verdict::Committed => {}
        Verdict::Blocked(guard) => return Err(refused(guard, &arn).into()),
    }
    image_owner::spawn(shared, image.clone(), vec![version.clone()]);
    Ok(ImageWithVersion { image, version })
}

fn refused(guard: Guard, arn: &ImageArn) -> Refusal {
    match guard {
        Guard::TokenFree(_) => Refusal::TokenConflict,
        Guard::ImagesBelow(scope, max) => Refusal::ImageQuota {
            account: scope.account,
            max,
        },
        Guard::OpenBuildsBelow(scope, _) => Refusal::BuildQuota(scope.account),
        Guard::TagsFit { max, .. } => Refusal::TagQuota { max },
        _ => Refusal::ImageNameTaken(arn.name.clone()),
    }
}
