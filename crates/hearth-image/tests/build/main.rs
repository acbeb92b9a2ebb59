//! Dockerfiles that are really built, in builder microVMs, and the images that really run.
//!
//! Run by `cargo xtask test` (or `lab-test`), which provides kernel, initramfs, `hearth-vmm` and bases.
#![expect(clippy::unwrap_used, reason = "tests")]

mod fixture;
mod matrix;
mod registry;

use std::time::Duration;

use hearth_image::{BuildError, BuildLimits, Failure};
use hearth_wire::agent::ExitStatus;

use fixture::Fixture;

/// A build with everything that a first Dockerfile has. Two RUN instructions, of which the second undoes
/// parts of the base: a file, and a directory that is made anew.
const HELLO: &str = r#"
FROM hearth/python:3.11
ARG GREETING=hello
ENV GREETING=${GREETING} EMPTY=
WORKDIR /app
RUN python -c 'print("first")' > first.txt && rm /usr/bin/pip3
RUN useradd -m web && chown web . && rm -r /usr/share/doc && mkdir -p /usr/share/doc/new
COPY app.py lib/ ./
USER web
EXPOSE 8080 53/udp
HEALTHCHECK CMD true
STOPSIGNAL SIGINT
ENTRYPOINT ["python", "app.py"]
CMD ["argument"]
"#;

const APP: &str = r#"
import os, sys, part
print(os.environ["GREETING"], open("first.txt").read().strip(), sys.argv[1], os.getuid(), os.getcwd())
print(os.listdir("/usr/share/doc"), os.path.exists("/usr/bin/pip3"), part.WORD)
open("written", "w").write("here")
print(os.environ["HOME"] if os.path.isdir("/home/web") else "no home")
"#;

#[tokio::test]
async fn a_dockerfile_becomes_a_root_that_runs() {
    let fixture = Fixture::new();
    let (built, log) = fixture
        .build(
            "hello",
            &[
                ("Dockerfile", HELLO),
                ("app.py", APP),
                ("lib/part.py", "WORD = 'part'\n"),
            ],
            BuildLimits::default(),
        )
        .await;
    let built = built.unwrap();
    let has_line = |text: &str| log.iter().any(|line| line.contains(text));
    assert!(has_line("FROM hearth/python:3.11"), "{log:?}");
    println!("{:?}", built.times);

    let config = &built.root.config;
    assert_eq!(config.argv(), ["python", "app.py", "argument"]);
    assert_eq!(config.env["EMPTY"], "");
    assert_eq!(config.exposed_ports, [8080]);
    assert_eq!(config.stop_signal, 2);
    let serials: Vec<&str> = built.root.disks.iter().map(|d| d.serial.as_str()).collect();
    assert_eq!(serials, ["store", "layer"]);

    let (output, status) = fixture.run("hello-run", &built.root).await;
    assert_eq!(output[0], "hello first argument 1000 /app");
    assert_eq!(output[1], "['new'] False part");
    assert_eq!(status, ExitStatus::Code(0), "{output:?}");
}

#[tokio::test]
async fn stages_end_in_scratch() {
    let fixture = Fixture::new();
    // The first stage's base has another name. The second one stands on the first one, and runs what that left to it.
    let dockerfile = r#"
FROM registry.example/team/base:1.0 AS One
RUN echo made > /made && ln -s made /link && ln /made /hard
ONBUILD RUN echo triggered > /triggered
FROM one AS two
FROM scratch
COPY busybox /bin/busybox
COPY --from=ONE /made /link /hard /
COPY --from=two /triggered /
ENTRYPOINT ["/bin/busybox", "cat", "/link", "/triggered"]
"#;
    assert!(dockerfile.contains(fixture::ALIAS));
    let busybox = std::fs::read("/bin/busybox").unwrap();
    let artifact =
        fixture::artifact(&[("Dockerfile", dockerfile.as_bytes()), ("busybox", &busybox)]);
    let (built, log) = fixture
        .build_artifact("stages", artifact, BuildLimits::default())
        .await;
    let root = built
        .unwrap_or_else(|error| panic!("{error}: {log:?}"))
        .root;
    assert_eq!(root.disks.len(), 1, "nothing of Debian is left");
    assert_eq!(
        fixture.run("stages-run", &root).await,
        (
            vec!["made".to_owned(), "triggered".to_owned()],
            ExitStatus::Code(0)
        )
    );
}

#[tokio::test]
async fn failures_have_their_reasons_and_leave_nothing() {
    let fixture = Fixture::with_boot_templates();
    let fails = async |name: &str, dockerfile: &str| {
        let (built, _) = fixture
            .build(name, &[("Dockerfile", dockerfile)], BuildLimits::default())
            .await;
        fixture.assert_nothing_is_left();
        match built.unwrap_err() {
            BuildError::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    };
    let failure = fails("exits", "FROM hearth/debian:12\nRUN exit 3\n").await;
    let is_expected = matches!(&failure, Failure::Dockerfile { exit_code: 3, reason } if reason == "Dockerfile:2: RUN exit 3: exit status 3");
    assert!(is_expected, "{failure:?}");
    let failure = fails("unknown", "FROM alpine:3\n").await;
    let is_expected =
        matches!(&failure, Failure::UnknownImage { reason } if reason.contains("alpine"));
    assert!(is_expected, "{failure:?}");
    let failure = fails("short", "FROM debian:12\n").await;
    let is_expected =
        matches!(&failure, Failure::ShortName { base, .. } if base == "hearth/debian:12");
    assert!(is_expected, "Docker's, not ours: {failure:?}");
    // Bit by bit, so that no single allocation fails.
    let hungry = "FROM hearth/python:3.11\nRUN python -c 'while True: globals().setdefault(\"l\", []).append(bytearray(1 << 20))'\n";
    let failure = fails("hungry", hungry).await;
    assert!(matches!(failure, Failure::Killed { .. }), "{failure:?}");
    let full = "FROM hearth/debian:12\nRUN fallocate -l 33G /x\n";
    let failure = fails("full", full).await;
    let is_expected = matches!(&failure, Failure::DiskFull { usage, .. } if usage.to_string().contains("layers "));
    assert!(is_expected, "{failure:?}");
}

#[tokio::test]
async fn layers_are_kept_for_the_next_build_and_are_no_burden_to_it() {
    let fixture = Fixture::with_boot_templates();
    let uses_cache = |log: &[String]| log.iter().any(|line| line.ends_with(" CACHED"));
    let dockerfile = "FROM hearth/debian:12\nRUN head -c 16 /dev/urandom | base64 > /made\nCMD [\"cat\", \"/made\"]\n";
    let failing = format!("{dockerfile}RUN exit 3\n");
    let (built, log) = fixture.build_cached("failing", &failing).await;
    assert!(matches!(built, Err(BuildError::Failed(_))), "{built:?}");
    assert!(!uses_cache(&log), "{log:?}");

    let (built, log) = fixture.build_cached("again", dockerfile).await;
    let built = built.unwrap();
    println!("with what the failed build left: {:?}", built.times);
    assert!(uses_cache(&log), "{log:?}");
    assert_eq!(built.root.disks.len(), 2);
    assert!(!fixture.cached(2).exists(), "nothing was added");

    let (repeated, log) = fixture.build_cached("repeated", dockerfile).await;
    let repeated = repeated.unwrap();
    assert_eq!(repeated.times, None, "no microVM: {log:?}");
    assert!(
        log.iter().any(|line| line.contains("nothing has changed")),
        "{log:?}"
    );
    // Its disk is a file of its own name: the first version may be deleted.
    assert_ne!(built.root.disks, repeated.root.disks);
    std::fs::remove_file(&built.root.disks[1].image).unwrap();
    let (made, status) = fixture.run("repeated-run", &repeated.root).await;
    assert_eq!((made.len(), status), (1, ExitStatus::Code(0)));

    let changed = format!("{dockerfile}CMD [\"true\"]\n");
    let dockerfile = changed.as_str();
    std::fs::remove_file(fixture.cached(1)).unwrap();
    std::fs::write(fixture.cached(1), "no disk").unwrap();
    let (built, log) = fixture.build_cached("damaged", dockerfile).await;
    built.unwrap();
    let says_so = |line: &String| line.contains("without earlier layers");
    assert!(log.iter().any(says_so), "{log:?}");
    assert!(
        std::fs::metadata(fixture.cached(1)).unwrap().len() > 100,
        "it starts anew"
    );
    assert!(fixture.node().machines().is_empty());
}

#[tokio::test]
async fn a_layer_and_a_time_have_limits() {
    let fixture = Fixture::with_boot_templates();
    let large = "FROM hearth/debian:12\nRUN head -c 9000000 /dev/urandom > /x\n";
    let limits = BuildLimits {
        layer_bytes: 8 << 20,
        ..BuildLimits::default()
    };
    let (built, _) = fixture
        .build("large", &[("Dockerfile", large)], limits)
        .await;
    let error = built.unwrap_err();
    assert!(
        matches!(error, BuildError::LayerTooLarge { .. }),
        "{error:?}"
    );
    fixture.assert_nothing_is_left();

    let endless = "FROM hearth/debian:12\nRUN f() { f | f & }; f 2> /dev/null; sleep 1000\n";
    let limits = BuildLimits {
        time: Duration::from_secs(40),
        ..BuildLimits::default()
    };
    let (built, _) = fixture
        .build("forks", &[("Dockerfile", endless)], limits)
        .await;
    let error = built.unwrap_err();
    assert!(matches!(error, BuildError::TimedOut(_)), "{error:?}");
    fixture.assert_nothing_is_left();
}

#[tokio::test]
async fn a_build_that_is_dropped_is_ended() {
    let fixture = Fixture::new();
    let endless = "FROM hearth/debian:12\nRUN sleep 1000\n";
    let artifact = fixture::artifact(&[("Dockerfile", endless.as_bytes())]);
    let (request, mut lines) = fixture.request("dropped", artifact, BuildLimits::default());
    let builder = fixture.builder();
    {
        let build = builder.build(request);
        tokio::select! {
            built = build => panic!("it ended: {built:?}"),
            line = lines.recv() => assert!(line.is_some()),
        }
    }
    for _ in 0..200 {
        if fixture.node().machines().is_empty() {
            return fixture.assert_nothing_is_left();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the builder microVM is still there");
}
