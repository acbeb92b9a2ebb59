//! The extensions of one environment.
//!
//! External extensions are programs of `/opt/extensions`. Internal ones live in the runtime's process, and are known
//! only by their registration.

use std::time::Duration;

use super::messages::{CallId, ExtensionEvents, Reply, ShutdownReason};
use super::{ApiRefusal, Effect};
use crate::environment::{ProgramId, Signal};
use crate::limits::MAX_EXTENSIONS;
use crate::records::Record;

#[derive(Debug, Default)]
pub(super) struct Extensions {
    all: Vec<Extension>,
}

#[derive(Debug)]
struct Extension {
    name: String,
    is_external: bool,
    program: Option<ProgramId>,
    is_running: bool,
    registration: Option<Registration>,
    state: State,
}

#[derive(Debug)]
struct Registration {
    identifier: String,
    events: ExtensionEvents,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It has not asked for an event yet.
    Starting,
    /// It waits with this call.
    Ready(CallId),
    /// It waited, and its connection has broken.
    Absent,
    /// It has an event.
    Working,
}

impl Extension {
    fn wants_invoke(&self) -> bool {
        let registration = self.registration.as_ref();
        registration.is_some_and(|registration| registration.events.invoke)
    }

    /// Whether it holds up the end of an init or of an invocation.
    fn is_ready(&self) -> bool {
        match self.state {
            State::Ready(_) => true,
            State::Starting | State::Absent => false,
            State::Working => !self.wants_invoke(),
        }
    }
}

impl Extensions {
    pub(super) fn of_external(names: &[String]) -> Self {
        let external = |name: &String| Extension {
            name: name.clone(),
            is_external: true,
            program: None,
            is_running: true,
            registration: None,
            state: State::Starting,
        };
        Self {
            all: names.iter().map(external).collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn any_external(&self) -> bool {
        self.all.iter().any(|extension| extension.is_external)
    }

    /// Whether the program of an external extension runs.
    pub(super) fn any_running(&self) -> bool {
        let mut external = self.all.iter().filter(|extension| extension.is_external);
        external.any(|extension| extension.is_running)
    }

    pub(super) fn all_registered(&self) -> bool {
        let mut all = self.all.iter();
        all.all(|extension| extension.registration.is_some())
    }

    pub(super) fn all_ready(&self) -> bool {
        self.all.iter().all(Extension::is_ready)
    }

    /// Notes which program an extension is. Returns whether that was expected.
    pub(super) fn spawned(&mut self, name: &str, program: ProgramId) -> bool {
        let mut waiting = self.all.iter_mut().filter(|extension| {
            extension.is_external && extension.name == name && extension.program.is_none()
        });
        match waiting.next() {
            Some(extension) => {
                extension.program = Some(program);
                true
            }
            None => false,
        }
    }

    /// Notes the end of a program. Returns whether it was one of these.
    pub(super) fn ended(&mut self, program: ProgramId) -> bool {
        let mut all = self.all.iter_mut();
        match all.find(|extension| extension.program == Some(program)) {
            Some(extension) => {
                extension.is_running = false;
                true
            }
            None => false,
        }
    }

    pub(super) fn register(
        &mut self,
        name: &str,
        events: ExtensionEvents,
        identifier: String,
    ) -> Result<String, ApiRefusal> {
        let registration = Some(Registration {
            identifier: identifier.clone(),
            events,
        });
        if let Some(known) = self.all.iter_mut().find(|known| known.name == name) {
            if known.registration.is_some() {
                return Err(ApiRefusal::InvalidExtensionState("Registered"));
            }
            known.registration = registration;
            return Ok(identifier);
        }
        if events.shutdown {
            // The runtime's process has gone before SHUTDOWN comes.
            return Err(ApiRefusal::InvalidEventType("SHUTDOWN".to_owned()));
        }
        if self.all.len() >= MAX_EXTENSIONS {
            return Err(ApiRefusal::TooManyExtensions);
        }
        self.all.push(Extension {
            name: name.to_owned(),
            is_external: false,
            program: None,
            is_running: true,
            registration,
            state: State::Starting,
        });
        Ok(identifier)
    }

    fn by_identifier(&mut self, identifier: &str) -> Result<&mut Extension, ApiRefusal> {
        let mut all = self.all.iter_mut();
        let found = all.find(|extension| {
            let registration = extension.registration.as_ref();
            registration.is_some_and(|registration| registration.identifier == identifier)
        });
        found.ok_or(ApiRefusal::UnknownIdentifier)
    }

    pub(super) fn name_of(&mut self, identifier: &str) -> Result<String, ApiRefusal> {
        Ok(self.by_identifier(identifier)?.name.clone())
    }

    /// The extension waits for an event. Returns the call that waited before.
    pub(super) fn next(
        &mut self,
        call: CallId,
        identifier: &str,
    ) -> Result<Option<CallId>, ApiRefusal> {
        let extension = self.by_identifier(identifier)?;
        let before = std::mem::replace(&mut extension.state, State::Ready(call));
        Ok(match before {
            State::Ready(older) => Some(older),
            _ => None,
        })
    }

    pub(super) fn call_gone(&mut self, call: CallId) {
        for extension in &mut self.all {
            if extension.state == State::Ready(call) {
                extension.state = State::Absent;
            }
        }
    }

    /// The calls of those that get the event of an invocation.
    pub(super) fn deliver_invoke(&mut self) -> Vec<CallId> {
        let mut calls = Vec::new();
        for extension in self.all.iter_mut().filter(|one| one.wants_invoke()) {
            if let State::Ready(call) = extension.state {
                calls.push(call);
            }
            extension.state = State::Working;
        }
        calls
    }

    pub(super) fn ready_records(&self) -> Vec<Record> {
        let record = |extension: &Extension| Record::Extension {
            name: extension.name.clone(),
            state: "Ready",
            events: extension
                .registration
                .as_ref()
                .map_or_else(Vec::new, |registration| registration.events.names()),
            error_type: None,
        };
        self.all.iter().map(record).collect()
    }

    /// Tells those that want to know of the end, and kills the others.
    pub(super) fn shut_down(&mut self, reason: ShutdownReason, until: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        for extension in self.all.iter_mut().filter(|one| one.is_running) {
            let registration = extension.registration.as_ref();
            let wants_it = registration.is_some_and(|registration| registration.events.shutdown);
            match (wants_it, extension.state) {
                (true, State::Ready(call)) => {
                    extension.state = State::Working;
                    let reply = Reply::ExtensionShutdown(reason, until);
                    effects.push(Effect::Reply(call, reply));
                }
                _ if extension.is_external => {
                    extension.is_running = false;
                    let program = extension.program;
                    effects.extend(program.map(|program| Effect::Signal(program, Signal::Kill)));
                }
                _ => {}
            }
        }
        effects
    }

    /// Kills what still runs and forgets all.
    pub(super) fn kill_all(&mut self) -> Vec<Effect> {
        let running = std::mem::take(&mut self.all).into_iter();
        running
            .filter(|extension| extension.is_running)
            .filter_map(|extension| Some(Effect::Signal(extension.program?, Signal::Kill)))
            .collect()
    }
}
