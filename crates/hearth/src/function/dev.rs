//! `hearth function dev`: deploys a folder and invokes it, again on each change.
//!
//! Changes are found by looking: the time, size and mode of each file that would be packed, and of the event.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};
use bytes::Bytes;
use hearth_client::{Client, ClientError, InvokeRequest, InvokeWait};

use super::deploy::{self, Deployment};
use super::{invoke, source};
use crate::cli::function::DevArguments;
use crate::output::Unread;
use crate::pack::{self, Stamp};
use crate::shared::Shared;
use crate::{failure, output};

/// Pause between two looks at the folder.
const POLL: Duration = Duration::from_millis(250);

/// What is sent where no event is named.
const EMPTY_EVENT: &[u8] = b"{}";

pub(super) async fn run(
    shared: &Shared,
    client: &Client,
    arguments: &DevArguments,
) -> Result<ExitCode> {
    let name = deploy::named(arguments.name.as_ref(), &arguments.folder)?;
    if !arguments.folder.is_dir() {
        bail!("{} is no folder", arguments.folder.display());
    }
    let mut session = Session {
        shared,
        arguments,
        deployment: Deployment {
            client,
            name: &name,
            settings: &arguments.settings,
            bucket: &arguments.bucket,
        },
        deployed: None,
    };
    tokio::select! {
        ended = session.follow() => ended,
        // Without a handler Ctrl-C ends this process, which is as good.
        Ok(()) = tokio::signal::ctrl_c() => {
            eprintln!("{name} stays: `hearth function rm {name}` deletes it");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What was seen of the folder and of the event.
#[derive(Debug, PartialEq, Eq)]
struct Look {
    files: Vec<Stamp>,
    event: Option<(SystemTime, u64)>,
}

impl Look {
    /// `None` while a file goes or comes: the next look tells.
    fn at(folder: &Path, event: Option<&Path>) -> Option<Self> {
        let files = pack::function_stamps(folder).ok()?;
        let stamp = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        Some(Self {
            files,
            event: event.and_then(stamp),
        })
    }
}

struct Session<'a> {
    shared: &'a Shared,
    arguments: &'a DevArguments,
    deployment: Deployment<'a>,
    /// The zip that the function has.
    deployed: Option<Bytes>,
}

impl Session<'_> {
    /// One round for each change. Ends with a failure that no change of the folder mends.
    async fn follow(&mut self) -> Result<ExitCode> {
        let mut done: Option<Look> = None;
        loop {
            let look = self.settled_look().await?;
            if done.as_ref() != Some(&look) {
                let is_first = done.is_none();
                if let Err(error) = self.round().await {
                    if is_final(&error, is_first) {
                        return Err(error);
                    }
                    failure::tell(&error);
                }
                done = Some(look);
                eprintln!(
                    "waiting for a change of {}",
                    self.arguments.folder.display()
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The folder, once it has stayed the same for a moment: editors write in more than one step.
    async fn settled_look(&self) -> Result<Look> {
        let mut before = None;
        loop {
            if !self.arguments.folder.is_dir() {
                bail!("{} is gone", self.arguments.folder.display());
            }
            let look = Look::at(&self.arguments.folder, self.arguments.event.as_deref());
            match (before, look) {
                (Some(before), Some(look)) if before == look => return Ok(look),
                (_, look) => before = look,
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Deploys what has changed and invokes it.
    async fn round(&mut self) -> Result<()> {
        let payload = match &self.arguments.event {
            Some(path) => invoke::event_of_file(path)?,
            None => Bytes::from_static(EMPTY_EVENT),
        };
        invoke::check_json(&payload)?;
        self.deploy().await?;
        let request = InvokeRequest {
            function: self.deployment.name,
            qualifier: None,
            payload,
            wait: InvokeWait::AnswerAndLog,
        };
        let answer = self.deployment.client.invoke(request).await?;
        invoke::print_log(answer.log_tail.as_deref().unwrap_or_default());
        if self.shared.json {
            output::say(&invoke::described(&answer).to_string())?;
        } else {
            output::say(&String::from_utf8_lossy(&answer.payload))?;
        }
        match invoke::failed(&answer) {
            Some(failed) => Err(failed.into()),
            None => Ok(()),
        }
    }

    async fn deploy(&mut self) -> Result<()> {
        let code = source::read(&self.arguments.folder)?;
        if self.deployed.as_ref() == Some(&code.zip) {
            return Ok(());
        }
        if self.deployed.is_some() {
            self.deployment.update_code(&code).await?;
        } else {
            match self.deployment.wait().await {
                Ok(_) => {
                    self.deployment.update_code(&code).await?;
                    self.deployment.configure().await?;
                }
                Err(error) if is_missing(&error) => {
                    self.deployment.create(&code).await?;
                }
                Err(error) => return Err(error),
            }
        }
        self.deployed = Some(code.zip);
        Ok(())
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    let error: Option<&ClientError> = error.downcast_ref();
    error.is_some_and(ClientError::is_not_found)
}

/// Whether no change of the folder mends it: nobody reads the answers, or there is no service to begin with.
fn is_final(error: &anyhow::Error, is_first: bool) -> bool {
    let no_service = matches!(error.downcast_ref(), Some(ClientError::Connect { .. }));
    error.downcast_ref::<Unread>().is_some() || (is_first && no_service)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_look_tells_changes_of_code_and_event() {
        let folder = tempfile::tempdir().unwrap();
        let events = tempfile::tempdir().unwrap();
        let event = events.path().join("event.json");
        fs::write(folder.path().join("a.py"), "1").unwrap();
        let look = || Look::at(folder.path(), Some(&event)).unwrap();
        let first = look();
        assert_eq!(look(), first);
        fs::write(&event, "{}").unwrap();
        let second = look();
        assert_ne!(second, first);
        fs::write(folder.path().join("a.py"), "12").unwrap();
        assert_ne!(look(), second);
        assert_eq!(Look::at(&folder.path().join("gone"), None), None);
    }

    #[test]
    fn only_what_cannot_be_mended_ends_it() {
        let connect = || {
            anyhow::Error::from(ClientError::Connect {
                address: "x".to_owned(),
                source: std::io::ErrorKind::ConnectionRefused.into(),
            })
        };
        assert!(is_final(&connect(), true) && !is_final(&connect(), false));
        assert!(is_final(&Unread.into(), false));
        assert!(!is_final(&anyhow::anyhow!("a mistake"), true));
    }
}
