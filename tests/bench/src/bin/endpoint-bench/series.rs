//! What is measured, of each subject in turn.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::stream;
use http_body_util::{Empty, StreamBody};
use hyper::body::Frame;

use crate::client::{Content, Subject, Version};
use hearth_bench::Samples;

/// Requests before anything is measured: connections are made, code and caches are warm.
const WARM_UP: usize = 100;

/// Connections at one time.
const CONNECTIONS: [usize; 3] = [1, 16, 64];

/// Bytes that are sent at a time.
const PIECE_BYTES: usize = 64 * 1024;

fn nothing() -> Content {
    Content::new(Empty::new())
}

fn pattern(bytes: u64) -> Content {
    let piece = Bytes::from(vec![b'x'; PIECE_BYTES]);
    let pieces = stream::unfold(bytes, move |left| {
        let now = piece.slice(..left.min(PIECE_BYTES as u64) as usize);
        let next = (left > 0).then(|| {
            let frame = Ok::<_, Infallible>(Frame::data(now.clone()));
            (frame, left - now.len() as u64)
        });
        std::future::ready(next)
    });
    Content::new(StreamBody::new(pieces))
}

/// Small requests one after another over a kept connection, and what each proxy adds to the one that went
/// directly right before.
pub(crate) async fn latency(
    subjects: &[Subject],
    version: Version,
    requests: usize,
    samples: &mut Samples,
) -> Result<()> {
    // What speaks HTTP/2 is compared with the application over HTTP/1.1, which is what it speaks.
    let mut connections = Vec::new();
    for subject in subjects {
        let spoken = if subject.speaks(version) {
            version
        } else {
            Version::Http1
        };
        connections.push((subject, subject.connect(spoken).await?));
    }
    for number in 0..WARM_UP + requests {
        let mut direct_us = None;
        for (subject, connection) in &mut connections {
            let begun = Instant::now();
            subject.ask(connection, "GET", "/", nothing()).await?;
            let us = begun.elapsed().as_secs_f64() * 1e6;
            if number < WARM_UP {
                continue;
            }
            let parameter = version.to_string();
            match direct_us {
                None => direct_us = Some(us),
                Some(direct_us) => {
                    samples.add("added_us", subject.name, &parameter, us - direct_us);
                }
            }
            if subject.speaks(version) {
                samples.add("request_us", subject.name, &parameter, us);
            }
        }
    }
    Ok(())
}

/// Large bodies, one at a time.
pub(crate) async fn transfers(
    subjects: &[Subject],
    version: Version,
    bytes: u64,
    rounds: usize,
    samples: &mut Samples,
) -> Result<()> {
    let mib_s = |begun: Instant| bytes as f64 / 1_048_576.0 / begun.elapsed().as_secs_f64();
    let down = format!("/source/{bytes}");
    for _ in 0..rounds {
        for subject in subjects.iter().filter(|subject| subject.speaks(version)) {
            let mut connection = subject.connect(version).await?;
            let parameter = version.to_string();
            let begun = Instant::now();
            let came = subject.ask(&mut connection, "GET", &down, nothing());
            ensure!(came.await? == bytes, "bytes are missing");
            samples.add("download_mib_s", subject.name, &parameter, mib_s(begun));
            let begun = Instant::now();
            let told = subject.ask(&mut connection, "POST", "/sink", pattern(bytes));
            // How many bytes it has read.
            let digits = bytes.to_string().len() as u64;
            ensure!(told.await? == digits, "bytes are missing");
            samples.add("upload_mib_s", subject.name, &parameter, mib_s(begun));
        }
    }
    Ok(())
}

/// Small requests over many connections of HTTP/1.1 at one time, each one after another.
pub(crate) async fn rates(
    subjects: &[Subject],
    window: Duration,
    rounds: usize,
    samples: &mut Samples,
) -> Result<()> {
    for count in CONNECTIONS {
        for _ in 0..rounds {
            for subject in subjects {
                let rate = rate(subject, count, window).await?;
                let parameter = format!("{count} conn");
                samples.add("requests_per_s", subject.name, &parameter, rate);
            }
        }
    }
    Ok(())
}

async fn rate(subject: &Subject, count: usize, window: Duration) -> Result<f64> {
    let connecting = (0..count).map(|_| subject.connect(Version::Http1));
    let connections = try_join_all(connecting).await?;
    let begun = Instant::now();
    let asking = connections.into_iter().map(|mut connection| async move {
        let mut answers = 0_u32;
        while begun.elapsed() < window {
            subject.ask(&mut connection, "GET", "/", nothing()).await?;
            answers += 1;
        }
        anyhow::Ok(answers)
    });
    let answers: u32 = try_join_all(asking).await?.into_iter().sum();
    Ok(f64::from(answers) / begun.elapsed().as_secs_f64())
}
