//! The crash matrix: the process dies right before and right after every write of a whole story, starts
//! again over the same file and node, and the story goes on. Nothing may be lost, wedged or left over.

use std::sync::Arc;

use hearth_control::arn::{ImageArn, TaggedArn};
use hearth_control::id::MicrovmId;
use hearth_control::image::{CreateImage, ImageState, Tags, UpdateImage, VersionStatus};
use hearth_control::life::MicrovmState;
use hearth_control::microvm::{Activity, ForkMicrovm, Microvm, RunMicrovm};
use hearth_control::request::RequestToken;
use hearth_control::{Control, ControlError, Refusal};

use crate::support::{self, CrashPoint, CrashingStore, Side, World, scope, spec};

/// More writes than the story makes; reaching it means that the matrix does not end.
const MAX_WRITES: u32 = 200;

/// One start of the control plane after another, until the story is told.
struct Teller {
    world: World,
    point: Option<CrashPoint>,
    running: Option<(Arc<CrashingStore>, Control)>,
    crashes: u32,
}

impl Teller {
    fn new(point: Option<CrashPoint>) -> Self {
        Self {
            world: World::new(),
            point,
            running: None,
            crashes: 0,
        }
    }

    /// Repeats a step until it ends without a crash. A step must be repeatable, as clients make theirs.
    async fn tell<T>(
        &mut self,
        what: &str,
        step: impl AsyncFn(&Control) -> Result<T, ControlError>,
    ) -> T {
        loop {
            let Some((store, control)) = self.running.take() else {
                self.start().await;
                continue;
            };
            let mut crashed = store.reached();
            if self.point.is_some_and(|point| point.side == Side::Refused) {
                self.running = Some((store, control.clone()));
                match step(&control).await {
                    Ok(done) => return done,
                    Err(ControlError::Store(_)) if *crashed.borrow() => continue,
                    Err(error) => panic!("{what}: {error:?}"),
                }
            }
            let outcome = tokio::select! {
                biased;
                _ = crashed.wait_for(|crashed| *crashed) => None,
                outcome = step(&control) => Some(outcome),
            };
            match outcome {
                Some(Ok(done)) if !*store.reached().borrow() => {
                    self.running = Some((store, control));
                    return done;
                }
                Some(Err(error)) if !*store.reached().borrow() => panic!("{what}: {error:?}"),
                _ => self.bury(&control).await,
            }
        }
    }

    async fn start(&mut self) {
        let (store, control) = self.world.start_doomed(self.point).await;
        match control {
            Ok(control) => self.running = Some((store, control)),
            Err(_) => {
                // It died while it started.
                self.crashes += 1;
                self.point = None;
            }
        }
    }

    async fn bury(&mut self, control: &Control) {
        control.stop().await;
        self.crashes += 1;
        // One crash each: the story must then end.
        self.point = None;
    }
}

async fn until(
    control: &Control,
    id: MicrovmId,
    state: MicrovmState,
) -> Result<Microvm, ControlError> {
    let wedged = std::time::Duration::from_secs(20);
    let waiting = async {
        loop {
            let microvm = control.microvm(&scope(), id).await?;
            let ended = microvm.state() == MicrovmState::Terminated;
            if microvm.state() == state || ended {
                assert!(
                    !ended || microvm.reason() == Some("Success."),
                    "lost: {microvm:?}"
                );
                return Ok(microvm);
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(wedged, waiting)
        .await
        .unwrap_or_else(|_| panic!("wedged before {state:?}"))
}

async fn image_settles(control: &Control, arn: &ImageArn) -> Result<ImageState, ControlError> {
    let wedged = std::time::Duration::from_secs(20);
    let waiting = async {
        loop {
            let image = control.image(&scope(), arn).await?.image;
            if !image.state.is_transient() {
                return Ok(image.state);
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(wedged, waiting)
        .await
        .unwrap_or_else(|_| panic!("the image is wedged"))
}

fn token(text: &str) -> Option<RequestToken> {
    Some(support::token(text, text))
}

/// Image, update, run, suspend, resume, suspend, fork, terminate, delete version, delete image.
async fn story(teller: &mut Teller) {
    let arn = image_story(teller).await;
    microvm_story(teller, &arn).await;
    fork_story(teller, &arn).await;
    deletion_story(teller, &arn).await;
}

async fn image_story(teller: &mut Teller) -> ImageArn {
    let create = CreateImage {
        name: "web".parse().unwrap(),
        spec: spec(true),
        tags: Tags::from([("a".to_owned(), "b".to_owned())]),
        client_token: token("create"),
    };
    let make = async |control: &Control| control.create_image(&scope(), create.clone()).await;
    let arn = teller.tell("create", make).await.image.arn;
    let settled = async |control: &Control| image_settles(control, &arn).await;
    assert_eq!(teller.tell("created", settled).await, ImageState::Created);

    let update = UpdateImage {
        arn: arn.clone(),
        spec: spec(true),
        client_token: token("update"),
    };
    teller
        .tell("update", async |control| {
            control.update_image(&scope(), update.clone()).await
        })
        .await;
    assert_eq!(teller.tell("updated", settled).await, ImageState::Updated);
    let image = teller
        .tell("image", async |control| control.image(&scope(), &arn).await)
        .await;
    assert_eq!(
        image.image.last_version.to_string(),
        "2.0",
        "an update is made once"
    );
    assert_eq!(image.tags.len(), 1);
    arn
}

async fn microvm_story(teller: &mut Teller, arn: &ImageArn) {
    let run = RunMicrovm {
        client_token: token("run"),
        ..teller.world.run(arn)
    };
    let launch = async |control: &Control| control.run_microvm(&scope(), run.clone()).await;
    let id = teller.tell("run", launch).await.id;
    let reach = async |teller: &mut Teller, state| {
        let microvm = teller
            .tell("wait", async |control| until(control, id, state).await)
            .await;
        assert_eq!(microvm.state(), state);
    };
    reach(teller, MicrovmState::Running).await;
    let counted = Activity {
        execs: true,
        guest_cpu: true,
    };
    let count = async |control: &Control| control.set_activity(&scope(), id, counted).await;
    teller.tell("count", count).await;
    for _ in 0..2 {
        teller
            .tell("suspend", async |control| {
                control.suspend_microvm(&scope(), id).await
            })
            .await;
        reach(teller, MicrovmState::Suspended).await;
        teller
            .tell("resume", async |control| {
                control.resume_microvm(&scope(), id).await
            })
            .await;
        reach(teller, MicrovmState::Running).await;
    }
    teller
        .tell("suspend", async |control| {
            control.suspend_microvm(&scope(), id).await
        })
        .await;
    reach(teller, MicrovmState::Suspended).await;
    let look = async |control: &Control| control.microvm(&scope(), id).await;
    assert_eq!(teller.tell("look", look).await.activity, counted);
    // A second one ends while it runs, with its hook.
    let second = RunMicrovm {
        client_token: token("run 2"),
        ..teller.world.run(arn)
    };
    let launch = async |control: &Control| control.run_microvm(&scope(), second.clone()).await;
    let second = teller.tell("run 2", launch).await.id;
    teller
        .tell("wait", async |control| {
            until(control, second, MicrovmState::Running).await
        })
        .await;
    for id in [id, second] {
        teller
            .tell("terminate", async |control| {
                control.terminate_microvm(&scope(), id).await
            })
            .await;
        let ended = async |control: &Control| until(control, id, MicrovmState::Terminated).await;
        teller.tell("terminated", ended).await;
        assert_eq!(teller.world.host.presence(id), None);
    }
}

/// A running and a suspended parent each have a child. Every one of the four then ends by itself.
async fn fork_story(teller: &mut Teller, arn: &ImageArn) {
    let run = RunMicrovm {
        client_token: token("run 3"),
        ..teller.world.run(arn)
    };
    let launch = async |control: &Control| control.run_microvm(&scope(), run.clone()).await;
    let parent = teller.tell("run 3", launch).await.id;
    let mut family = vec![parent];
    for state in [MicrovmState::Running, MicrovmState::Suspended] {
        let reached = async |control: &Control| until(control, parent, state).await;
        teller.tell("parent", reached).await;
        family.push(fork(teller, parent, &format!("fork {state:?}")).await);
        let parent = teller.tell("parent", reached).await;
        assert_eq!(parent.state(), state, "a fork leaves its parent as it was");
        if state == MicrovmState::Running {
            let suspend =
                async |control: &Control| control.suspend_microvm(&scope(), parent.id).await;
            teller.tell("suspend parent", suspend).await;
        }
    }
    for id in family {
        let end = async |control: &Control| control.terminate_microvm(&scope(), id).await;
        teller.tell("terminate", end).await;
        let ended = async |control: &Control| until(control, id, MicrovmState::Terminated).await;
        teller.tell("terminated", ended).await;
        assert_eq!(teller.world.host.presence(id), None);
    }
}

/// A child that runs. One that a crash has undone left nothing, and is made again under another token.
async fn fork(teller: &mut Teller, parent: MicrovmId, name: &str) -> MicrovmId {
    for attempt in 0..2 {
        let request = ForkMicrovm {
            max_duration: None,
            client_token: token(&format!("{name} {attempt}")),
        };
        let ask = async |control: &Control| {
            match control
                .fork_microvm(&scope(), parent, request.clone())
                .await
            {
                // A write of the parent's that was refused: the child has ended, and the caller is told.
                Err(ControlError::Refused(Refusal::ForkFailed(_))) => Ok(None),
                outcome => outcome.map(|child| Some(child.id)),
            }
        };
        let Some(child) = teller.tell(name, ask).await else {
            continue;
        };
        let settled = async |control: &Control| {
            loop {
                let child = control.microvm(&scope(), child).await?;
                match child.state() {
                    MicrovmState::Running => return Ok(true),
                    MicrovmState::Terminated => {
                        let reason = child.reason().unwrap_or_default();
                        assert!(reason.starts_with("The fork was interrupted"), "{reason}");
                        return Ok(false);
                    }
                    _ => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
                }
            }
        };
        if teller.tell("forked", settled).await {
            return child;
        }
        assert_eq!(teller.world.host.presence(child), None);
    }
    panic!("{name}: one crash undoes one fork");
}

async fn deletion_story(teller: &mut Teller, arn: &ImageArn) {
    let first = "1.0".parse().unwrap();
    let off = VersionStatus::Inactive;
    let switch =
        async |control: &Control| control.set_version_status(&scope(), arn, first, off).await;
    teller.tell("switch", switch).await;
    let delete = async |control: &Control| match control.delete_version(&scope(), arn, first).await
    {
        // The crash came after the write.
        Err(ControlError::Refused(Refusal::VersionNotFound(..) | Refusal::ImageBusy(..))) => Ok(()),
        outcome => outcome.map(|_| ()),
    };
    teller.tell("delete version", delete).await;
    let settled = async |control: &Control| image_settles(control, arn).await;
    assert_eq!(
        teller.tell("version deleted", settled).await,
        ImageState::Updated
    );
    let delete = async |control: &Control| match control.delete_image(&scope(), arn).await {
        Err(ControlError::Refused(Refusal::ImageNotFound(_) | Refusal::ImageNotDeletable(..))) => {
            Ok(())
        }
        outcome => outcome.map(|_| ()),
    };
    teller.tell("delete image", delete).await;
    let gone = async |control: &Control| match image_settles(control, arn).await {
        Err(ControlError::Refused(Refusal::ImageNotFound(_))) => Ok(()),
        Err(error) => Err(error),
        Ok(state) => panic!("still there: {state:?}"),
    };
    teller.tell("image deleted", gone).await;
    let tagged = TaggedArn::Image(arn.clone());
    let tags = async |control: &Control| Ok(control.tags(&scope(), &tagged).await.is_err());
    assert!(teller.tell("tags", tags).await);
}

/// Nothing is left on the node after one more look.
async fn is_clean(teller: &mut Teller) {
    teller
        .tell("reconcile", async |control| control.reconcile().await)
        .await;
    assert_eq!(teller.world.host.counts(), (0, 0, 0));
}

async fn matrix(side: Side) {
    for write in 1..MAX_WRITES {
        let mut teller = Teller::new(Some(CrashPoint { write, side }));
        story(&mut teller).await;
        is_clean(&mut teller).await;
        if teller.crashes == 0 {
            assert!(write > 30, "the story has become short: {write} writes");
            return;
        }
        assert_eq!(teller.crashes, 1);
        let (_, control) = teller.running.take().unwrap();
        control.stop().await;
    }
    panic!("the story has more than {MAX_WRITES} writes");
}

/// A disk that is full for one write: callers are told, everything else is done a little later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_delays_and_loses_nothing() {
    for write in 1..MAX_WRITES {
        let mut teller = Teller::new(Some(CrashPoint {
            write,
            side: Side::Refused,
        }));
        story(&mut teller).await;
        is_clean(&mut teller).await;
        let (store, control) = teller.running.take().unwrap();
        control.stop().await;
        let reached = *store.reached().borrow();
        if !reached && teller.crashes == 0 {
            return;
        }
    }
    panic!("the story has more than {MAX_WRITES} writes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dying_before_any_write_loses_nothing() {
    matrix(Side::Before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dying_after_any_write_loses_nothing() {
    matrix(Side::After).await;
}
