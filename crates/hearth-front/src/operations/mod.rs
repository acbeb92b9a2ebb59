//! Hearth's own operations on a microVM and on an image, which AWS does not have: `/hearth/v1/microvms/{id}/...` and
//! `/hearth/v1/images/{name}/...`, one file each.
//!
//! They are signed, counted and recorded like the operations of `lambda-microvms`, and their error answers have the
//! same form. `docs/hearth-api.md` describes them, `docs/hearth-api.openapi.yaml` lists them. A test compares both
//! with [`address::OPERATIONS`] and [`address::IMAGE_OPERATIONS`].

mod cancel_image_build;
mod exec_microvm;
mod fork_microvm;
mod get_microvm_activity;
mod get_microvm_file;
mod get_microvm_logs;
mod get_microvm_times;
mod put_microvm_activity;
mod put_microvm_file;

mod address;
mod exec_input;
mod follow;
mod guest_fault;
mod lines;
mod query;
mod streamed;
#[cfg(test)]
mod tests;
mod upload;

use std::sync::Arc;

use hearth_control::id::MicrovmId;
use hearth_control::life::MicrovmState;
use hearth_control::microvm::Microvm;
use hearth_control::throttle::Rate;
use hearth_control::{Control, Refusal};
use hearth_logs::LogStore;

use crate::accounts;
use crate::aws_strings::Word;
use crate::call::Call;
use crate::disks::Disks;
use crate::fault::Fault;
use crate::guests::Guests;
use crate::identity::Caller;
use crate::lambda::refusal;
use crate::metrics_page::MetricsPage;
use crate::wire::json::{Family, rest_fault};
use crate::wire::{Label, Reply};
use address::Operation;
pub(crate) use address::is_upload;
pub(crate) use follow::Followers;

/// Answers Hearth's own operations.
pub(crate) struct Operations {
    pub(crate) control: Control,
    pub(crate) guests: Arc<dyn Guests>,
    pub(crate) disks: Arc<dyn Disks>,
    pub(crate) page: Arc<MetricsPage>,
    pub(crate) logs: Arc<LogStore>,
    pub(crate) followers: Arc<Followers>,
}

/// One call of one operation.
struct Context<'a> {
    operations: &'a Operations,
    caller: Caller,
    /// The microVM or the image as named in the path.
    named: String,
    query: String,
}

impl Operations {
    /// Answers one request.
    pub(crate) async fn answer(&self, call: Call) -> Reply {
        let found = address::find(call.head.method.as_str(), call.head.uri.path());
        let Some((operation, named)) = found else {
            let (disks, page) = (self.disks.as_ref(), &self.page);
            return accounts::answer(&self.control, disks, page, &call).await;
        };
        let context = Context {
            operations: self,
            caller: call.caller.clone(),
            named,
            query: call.head.uri.query().unwrap_or_default().to_owned(),
        };
        let mut reply = match context.perform(operation, call).await {
            Ok(reply) => reply,
            Err(fault) => rest_fault(Family::Microvms, &fault),
        };
        Label::of(&mut reply).operation = Some(operation.name());
        reply
    }
}

impl Context<'_> {
    async fn perform(&self, operation: Operation, call: Call) -> Result<Reply, Fault> {
        match operation {
            Operation::Exec => exec_microvm::perform(self, call).await,
            Operation::GetFile => get_microvm_file::perform(self).await,
            Operation::PutFile => put_microvm_file::perform(self, call.body, call.upload).await,
            Operation::Fork => fork_microvm::perform(self, &call.body).await,
            Operation::GetLogs => get_microvm_logs::perform(self).await,
            Operation::GetActivity => get_microvm_activity::perform(self).await,
            Operation::GetTimes => get_microvm_times::perform(self).await,
            Operation::PutActivity => put_microvm_activity::perform(self, &call.body).await,
            Operation::CancelBuild => cancel_image_build::perform(self).await,
        }
    }

    fn guests(&self) -> &dyn Guests {
        self.operations.guests.as_ref()
    }

    /// Counts the call against a rate of its account.
    fn throttle(&self, rate: Rate) -> Result<(), Fault> {
        let taken = self
            .operations
            .control
            .throttle(self.caller.scope.account, rate);
        taken.map_err(|refusal| refusal::outside_lambda(refusal.into()))
    }

    /// The microVM of the caller, in any state.
    async fn microvm(&self) -> Result<Microvm, Fault> {
        let id: MicrovmId = self.named.parse().map_err(|_| {
            let text = format!("MicroVM not found: {}", self.named);
            Fault::new(404, "ResourceNotFoundException", text)
        })?;
        let found = self
            .operations
            .control
            .microvm(&self.caller.scope, id)
            .await;
        found.map_err(refusal::outside_lambda)
    }

    /// The microVM of the caller, if it runs. It is not resumed for the operation: traffic to its endpoint resumes a
    /// microVM, but for an operator's look the caller decides.
    async fn running_microvm(&self) -> Result<Microvm, Fault> {
        let microvm = self.microvm().await?;
        let id = microvm.id;
        match microvm.state() {
            MicrovmState::Running => Ok(microvm),
            MicrovmState::Suspended | MicrovmState::Suspending => Err(conflict(format!(
                "MicroVM {id} is {}. Resume it with ResumeMicrovm, or by a request to its endpoint, and try again.",
                microvm.state().text()
            ))),
            MicrovmState::Pending => Err(conflict(format!(
                "MicroVM {id} is PENDING. Try again when it is RUNNING."
            ))),
            MicrovmState::Terminating | MicrovmState::Terminated => Err(refusal::outside_lambda(
                Refusal::MicrovmTerminated(id).into(),
            )),
        }
    }
}

fn conflict(message: String) -> Fault {
    Fault::new(409, "ConflictException", message)
}
