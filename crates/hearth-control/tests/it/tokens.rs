//! Client tokens over an update of Hearth.

use hearth_control::Refusal;
use hearth_control::microvm::{MicrovmFilter, RunMicrovm};
use hearth_control::page::PageRequest;
use hearth_control::store::{Batch, Change, Store as _, TokenKey, TokenUse};
use hearth_control::time::Clock as _;

use crate::support::{World, refusal, scope, spec, token};

/// A release from before digests were made from the input has noted a token. The request that is repeated now is refused, and
/// nothing is run a second time.
#[tokio::test]
async fn a_token_of_an_older_release_runs_nothing_twice() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(false)).await;
    let first = control.run_microvm(&scope(), world.run(&image)).await;
    let once = token("once", "the request");
    let key = TokenKey {
        scope: scope(),
        operation: "RunMicrovm",
        token: once.token.clone(),
    };
    let used = TokenUse {
        digest: [0x0f; 32],
        resource: first.unwrap().id.to_string(),
        at: world.clock.now(),
    };
    let noted = Batch::new().change(Change::UseToken(key, used));
    world.open().commit(noted).await.unwrap();
    let repeated = RunMicrovm {
        client_token: Some(once),
        ..world.run(&image)
    };
    let repeated = control.run_microvm(&scope(), repeated).await;
    assert_eq!(refusal(repeated), Refusal::TokenConflict);
    let all = MicrovmFilter::default();
    let all = control
        .microvms(&scope(), &all, PageRequest::first(9))
        .await;
    assert_eq!(all.unwrap().items.len(), 1);
}
