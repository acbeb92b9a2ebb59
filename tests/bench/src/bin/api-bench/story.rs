//! What is measured: each operation alone, and many at a time, with ever more records.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use hearth_bench::Samples;

use crate::arguments::Arguments;
use crate::caller::Caller;
use crate::front::Front;

/// Callers at a time where calls a second are counted.
const CALLERS: usize = 16;
/// How long is counted, and how often.
const COUNTED: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;

/// An operation that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Get,
    List,
    Run,
}

impl Operation {
    const ALL: [Self; 3] = [Self::Get, Self::List, Self::Run];

    fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Run => "run",
        }
    }
}

/// What callers call with.
#[derive(Clone, Copy)]
struct Subject<'a> {
    image: &'a str,
    microvm: &'a str,
}

/// Measures a front that remembers so many microVMs; launches come last, as they make more.
pub(crate) async fn measure(
    front: &Front,
    records: usize,
    arguments: &Arguments,
    samples: &mut Samples,
) -> Result<()> {
    let mut caller = Caller::connect(front).await?;
    let image = caller.create_image("measured").await?;
    while caller.image_state(&image).await? != "CREATED" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let microvm = caller.run(&image).await?;
    let subject = Subject {
        image: &image,
        microvm: &microvm,
    };
    remember(front, subject, records.saturating_sub(1)).await?;
    let parameter = format!("{records} records");
    for operation in Operation::ALL {
        for _ in 0..arguments.calls {
            let began = Instant::now();
            let made = call(&mut caller, operation, subject).await?;
            let ms = began.elapsed().as_secs_f64() * 1e3;
            samples.add("call_ms", operation.name(), &parameter, ms);
            end(&mut caller, made).await?;
        }
        for _ in 0..ROUNDS {
            let rate = rate(front, operation, subject).await?;
            samples.add("calls_per_s", operation.name(), &parameter, rate);
        }
    }
    Ok(())
}

/// Makes one call; answers the microVM that it made.
async fn call(
    caller: &mut Caller<'_>,
    operation: Operation,
    subject: Subject<'_>,
) -> Result<Option<String>> {
    match operation {
        Operation::Get => caller.get(subject.microvm).await.map(|()| None),
        Operation::List => caller.list().await.map(|()| None),
        Operation::Run => caller.run(subject.image).await.map(Some),
    }
}

async fn end(caller: &mut Caller<'_>, microvm: Option<String>) -> Result<()> {
    match microvm {
        Some(microvm) => caller.terminate(&microvm).await,
        None => Ok(()),
    }
}

/// Calls a second of many callers. A launch counts with the termination that follows it.
async fn rate(front: &Front, operation: Operation, subject: Subject<'_>) -> Result<f64> {
    let began = Instant::now();
    let calls = AtomicUsize::new(0);
    let callers = (0..CALLERS).map(async |_| {
        let mut caller = Caller::connect(front).await?;
        while began.elapsed() < COUNTED {
            let made = call(&mut caller, operation, subject).await?;
            end(&mut caller, made).await?;
            calls.fetch_add(1, Ordering::Relaxed);
        }
        anyhow::Ok(())
    });
    futures_util::future::try_join_all(callers).await?;
    Ok(calls.into_inner() as f64 / began.elapsed().as_secs_f64())
}

/// Makes records of microVMs that ran and ended: so many that none of them is in the way of another.
async fn remember(front: &Front, subject: Subject<'_>, count: usize) -> Result<()> {
    let left = AtomicUsize::new(count);
    let callers = (0..CALLERS).map(async |_| {
        let mut caller = Caller::connect(front).await?;
        let take = |left: usize| left.checked_sub(1);
        while left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
        {
            let microvm = caller.run(subject.image).await?;
            caller.terminate(&microvm).await?;
        }
        anyhow::Ok(())
    });
    futures_util::future::try_join_all(callers).await?;
    Ok(())
}
