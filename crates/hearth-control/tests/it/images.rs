//! Images, versions and builds.

use std::collections::BTreeMap;

use hearth_control::arn::TaggedArn;
use hearth_control::image::{
    BuildFilter, BuildState, CreateImage, ImageSpec, ImageState, Tags, UpdateImage, VersionState,
    VersionStatus,
};
use hearth_control::page::PageRequest;
use hearth_control::{Control, Refusal};

use crate::support::{
    self, Fault, World, eventually, image_state, refusal, scope, spec, terminated_reason,
};

fn create(name: &str) -> CreateImage {
    let name = name.parse().unwrap();
    CreateImage {
        name,
        spec: spec(false),
        tags: Tags::new(),
        client_token: None,
    }
}

fn first() -> hearth_control::id::VersionNumber {
    "1.0".parse().unwrap()
}

async fn update(control: &Control, arn: &hearth_control::arn::ImageArn) {
    let request = UpdateImage {
        arn: arn.clone(),
        spec: spec(false),
        client_token: None,
    };
    control.update_image(&scope(), request).await.unwrap();
}

#[tokio::test]
async fn an_image_is_built_and_described() {
    let world = World::new();
    let control = world.start().await;
    let made = control.create_image(&scope(), create("web")).await.unwrap();
    assert_eq!(
        (made.image.state, made.version.state),
        (ImageState::Creating, VersionState::Pending)
    );
    assert_eq!(
        (
            made.version.spec.base_version,
            made.version.spec.egress.len()
        ),
        (Some(2), 1)
    );
    let arn = made.image.arn;
    image_state(&control, &arn, ImageState::Created).await;
    let found = control.image(&scope(), &arn).await.unwrap().image;
    assert_eq!(found.latest_active_version, Some(first()));
    let version = control.version(&scope(), &arn, first()).await.unwrap();
    assert_eq!(
        (version.state, version.status),
        (VersionState::Successful, VersionStatus::Active)
    );
    let filter = BuildFilter::default();
    let page = PageRequest::first(10);
    let builds = control
        .builds(&scope(), &arn, first(), &filter, page)
        .await
        .unwrap()
        .items;
    assert_eq!(builds.len(), 1);
    assert_eq!(
        (builds[0].state, builds[0].sizes.disk_bytes),
        (BuildState::Successful, Some(25_600_000))
    );
    let build = control
        .build(&scope(), &arn, first(), builds[0].id)
        .await
        .unwrap();
    assert_eq!(build, builds[0]);
}

#[tokio::test]
async fn a_failed_build_tells_its_reason_on_the_build() {
    let world = World::new();
    world
        .host
        .fail_once(Fault::Build("The container image build failed."));
    let control = world.start().await;
    let arn = control
        .create_image(&scope(), create("web"))
        .await
        .unwrap()
        .image
        .arn;
    image_state(&control, &arn, ImageState::CreateFailed).await;
    let image = control.image(&scope(), &arn).await.unwrap().image;
    assert_eq!(
        (image.latest_active_version, image.latest_failed_version),
        (None, Some(first()))
    );
    let page = PageRequest::first(10);
    let builds = control
        .builds(&scope(), &arn, first(), &BuildFilter::default(), page)
        .await;
    let build = builds.unwrap().items.remove(0);
    assert_eq!(
        build.reason.as_deref(),
        Some("The container image build failed.")
    );
    let run = control.run_microvm(&scope(), world.run(&arn)).await;
    assert!(matches!(refusal(run), Refusal::NoActiveVersion { .. }));
    // The next update takes the next number and makes it well.
    update(&control, &arn).await;
    image_state(&control, &arn, ImageState::Updated).await;
    let image = control.image(&scope(), &arn).await.unwrap().image;
    assert_eq!(image.latest_active_version, "2.0".parse().ok());
}

async fn called(world: &World, operation: &str, times: usize) {
    eventually(operation, async || {
        (world.host.calls(operation) == times).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_build_can_be_cancelled_while_it_works() {
    let world = World::new();
    world.host.stick("build");
    let control = world.start().await;
    let made = control.create_image(&scope(), create("web")).await.unwrap();
    let arn = made.image.arn;
    called(&world, "build", 1).await;
    let cancelled = control.cancel_build(&scope(), &arn).await.unwrap();
    assert_eq!(cancelled.state, ImageState::CreateFailed);
    let page = PageRequest::first(10);
    let builds = control
        .builds(&scope(), &arn, first(), &BuildFilter::default(), page)
        .await;
    let build = builds.unwrap().items.remove(0);
    assert_eq!(build.state, BuildState::Failed);
    assert_eq!(build.reason.as_deref(), Some("The build was cancelled."));
    // What it has made goes.
    called(&world, "discard_build", 1).await;
    let again = control.cancel_build(&scope(), &arn).await;
    assert!(matches!(refusal(again), Refusal::NoBuildUnderWay(..)));
    // Its place is free.
    world.host.unstick("build");
    update(&control, &arn).await;
    image_state(&control, &arn, ImageState::Updated).await;
    control.delete_image(&scope(), &arn).await.unwrap();
    eventually("the image goes", async || {
        control.image(&scope(), &arn).await.is_err().then_some(())
    })
    .await;
    assert_eq!(world.host.counts(), (0, 0, 0));
}

#[tokio::test]
async fn a_build_that_waits_is_told_its_place_and_can_be_cancelled() {
    let mut world = World::new();
    world.policy.capacity.concurrent_builds = 1;
    world.host.stick("build");
    let control = world.start().await;
    control.create_image(&scope(), create("one")).await.unwrap();
    called(&world, "build", 1).await;
    let second = control.create_image(&scope(), create("two")).await.unwrap();
    called(&world, "waits as 1 of 1", 1).await;
    let third = control.create_image(&scope(), create("three")).await;
    called(&world, "waits as 2 of 2", 1).await;
    let arn = second.image.arn;
    let cancelled = control.cancel_build(&scope(), &arn).await.unwrap();
    assert_eq!(cancelled.state, ImageState::CreateFailed);
    world.host.unstick("build");
    let third = third.unwrap().image.arn;
    image_state(&control, &third, ImageState::Created).await;
    assert_eq!(
        world.host.calls("build"),
        2,
        "the cancelled one never began"
    );
}

#[tokio::test]
async fn an_artifact_that_is_not_there_is_refused_at_once() {
    let world = World::new();
    let control = world.start().await;
    world.host.fail_once(Fault::NoArtifact);
    let made = control.create_image(&scope(), create("web")).await;
    assert!(matches!(refusal(made), Refusal::ArtifactUnreadable(..)));
    let listed = control.images(&scope(), PageRequest::first(10)).await;
    assert!(listed.unwrap().items.is_empty());
    let made = control.create_image(&scope(), create("web")).await.unwrap();
    let arn = made.image.arn;
    image_state(&control, &arn, ImageState::Created).await;
    world.host.fail_once(Fault::NoArtifact);
    let request = UpdateImage {
        arn: arn.clone(),
        spec: spec(false),
        client_token: None,
    };
    let updated = control.update_image(&scope(), request).await;
    assert!(matches!(refusal(updated), Refusal::ArtifactUnreadable(..)));
    image_state(&control, &arn, ImageState::Created).await;
}

#[tokio::test]
async fn names_and_tokens_are_unique() {
    let world = World::new();
    let control = world.start().await;
    let token = |request| Some(support::token("once", request));
    let request = CreateImage {
        client_token: token("web"),
        ..create("web")
    };
    let made = control
        .create_image(&scope(), request.clone())
        .await
        .unwrap();
    let again = control
        .create_image(&scope(), request.clone())
        .await
        .unwrap();
    assert_eq!(made.image.id, again.image.id);
    let tags = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let other = control
        .create_image(
            &scope(),
            CreateImage {
                tags,
                client_token: token("web with tags"),
                ..request.clone()
            },
        )
        .await;
    assert_eq!(refusal(other), Refusal::TokenConflict);
    let twin = control.create_image(&scope(), create("web")).await;
    assert_eq!(
        refusal(twin),
        Refusal::ImageNameTaken("web".parse().unwrap())
    );

    // After deletion the token makes a new image instead of telling of the old one for ever.
    image_state(&control, &made.image.arn, ImageState::Created).await;
    control
        .delete_image(&scope(), &made.image.arn)
        .await
        .unwrap();
    while control.image(&scope(), &made.image.arn).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let fresh = control.create_image(&scope(), request).await.unwrap();
    assert_ne!(fresh.image.id, made.image.id);
}

#[tokio::test]
async fn versions_are_switched_and_deleted() {
    let world = World::new();
    let control = world.start().await;
    let arn = world.image(&control, spec(false)).await;
    let last = control.delete_version(&scope(), &arn, first()).await;
    assert_eq!(refusal(last), Refusal::LastVersion(arn.clone()));
    update(&control, &arn).await;
    let busy = control
        .set_version_status(&scope(), &arn, first(), VersionStatus::Inactive)
        .await;
    assert!(matches!(
        refusal(busy),
        Refusal::ImageBusy(_, ImageState::Updating)
    ));
    image_state(&control, &arn, ImageState::Updated).await;

    let second = "2.0".parse().unwrap();
    control
        .set_version_status(&scope(), &arn, second, VersionStatus::Inactive)
        .await
        .unwrap();
    let image = control.image(&scope(), &arn).await.unwrap().image;
    assert_eq!(image.latest_active_version, Some(first()));

    let id = world.running(&control, world.run(&arn)).await;
    let live = control.delete_version(&scope(), &arn, first()).await;
    assert_eq!(refusal(live), Refusal::LiveMicrovms(arn.clone()));
    let live = control.delete_image(&scope(), &arn).await;
    assert_eq!(refusal(live), Refusal::LiveMicrovms(arn.clone()));
    control.terminate_microvm(&scope(), id).await.unwrap();
    terminated_reason(&control, id).await;

    let deleted = control
        .delete_version(&scope(), &arn, first())
        .await
        .unwrap();
    assert_eq!(deleted.state, VersionState::Deleting);
    image_state(&control, &arn, ImageState::Updated).await;
    let gone = control.version(&scope(), &arn, first()).await;
    assert!(matches!(refusal(gone), Refusal::VersionNotFound(..)));
    assert_eq!(world.host.counts().1, 1);
    let page = control
        .versions(&scope(), &arn, PageRequest::first(1))
        .await
        .unwrap();
    assert_eq!((page.items.len(), page.next), (1, None));
}

#[tokio::test]
async fn quotas_hold() {
    let mut world = World::new();
    world.policy.quotas.concurrent_builds = 2;
    world.policy.quotas.images = 3;
    world.policy.quotas.versions_per_image = 2;
    world.policy.capacity.concurrent_builds = 1;
    let control = world.start().await;
    world.host.stick("build");
    let one = control
        .create_image(&scope(), create("one"))
        .await
        .unwrap()
        .image
        .arn;
    control.create_image(&scope(), create("two")).await.unwrap();
    let third = control.create_image(&scope(), create("three")).await;
    assert!(matches!(refusal(third), Refusal::BuildQuota(_)));
    assert!(
        world.host.calls("build") <= 1,
        "the host builds one at a time"
    );
    world.host.unstick("build");
    image_state(&control, &one, ImageState::Created).await;
    let three = control
        .create_image(&scope(), create("three"))
        .await
        .unwrap()
        .image
        .arn;
    image_state(&control, &three, ImageState::Created).await;
    let four = control.create_image(&scope(), create("four")).await;
    assert!(matches!(refusal(four), Refusal::ImageQuota { max: 3, .. }));
    update(&control, &one).await;
    image_state(&control, &one, ImageState::Updated).await;
    let spec = spec(false);
    let more = UpdateImage {
        arn: one,
        spec,
        client_token: None,
    };
    let more = control.update_image(&scope(), more).await;
    assert!(matches!(
        refusal(more),
        Refusal::VersionQuota { max: 2, .. }
    ));
}

#[tokio::test]
async fn a_spec_that_makes_no_sense_makes_nothing() {
    let world = World::new();
    let control = world.start().await;
    let create = |change: fn(&mut ImageSpec)| {
        let mut request = create("web");
        request.spec = spec(true);
        change(&mut request.spec);
        let control = control.clone();
        async move { refusal(control.create_image(&scope(), request).await) }
    };
    let no_base = create(|spec| spec.base_version = Some(999)).await;
    assert!(matches!(
        no_base,
        Refusal::BaseVersionUnavailable {
            version: Some(999),
            ..
        }
    ));
    let no_ready = create(|spec| {
        if let Some(hooks) = &mut spec.hooks {
            hooks.image = None;
        }
    });
    assert_eq!(no_ready.await, Refusal::ReadyHookMissing);
    let no_port = create(|spec| {
        if let Some(hooks) = &mut spec.hooks {
            hooks.port = None;
        }
    });
    assert_eq!(no_port.await, Refusal::HookPortMissing);
    let inward = create(|spec| {
        let arn =
            "arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:HTTP_INGRESS";
        spec.egress = vec![arn.parse().unwrap()];
    });
    assert!(matches!(inward.await, Refusal::WrongDirection(_)));
    assert!(
        control
            .images(&scope(), PageRequest::first(9))
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[tokio::test]
async fn tags_come_and_go() {
    let mut world = World::new();
    world.policy.quotas.tags_per_resource = 2;
    let control = world.start().await;
    let arn = TaggedArn::Image(world.image(&control, spec(false)).await);
    let tags = |list: &[(&str, &str)]| -> Tags {
        list.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    control
        .tag(&scope(), &arn, tags(&[("a", "1"), ("b", "2")]))
        .await
        .unwrap();
    control
        .tag(&scope(), &arn, tags(&[("b", "3")]))
        .await
        .unwrap();
    let full = control.tag(&scope(), &arn, tags(&[("c", "4")])).await;
    assert_eq!(refusal(full), Refusal::TagQuota { max: 2 });
    let gone = ["a".to_owned(), "x".to_owned()];
    control.untag(&scope(), &arn, &gone).await.unwrap();
    assert_eq!(
        control.tags(&scope(), &arn).await.unwrap(),
        tags(&[("b", "3")])
    );
    let none: TaggedArn = "arn:aws:lambda:us-east-1:000000000000:microvm-image:none"
        .parse()
        .unwrap();
    assert_eq!(
        refusal(control.tags(&scope(), &none).await),
        Refusal::TaggedNotFound(none)
    );
}
