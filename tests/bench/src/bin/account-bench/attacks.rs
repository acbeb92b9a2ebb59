//! What the other account does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use clap::ValueEnum;
use http::Method;
use jiff::Timestamp;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::request::{Account, Call, member};
use crate::victim::{begin_image, create_image, lambda};

const STREAM: &str = "flood";

/// Events of one call, which is the most.
const EVENTS: usize = 10_000;
/// Calls that fill the group which is looked through: with as many events as one search looks at.
const FILLED_CALLS: usize = 5;

/// A pause of whoever fills it faster than an account may.
const FILL_PAUSE: Duration = Duration::from_millis(200);

/// An object that is copied.
const OBJECT_BYTES: usize = 32 << 20;

/// What is offered of a form.
const FORM_BYTES: usize = 64 << 20;

/// A pause of whoever was refused: without it an attack is of the attacker's processor.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// A connection that lives for so long was taken.
const TAKEN: Duration = Duration::from_millis(500);

/// How long a connection that says nothing is held.
const HELD: Duration = Duration::from_secs(60);

/// An attack. Those of guests (memory, names, the host's table of connections) are of the emulated host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attack {
    Idle,
    /// Forms of browsers, with a key's id alone.
    Forms,
    /// Ten thousand events a call.
    LogFlood,
    /// Searches that find nothing, in a group of fifty thousand events.
    LogScan,
    /// Copies of an object of 32 MiB.
    Copies,
    /// Bodies that come a byte a second.
    SlowBodies,
    /// Followers of a microVM's output.
    Followers,
    /// Images, one after another.
    Builds,
    /// Connections that say nothing.
    Connections,
    /// Every one of these at once.
    All,
}

impl Attack {
    pub(crate) const ALL: [Self; 10] = [
        Self::Idle,
        Self::Forms,
        Self::LogFlood,
        Self::LogScan,
        Self::Copies,
        Self::SlowBodies,
        Self::Followers,
        Self::Builds,
        Self::Connections,
        Self::All,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Forms => "forms",
            Self::LogFlood => "log floods",
            Self::LogScan => "log scans",
            Self::Copies => "copies",
            Self::SlowBodies => "slow bodies",
            Self::Followers => "followers",
            Self::Builds => "builds",
            Self::Connections => "connections",
            Self::All => "all at once",
        }
    }

    /// What it is made of.
    fn parts(self) -> Vec<Self> {
        let is_part = |part: &Self| !matches!(part, Self::Idle | Self::All);
        match self {
            Self::All => Self::ALL.into_iter().filter(is_part).collect(),
            part => vec![part],
        }
    }

    /// How many do it at a time.
    fn attackers(self) -> usize {
        match self {
            Self::Idle | Self::All => 0,
            Self::Forms | Self::LogFlood | Self::Builds => 8,
            Self::LogScan => 16,
            Self::Copies => 32,
            Self::SlowBodies | Self::Followers => 100,
            // More than one address may have.
            Self::Connections => 200,
        }
    }
}

/// Attackers at work, on a thread of their own: what they compute is no delay of whoever measures.
pub(crate) struct Attackers {
    runtime: Option<Runtime>,
    works: Vec<(Attack, Arc<AtomicU64>)>,
}

/// What an attack is about.
#[derive(Debug, Clone, Default)]
struct Subject {
    microvm: String,
    /// The body of a call with the most events.
    events: Bytes,
}

impl Attackers {
    /// Makes what the attack needs, and begins.
    pub(crate) async fn start(attack: Attack, account: &Account) -> Result<Self> {
        let mut attackers = Self {
            runtime: None,
            works: Vec::new(),
        };
        let mut begun = Vec::new();
        for part in attack.parts() {
            let subject = prepare(part, account).await?;
            let done = Arc::new(AtomicU64::new(0));
            attackers.works.push((part, Arc::clone(&done)));
            begun.push((part, subject, done));
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_start(give_way)
            .enable_all()
            .build()?;
        for (part, subject, done) in begun {
            for number in 0..part.attackers() {
                let (account, subject, done) =
                    (account.clone(), subject.clone(), Arc::clone(&done));
                runtime.spawn(async move {
                    loop {
                        // A refusal is what an attack gets. It goes on.
                        if once(part, &account, &subject, number, &done).await.is_err() {
                            tokio::time::sleep(REFUSED_PAUSE).await;
                        }
                    }
                });
            }
        }
        attackers.runtime = Some(runtime);
        Ok(attackers)
    }

    /// Ends it; answers what was done by each part: calls, or bytes or connections that were taken.
    pub(crate) fn stop(mut self) -> Vec<(Attack, f64)> {
        self.end();
        let works = std::mem::take(&mut self.works);
        let works = works.into_iter();
        works
            .map(|(part, done)| (part, done.load(Ordering::Relaxed) as f64))
            .collect()
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        self.end();
    }
}

/// An attacker is somewhere else: what it computes to attack must not be what its victim waits for on this machine.
fn give_way() {
    const LAST: i32 = 19;
    // Of none but the thread that asks. Without it the figures are worse.
    let _ = rustix::process::setpriority_process(None, LAST);
}

async fn prepare(attack: Attack, account: &Account) -> Result<Subject> {
    let mut subject = Subject::default();
    match attack {
        Attack::LogFlood | Attack::LogScan => {
            // Apart, so that a flood does not make the scan's group longer.
            let group = json!({"logGroupName": group(attack)});
            account.logs("CreateLogGroup", &group).await?;
            let named = json!({"logGroupName": group["logGroupName"], "logStreamName": STREAM});
            account.logs("CreateLogStream", &named).await?;
            let now = Timestamp::now().as_millisecond();
            let mut input = named;
            input["logEvents"] = json!(vec![json!({"timestamp": now, "message": "x"}); EVENTS]);
            // Made once: to make it costs more than to send it.
            subject.events = input.to_string().into();
            if attack == Attack::LogScan {
                for _ in 0..FILLED_CALLS {
                    while account.put_events(&subject.events).await.is_err() {
                        tokio::time::sleep(FILL_PAUSE).await;
                    }
                }
            }
        }
        Attack::Copies => {
            for (path, body) in [
                ("/attacker", Bytes::new()),
                ("/attacker/large", vec![1; OBJECT_BYTES].into()),
            ] {
                account.call(Call::s3(Method::PUT, path, body)).await?;
            }
        }
        Attack::Followers => {
            let image = create_image(account, "followed").await?;
            let input = json!({"imageIdentifier": image});
            let run = lambda(Method::POST, "/2025-09-09/microvms", Some(&input));
            subject.microvm = member(&account.call(run).await?, "microvmId")?;
        }
        _ => {}
    }
    Ok(subject)
}

fn group(attack: Attack) -> &'static str {
    match attack {
        Attack::LogScan => "/attacker/scanned",
        _ => "/attacker/flooded",
    }
}

/// One step of one attacker.
async fn once(
    attack: Attack,
    account: &Account,
    subject: &Subject,
    number: usize,
    done: &AtomicU64,
) -> Result<()> {
    let count = |work: usize| {
        done.fetch_add(work as u64, Ordering::Relaxed);
    };
    match attack {
        Attack::Idle | Attack::All => {}
        Attack::Forms => form(account, &count).await?,
        Attack::LogFlood => {
            account.put_events(&subject.events).await?;
            count(EVENTS);
        }
        Attack::LogScan => {
            let vain = json!({
                "logGroupName": group(attack), "logStreamNamePrefix": "zzz", "filterPattern": "y"
            });
            account.logs("FilterLogEvents", &vain).await?;
            count(1);
        }
        Attack::Copies => {
            let path = format!("/attacker/copy-{number}");
            let call = Call {
                headers: &[("x-amz-copy-source", "/attacker/large")],
                ..Call::s3(Method::PUT, &path, Bytes::new())
            };
            account.call(call).await?;
            count(1);
        }
        Attack::SlowBodies => slow_body(account, &count).await?,
        Attack::Followers => {
            let microvm = &subject.microvm;
            let path = format!("/hearth/v1/microvms/{microvm}/logs?follow=true");
            let head = account.head(&lambda(Method::GET, &path, None))?;
            hold(account, &format!("{head}\r\n"), &count).await?;
        }
        Attack::Builds => {
            let name = format!("image-{number}-{}", done.load(Ordering::Relaxed));
            begin_image(account, &name).await?;
            count(1);
        }
        Attack::Connections => hold(account, "", &count).await?,
    }
    Ok(())
}

/// Offers the file of a form until somebody answers. The work is in bytes that were taken.
async fn form(account: &Account, count: &impl Fn(usize)) -> Result<()> {
    let head = format!(
        "POST /bucket?AWSAccessKeyId={} HTTP/1.1\r\nhost: {}\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: {}\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n",
        account.key_id, account.host, FORM_BYTES
    );
    let stream = account.connect().await?;
    let (mut from, mut to) = stream.into_split();
    to.write_all(head.as_bytes()).await?;
    let piece = vec![0; 64 << 10];
    let pouring = async {
        for _ in 0..FORM_BYTES / piece.len() {
            to.write_all(&piece).await?;
            count(piece.len());
        }
        anyhow::Ok(())
    };
    let mut answer = [0; 1];
    tokio::select! {
        poured = pouring => poured,
        read = from.read(&mut answer) => {
            // What is refused at once is work of one byte: an attack was made.
            count(read?);
            tokio::time::sleep(REFUSED_PAUSE).await;
            Ok(())
        }
    }
}

/// An input that comes a byte a second, from somebody who may make it.
async fn slow_body(account: &Account, count: &impl Fn(usize)) -> Result<()> {
    let body = vec![b' '; 1 << 20];
    let length = body.len().to_string();
    let call = Call {
        headers: &[
            ("content-type", "application/json"),
            ("content-length", &length),
        ],
        body: body.clone().into(),
        ..lambda(Method::POST, "/2025-09-09/microvms", None)
    };
    let head = account.head(&call)?;
    let mut stream = account.connect().await?;
    stream.write_all(format!("{head}\r\n").as_bytes()).await?;
    // All but a little at once: what is held counts.
    stream.write_all(&body[..body.len() - 100]).await?;
    for _ in 0..100 {
        stream.write_all(b" ").await?;
        count(1);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Says this on a connection, and holds it as long as the other side does.
async fn hold(account: &Account, request: &str, count: &impl Fn(usize)) -> Result<()> {
    let mut stream = account.connect().await?;
    stream.write_all(request.as_bytes()).await?;
    let mut nothing = [0; 4096];
    let mut held = std::pin::pin!(async {
        while stream.read(&mut nothing).await.is_ok_and(|read| read > 0) {}
    });
    // One that is ended at once was not taken.
    if timeout(TAKEN, &mut held).await.is_err() {
        count(1);
        let _ = timeout(HELD, held).await;
    }
    tokio::time::sleep(REFUSED_PAUSE).await;
    Ok(())
}
