//! The parent's side of a fork; the child is launched like every other microVM.

use std::time::Duration;

use hearth_control::id::MicrovmId;
use hearth_control::node::{ForkError, Sealed};
use hearth_node::{MachineName, Node, NodeError, Standing};

use super::{HostNode, machine_name, whole};

impl HostNode {
    pub(super) async fn fork_microvm(
        &self,
        parent: MicrovmId,
        child: MicrovmId,
    ) -> Result<Sealed, ForkError> {
        let unchanged = |error: &dyn std::error::Error| ForkError::Unchanged(whole(error));
        let parent_name = machine_name(parent).map_err(|error| unchanged(&error))?;
        let child_name = machine_name(child).map_err(|error| unchanged(&error))?;
        let node = self.node.clone();
        // A task of its own: whoever stops waiting, the parent is thawed.
        let forking = tokio::spawn(async move {
            let sealed = node.seal_for(&parent_name, &child_name).await;
            match sealed {
                Ok(sealed) => Ok(sealed),
                Err(error) => Err(after_failure(&node, &parent_name, &error).await),
            }
        });
        let sealed = forking.await.map_err(|error| unchanged(&error))??;
        let paused = sealed.paused_us.map(Duration::from_micros);
        tracing::info!(%parent, %child, snapshot = %sealed.snapshot, ?paused, "sealed for a fork");
        Ok(Sealed { paused })
    }
}

/// What a failure has left of the parent.
async fn after_failure(node: &Node, parent: &MachineName, error: &NodeError) -> ForkError {
    let cause = whole(error);
    if let Err(error) = node.settle(parent).await {
        tracing::warn!(%error, %parent, "what a fork has left is settled later");
    }
    match node.standing(parent) {
        Ok(Standing::Gone) => ForkError::Lost(cause),
        // What cannot be looked at is not taken for lost.
        Ok(Standing::Runs | Standing::Suspended) | Err(_) => ForkError::Unchanged(cause),
    }
}
