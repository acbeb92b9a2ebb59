//! What the state machine does about calls of programs.

use std::time::Duration;

use bytes::Bytes;

use super::messages::{Call, CallId, ExtensionEvents, Reply, ResponseBody, StreamEnd};
use super::{ApiRefusal, Effect, Failure, Life, Phase, RuntimeState, Verdict};
use crate::records::Record;

impl Life {
    pub(super) fn call(&mut self, now: Duration, id: CallId, call: Call) {
        match call {
            Call::Next => self.next(now, id),
            Call::Response { request_id, body } => self.response(now, id, &request_id, body),
            Call::Stream { request_id } => self.stream(id, &request_id),
            Call::Error {
                request_id,
                error_type,
                payload,
            } => self.error(now, id, &request_id, error_type, payload),
            Call::InitError {
                error_type,
                payload,
            } => self.init_error(now, id, error_type, payload),
            Call::Register {
                name,
                events,
                identifier,
            } => self.register(id, &name, events, identifier),
            Call::ExtensionNext { identifier } => self.extension_next(now, id, &identifier),
            Call::ExtensionError {
                identifier,
                error_type,
            } => self.extension_error(now, id, &identifier, error_type),
        }
    }

    fn refuse(&mut self, id: CallId, refusal: ApiRefusal) {
        self.push(Effect::Reply(id, Reply::Refused(refusal)));
    }

    /// The runtime's state, for calls that only a runtime may make.
    fn runtime_state(&self) -> Option<RuntimeState> {
        self.runtime.as_ref().map(|runtime| runtime.state)
    }

    fn set_runtime_state(&mut self, state: RuntimeState) {
        if let Some(runtime) = &mut self.runtime {
            runtime.state = state;
        }
    }

    fn refuse_transition(&mut self, id: CallId, to: &'static str) {
        let from = self.runtime_state().map_or("Exited", RuntimeState::name);
        self.refuse(id, ApiRefusal::InvalidTransition { from, to });
    }

    fn next(&mut self, now: Duration, id: CallId) {
        match self.runtime_state() {
            Some(RuntimeState::Started | RuntimeState::Absent) => {}
            Some(RuntimeState::ResponseSent | RuntimeState::ErrorSent) => {}
            // Its connection has broken and nobody has told us yet, or a fork of it asks as well: the newest counts.
            Some(RuntimeState::Ready(older)) => {
                let (from, to) = ("Ready", "Ready");
                self.refuse(older, ApiRefusal::InvalidTransition { from, to });
            }
            _ => return self.refuse_transition(id, "Ready"),
        }
        self.set_runtime_state(RuntimeState::Ready(id));
        self.end_init_in_turn(now);
        self.end_invocation_in_turn(now);
    }

    /// Whether this call may answer the present invocation. Refuses it otherwise.
    fn may_answer(&mut self, id: CallId, request_id: &str, to: &'static str) -> bool {
        let current = self.current.as_ref();
        let is_current = current.is_some_and(|current| current.job.request_id == request_id);
        if !is_current {
            self.refuse(id, ApiRefusal::InvalidRequestId);
            return false;
        }
        if self.runtime_state() != Some(RuntimeState::Running) {
            self.refuse_transition(id, to);
            return false;
        }
        true
    }

    fn response(&mut self, now: Duration, id: CallId, request_id: &str, body: ResponseBody) {
        if !self.may_answer(id, request_id, "InvocationResponse") {
            return;
        }
        self.set_runtime_state(RuntimeState::ResponseSent);
        let (reply, verdict) = match body {
            ResponseBody::Whole(body, content_type) => {
                (Reply::Accepted, Verdict::Response { body, content_type })
            }
            ResponseBody::TooLarge => (
                Reply::Refused(ApiRefusal::TooLarge),
                Verdict::Failed(Failure::TooLarge),
            ),
            ResponseBody::Truncated => (
                Reply::Refused(ApiRefusal::Truncated),
                Verdict::Failed(Failure::Truncated),
            ),
        };
        self.push(Effect::Reply(id, reply));
        self.conclude(verdict);
        self.end_invocation_in_turn(now);
    }

    fn stream(&mut self, id: CallId, request_id: &str) {
        if self.may_answer(id, request_id, "InvocationResponse") {
            self.set_runtime_state(RuntimeState::Responding(id));
            self.push(Effect::Reply(id, Reply::Stream));
        }
    }

    pub(super) fn stream_ended(&mut self, now: Duration, id: CallId, end: StreamEnd) {
        if self.runtime_state() != Some(RuntimeState::Responding(id)) {
            return;
        }
        self.set_runtime_state(RuntimeState::ResponseSent);
        let verdict = match end {
            StreamEnd::Whole => Verdict::Streamed,
            StreamEnd::Failed {
                error_type,
                payload,
            } => Verdict::Failed(Failure::Reported {
                error_type,
                payload,
            }),
            StreamEnd::TooLarge => Verdict::Failed(Failure::TooLarge),
            StreamEnd::Truncated => Verdict::Failed(Failure::Truncated),
        };
        self.conclude(verdict);
        self.end_invocation_in_turn(now);
    }

    fn error(
        &mut self,
        now: Duration,
        id: CallId,
        request_id: &str,
        error_type: String,
        payload: Bytes,
    ) {
        if !self.may_answer(id, request_id, "InvocationErrorResponse") {
            return;
        }
        self.set_runtime_state(RuntimeState::ErrorSent);
        self.push(Effect::Reply(id, Reply::Accepted));
        self.conclude(Verdict::Failed(Failure::Reported {
            error_type,
            payload,
        }));
        self.end_invocation_in_turn(now);
    }

    fn init_error(&mut self, now: Duration, id: CallId, error_type: String, payload: Bytes) {
        if self.runtime_state() != Some(RuntimeState::Started) || !self.is_initializing() {
            return self.refuse_transition(id, "InitError");
        }
        self.set_runtime_state(RuntimeState::InitError);
        self.push(Effect::Reply(id, Reply::Accepted));
        self.fail(
            now,
            Failure::Reported {
                error_type,
                payload,
            },
        );
    }

    fn register(&mut self, id: CallId, name: &str, events: ExtensionEvents, identifier: String) {
        let registered = if self.is_initializing() {
            self.extensions.register(name, events, identifier)
        } else {
            Err(ApiRefusal::RegistrationClosed)
        };
        match registered {
            Ok(identifier) => {
                self.push(Effect::Reply(id, Reply::Registered(identifier)));
                self.start_runtime_in_turn();
            }
            Err(refusal) => self.refuse(id, refusal),
        }
    }

    fn extension_next(&mut self, now: Duration, id: CallId, identifier: &str) {
        match self.extensions.next(id, identifier) {
            Ok(older) => {
                if let Some(older) = older {
                    self.refuse(older, ApiRefusal::InvalidExtensionState("Ready"));
                }
                // In a shutdown nothing more comes: it is expected to exit.
                if !matches!(self.phase, Phase::Resetting(_) | Phase::ShuttingDown { .. }) {
                    self.end_init_in_turn(now);
                    self.end_invocation_in_turn(now);
                }
            }
            Err(refusal) => self.refuse(id, refusal),
        }
    }

    fn extension_error(&mut self, now: Duration, id: CallId, identifier: &str, error_type: String) {
        let name = match self.extensions.name_of(identifier) {
            Ok(name) => name,
            Err(refusal) => return self.refuse(id, refusal),
        };
        self.push(Effect::Reply(id, Reply::Accepted));
        self.push(Effect::Log(Record::Extension {
            name,
            state: "Error",
            events: Vec::new(),
            error_type: Some(error_type.clone()),
        }));
        match self.phase {
            Phase::Initializing(_) | Phase::Invoking { .. } | Phase::Idle => {
                self.fail(now, Failure::ExtensionReported(error_type));
            }
            _ => {}
        }
    }

    pub(super) fn call_gone(&mut self, id: CallId) {
        if self.runtime_state() == Some(RuntimeState::Ready(id)) {
            self.set_runtime_state(RuntimeState::Absent);
        }
        self.extensions.call_gone(id);
    }
}
