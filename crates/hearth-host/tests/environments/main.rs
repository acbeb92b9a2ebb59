//! Functions in microVMs: a runtime that was really built, and the official interface client in it.
//!
//! Run by `cargo xtask test` (or `lab-test`), which provides kernel, initramfs, `hearth-vmm` and the runtime.
#![expect(clippy::unwrap_used, reason = "tests")]

mod fixture;
mod runtime_api;

use std::time::{Duration, Instant};

use hearth_invoke::{OutputSource, ProgramEnd, Signal, SpawnError, StartError};
use serde_json::{Value, json};

use fixture::{Fixture, spec};

/// Says who it is: what was random at its import, and what it sees.
const WHO: &str = r#"
import json, os, secrets, sys, uuid
import part
AT_IMPORT = [secrets.token_hex(16), str(uuid.uuid4()), open("/proc/sys/kernel/random/boot_id").read().strip()]
print("imported")
def handler(event, context):
    print("a line\nand another", file=sys.stderr)
    def writes(path):
        try:
            open(path, "w").write("x")
            return True
        except OSError:
            return False
    size = os.statvfs("/tmp")
    return {
        "event": event, "at_import": AT_IMPORT, "part": part.WORD, "uid": os.getuid(),
        "writes": [path for path in ("/tmp/x", "/var/task/x", "/opt/x", "/x", "/dev/shm/x") if writes(path)],
        "tmp_mb": size.f_blocks * size.f_frsize // 2**20, "cwd": os.getcwd(),
        "request": context.aws_request_id, "user": os.environ["OWN"],
    }
"#;

#[tokio::test]
async fn two_environments_answer_and_differ() {
    let fixture = Fixture::new();
    let code = fixture.zip("code", &[("app.py", WHO)]);
    let layers = [
        fixture.zip("lower", &[("python/part.py", "WORD = 'lower'")]),
        fixture.zip("upper", &[("python/part.py", "WORD = 'upper'")]),
    ];
    let spec = spec(code, layers.to_vec());
    let mut answers = Vec::new();
    for number in 0..2 {
        let began = Instant::now();
        let running = fixture.start(&spec).await.unwrap();
        let started = began.elapsed();
        let mut api = running.bootstrap().await;
        let answer: Value = api.invoke(json!({ "number": number })).await;
        println!(
            "started in {started:?}, answered after {:?}",
            began.elapsed()
        );
        assert_eq!(answer["event"]["number"], number);
        assert_eq!(answer["request"], "request-1");
        assert_eq!(answer["part"], "upper");
        assert_eq!(
            (&answer["uid"], &answer["cwd"]),
            (&json!(993), &json!("/var/task"))
        );
        assert_eq!(answer["writes"], json!(["/tmp/x"]));
        assert_eq!(answer["user"], "variable");
        let tmp_mb = answer["tmp_mb"].as_u64().unwrap();
        assert!((900..=1024).contains(&tmp_mb), "{tmp_mb}");

        // Between invocations nothing runs; it answers as if nothing had been.
        running.environment.pause().await;
        running.environment.pause().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        running.environment.unpause().await;
        let again = api.invoke(json!({})).await;
        assert_eq!(
            again["at_import"], answer["at_import"],
            "one init for each environment"
        );
        running.environment.flush_output().await;
        let lines = api.output();
        let has = |text: &str| lines.iter().any(|output| output.text == text);
        assert!(has("imported") && has("and another"), "{lines:?}");
        assert!(running.environment.peak_memory_bytes().await.unwrap() > 1 << 20);
        answers.push(answer);
        running.environment.end().await;
        running.environment.end().await;
    }
    let at_import = |number: usize| answers[number]["at_import"].as_array().unwrap();
    for (first, second) in at_import(0).iter().zip(at_import(1)) {
        assert_ne!(first, second);
    }
    fixture.assert_nothing_is_left();
}

const TROUBLE: &str = r#"
import logging, os, subprocess, time
logging.getLogger().setLevel("INFO")
def handler(event, context):
    what = event["do"]
    if what == "log":
        logging.info("one\nrecord")
    elif what == "exit":
        os._exit(7)
    elif what == "hang":
        open("/tmp/kept", "w").write("kept")
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        time.sleep(1000)
    elif what == "eat":
        kept = []
        while True:
            kept.append(bytearray(1 << 20))
    names = [open(f"/proc/{pid}/comm").read() for pid in os.listdir("/proc") if pid.isdigit()]
    return {"kept": os.path.exists("/tmp/kept"), "sleeping": names.count("sleep\n")}
"#;

#[tokio::test]
#[ignore = "was not run yet; run it by name with --run-ignored"]
async fn programs_end_and_are_started_again() {
    let fixture = Fixture::new();
    let code = fixture.zip("code", &[("app.py", TROUBLE)]);
    let running = fixture.start(&spec(code, Vec::new())).await.unwrap();
    assert_eq!(running.environment.extensions().await.unwrap(), [""; 0]);

    let mut api = running.bootstrap().await;
    api.invoke(json!({ "do": "log" })).await;
    running.environment.flush_output().await;
    let framed: Vec<_> = api
        .output()
        .into_iter()
        .filter(|output| output.source == OutputSource::Framed)
        .collect();
    let text = String::from_utf8_lossy(&framed[0].text).into_owned();
    assert!(
        framed.len() == 1 && text.contains("one\nrecord"),
        "{framed:?}"
    );

    api.send(json!({ "do": "exit" })).await;
    assert_eq!(api.end().await, ProgramEnd::Exited(7));

    let mut api = running.bootstrap().await;
    api.send(json!({ "do": "hang" })).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    running.environment.signal(api.id(), Signal::Kill).await;
    assert_eq!(api.end().await, ProgramEnd::Signaled(9));

    let mut api = running.bootstrap().await;
    let answer = api.invoke(json!({ "do": "look" })).await;
    assert_eq!(answer["kept"], true, "/tmp stays");
    assert_eq!(answer["sleeping"], 0, "what it had forked is gone");
    api.send(json!({ "do": "eat" })).await;
    assert_eq!(api.end().await, ProgramEnd::OutOfMemory);
    let peak = running.environment.peak_memory_bytes().await.unwrap();
    assert!((100 << 20..=256 << 20).contains(&peak), "{peak}");

    running.kill_vmm();
    assert!(running.environment.accept().await.is_none());
    drop(running);
    fixture.wait_until_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "was not run yet; run it by name with --run-ignored"]
async fn what_cannot_start_says_why() {
    let fixture = Fixture::new();
    let code = fixture.zip("code", &[("app.py", "")]);
    let mut unknown = spec(code.clone(), Vec::new());
    unknown.runtime = "python3.13".to_owned();
    let error = fixture.start(&unknown).await.err().unwrap();
    let is_named = matches!(&error, StartError::RuntimeNotBuilt(text) if text.contains("hearth runtime build python3.13"));
    assert!(is_named, "{error:?}");

    let mut damaged = code.clone();
    damaged.path = fixture.file("damaged", b"PK no zip");
    damaged.sha256 = [1; 32];
    let error = fixture
        .start(&spec(damaged, Vec::new()))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, StartError::CodeUnusable(_)), "{error:?}");

    let extension = "#!/bin/sh\nexit 3\n";
    let layer = fixture.zip(
        "layer",
        &[
            ("extensions/one", extension),
            ("extensions/folder/two", extension),
        ],
    );
    let running = fixture.start(&spec(code, vec![layer])).await.unwrap();
    assert_eq!(running.environment.extensions().await.unwrap(), ["one"]);
    let program = fixture::extension("one");
    let ended = running.environment.spawn(program).await.unwrap().end.await;
    assert_eq!(ended, Ok(ProgramEnd::Exited(3)));
    let missing = running.environment.spawn(fixture::extension("none")).await;
    let text = "fork/exec /opt/extensions/none: no such file or directory";
    assert_eq!(
        missing.unwrap_err(),
        SpawnError::NotExecutable(text.to_owned())
    );
    drop(running);
    fixture.wait_until_nothing_is_left().await;
}
