//! The dialect of Dockerfiles: one row a feature, what works and what must fail.
//!
//! Rows that work are the lines of one Dockerfile, so that they cost one builder. Each row has a check, and the last
//! `RUN` runs all checks. No stage stands on another one here, and none has a variable in its `FROM` that could name one:
//! buildah would commit each instruction then. Those that do are in `main.rs`, `stages_end_in_scratch()`. What is refused before a builder
//! starts is tested in `src/dockerfile/tests.rs`.

use std::fmt::Write;

use hearth_image::{BuildError, BuildLimits, Failure};

use crate::fixture::{self, Fixture, MODIFIED};

/// A feature that works.
struct Row {
    feature: &'static str,
    /// Instructions.
    lines: &'static str,
    /// Shell commands that succeed if the instructions did what they should.
    check: &'static str,
}

const fn row(feature: &'static str, lines: &'static str, check: &'static str) -> Row {
    Row {
        feature,
        lines,
        check,
    }
}

/// What stands before the stage of the rows.
const HEAD: &str = r#"# syntax=docker/dockerfile:1
# check=skip=all
ARG RELEASE=12
FROM hearth/debian:${RELEASE} AS unused
RUN false
FROM hearth/debian:12 AS Made
RUN mkdir /made && echo made > /made/file && echo no > /made/left.md
FROM hearth/python:3.11
ARG RELEASE TARGETARCH TARGETOS TARGETPLATFORM BUILDPLATFORM
"#;

/// The context: name, mode, content.
const CONTEXT: &[(&str, u32, &[u8])] = &[
    (
        ".dockerignore",
        0o100_644,
        b"**/*.log\n!keep.log\n# comment\nsecret/\n",
    ),
    ("a.txt", 0o100_640, b"A\n"),
    ("b.txz", 0o100_644, b"B\n"),
    ("a b.txt", 0o100_644, b"AB\n"),
    ("keep.log", 0o100_644, b""),
    ("left.log", 0o100_644, b""),
    ("d/left.log", 0o100_644, b""),
    ("d/f", 0o100_644, b"F\n"),
    ("d/n/g.md", 0o100_644, b"G\n"),
    ("d/h.md", 0o100_644, b"H\n"),
    ("secret/key", 0o100_600, b"K\n"),
    ("empty/", 0o040_750, b""),
    ("absolute", 0o120_777, b"/etc/hostname"),
    ("up", 0o120_777, b"../../outside"),
];

const ROWS: &[Row] = &[
    row(
        "RUN heredoc",
        "RUN <<EOF\nset -e\necho one > /h1\necho two >> /h1\nEOF",
        "[ \"$(tr '\\n' ' ' < /h1)\" = 'one two ' ]",
    ),
    row(
        "RUN heredoc for a program",
        "RUN python3 <<EOF > /h2\nprint('py' + 'thon')\nEOF",
        "grep -qx python /h2",
    ),
    row(
        "RUN heredoc with an interpreter line",
        "RUN <<EOF\n#!/usr/bin/env python3\nopen('/h3', 'w').write('script')\nEOF",
        "grep -q script /h3",
    ),
    row(
        "RUN with two heredocs",
        "RUN <<A cat > /h4 && cat <<-B > /h5\nfirst\nA\n\tsecond\n\tB",
        "grep -qx first /h4 && grep -qx second /h5",
    ),
    row(
        "COPY heredoc, expanded",
        "ENV WORD=value\nCOPY <<EOF /h6\n$WORD\nEOF",
        "grep -qx value /h6",
    ),
    row(
        "COPY heredocs, quoted, with --chmod",
        "COPY --chmod=755 <<\"a.sh\" <<'b.sh' /h7/\n#!/bin/sh\necho \"$0\"\na.sh\n$WORD\nb.sh",
        "[ \"$(/h7/a.sh)\" = /h7/a.sh ] && grep -qx '$WORD' /h7/b.sh",
    ),
    row(
        "COPY --link",
        "COPY --link a.txt /link/a",
        "grep -qx A /link/a",
    ),
    row(
        "modes of the context, and COPY --chmod in both forms",
        "COPY a.txt /m0\nCOPY --chmod=0600 a.txt /m1\nCOPY --chmod=u=rwx,go=rx a.txt /m2",
        "[ \"$(stat -c %a /m0 /m1 /m2 | tr '\\n' ' ')\" = '640 600 755 ' ]",
    ),
    row(
        "COPY --chown",
        "RUN useradd -m web\nCOPY --chown=web a.txt /o1\nCOPY --chown=12:34 a.txt /o2",
        "[ \"$(stat -c %U:%G /o1) $(stat -c %u:%g /o2)\" = 'web:web 12:34' ]",
    ),
    row(
        "COPY --exclude from the source on",
        "COPY --exclude=*.md --exclude=n d /x1/\nCOPY --exclude=**/*.md . /x2/",
        "[ -e /x1/f ] && ! [ -e /x1/h.md ] && ! [ -e /x1/n ] && [ -e /x2/d/f ] && ! [ -e /x2/d/n/g.md ]",
    ),
    row(
        "COPY --exclude from another stage",
        "COPY --from=made --exclude=*.md /made /x3/",
        "[ -e /x3/file ] && ! [ -e /x3/left.md ]",
    ),
    row(
        "COPY --parents, also from a stage",
        "COPY --parents d/n/g.md d/h* /y1\nCOPY --parents d/./n/ /y2/\nCOPY --from=made --parents /made/f* /y3/",
        "[ \"$(cd / && find y1 y2 y3 -type f | sort | tr '\\n' ' ')\" = 'y1/d/h.md y1/d/n/g.md y2/n/g.md y3/made/file ' ]",
    ),
    row(
        "COPY with patterns and quoted names",
        "COPY *.tx? /p1/\nCOPY [\"a b.txt\", \"/p 2/\"]",
        "[ -e /p1/a.txt ] && [ -e /p1/b.txz ] && ! [ -e /p1/d ] && [ -e '/p 2/a b.txt' ]",
    ),
    row(
        "COPY --from a stage of any case, a number, an image",
        "COPY --from=MADE /made/file /f1\nCOPY --from=1 /made/file /f2\nCOPY --from=hearth/debian:12 /etc/issue /f3",
        "grep -qx made /f1 && grep -qx made /f2 && [ -s /f3 ]",
    ),
    row(
        ".dockerignore, links, empty folders, times",
        "COPY . /c/",
        "[ -e /c/keep.log ] && ! [ -e /c/left.log ] && ! [ -e /c/d/left.log ] && ! [ -e /c/secret ] && \
         [ \"$(readlink /c/absolute) $(readlink /c/up)\" = '/etc/hostname ../../outside' ] && \
         [ \"$(stat -c %a /c/empty)\" = 750 ] && [ \"$(stat -c %Y /c/a.txt)\" = $MODIFIED ]",
    ),
    row(
        "ADD --unpack=false, ADD of an archive",
        "RUN cd / && tar -czf /t.tgz etc/issue\nADD --unpack=false a.txt /u1",
        "grep -qx A /u1",
    ),
    row(
        "RUN --mount=type=cache",
        "RUN --mount=type=cache,target=/mc,id=k,uid=12,gid=13,mode=0700 stat -c %u:%g:%a /mc > /mc1 && echo x > /mc/x\n\
         RUN --mount=type=cache,target=/mc,id=k,sharing=locked cp /mc/x /mc2",
        "grep -qx 12:13:700 /mc1 && [ -e /mc2 ] && ! [ -e /mc/x ]",
    ),
    row(
        "RUN --mount=type=bind, and what is written there is lost",
        "RUN --mount=type=bind,rw,source=d,target=/mb cp /mb/f /mb1 && echo x > /mb/new\n\
         RUN --mount=source=d,target=/mb ! test -e /mb/new && ! touch /mb/new 2> /dev/null",
        "grep -qx F /mb1",
    ),
    row(
        "RUN --mount=from a stage and an image",
        "RUN --mount=from=Made,source=/made,target=/mf cp /mf/file /mf1\n\
         RUN --mount=from=hearth/debian:12,target=/mf test -e /mf/etc/issue",
        "grep -qx made /mf1",
    ),
    row(
        "RUN --mount=type=tmpfs with a size",
        "RUN --mount=type=tmpfs,target=/mt,size=1m ! head -c 2000000 /dev/zero > /mt/x 2> /dev/null",
        "! [ -e /mt/x ]",
    ),
    row(
        "RUN --mount=type=secret and ssh that need not be there",
        "RUN --mount=type=secret,id=s,env=S --mount=type=ssh test -z \"$S\" && ! test -e /run/secrets/s",
        "true",
    ),
    row(
        "RUN --network",
        "RUN --network=none [ \"$(tail -n +3 /proc/net/dev | grep -vc lo:)\" = 0 ]\nRUN --network=default true\nRUN --network=host true",
        "true",
    ),
    row(
        "RUN --security=sandbox",
        "RUN --security=sandbox ! mount -t tmpfs x /mnt 2> /dev/null",
        "true",
    ),
    row(
        "RUN in exec form, with comments and empty lines within",
        "RUN [\"/bin/sh\", \"-c\", \"echo exec > /e1\"]\nRUN echo a && \\\n # comment\n\n echo b > /e2",
        "grep -qx exec /e1 && grep -qx b /e2",
    ),
    row(
        "SHELL",
        "SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]\nRUN ! (false | true) && [[ ab == a* ]] && echo $BASH_VERSION > /s1\n\
         SHELL [\"/bin/sh\", \"-c\"]",
        "[ -s /s1 ]",
    ),
    row(
        "HEALTHCHECK with all flags",
        "HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --start-interval=1s --retries=4 CMD true",
        "true",
    ),
    row(
        "ARG before FROM, and those of the platform",
        "ENV ARGS=$RELEASE,$TARGETOS/$TARGETARCH,$TARGETPLATFORM,$BUILDPLATFORM",
        "a=$(dpkg --print-architecture); [ \"$ARGS\" = \"12,linux/$a,linux/$a,linux/$a\" ]",
    ),
    row(
        "forms of variables",
        "ARG SET=s\nENV FORMS=${NONE:-d},${SET:+y},${NONE:+y},\\$SET,${SET}\nENV V=3.11.4\nENV CUT=${V%.*}-${V//./_}",
        "[ \"$FORMS\" = 'd,y,,$SET,s' ] && [ \"$CUT\" = 3.11-3_11_4 ]",
    ),
    row(
        "VOLUME keeps what is written",
        "RUN mkdir /v1\nVOLUME [\"/v1\"]\nRUN echo kept > /v1/f && chown -R 1000 /v1",
        "grep -qx kept /v1/f && [ \"$(stat -c %u /v1)\" = 1000 ]",
    ),
    row(
        "USER and its HOME, WORKDIR",
        "WORKDIR /w\nWORKDIR sub\nUSER web\nRUN echo $HOME $(id -un) $PWD > /tmp/user\nUSER 4242:17\n\
         RUN id -u > /tmp/number && id -g >> /tmp/number\nUSER root\nWORKDIR /",
        "grep -qx '/home/web web /w/sub' /tmp/user && [ \"$(tr '\\n' ' ' < /tmp/number)\" = '4242 17 ' ]",
    ),
    row(
        "LABEL, EXPOSE, STOPSIGNAL, MAINTAINER, old ENV",
        "LABEL a=b \"c d\"=\"e f\"\nEXPOSE 80 443/tcp 53/udp\nSTOPSIGNAL SIGQUIT\nMAINTAINER x\nENV OLD some value",
        "[ \"$OLD\" = 'some value' ]",
    ),
];

fn dockerfile() -> String {
    let mut text = HEAD.to_owned();
    for row in ROWS {
        writeln!(text, "# {}\n{}", row.feature, row.lines).unwrap();
    }
    writeln!(text, "ENV MODIFIED={MODIFIED}\nRUN <<'CHECKS'").unwrap();
    for (index, row) in ROWS.iter().enumerate() {
        let check = row.check;
        writeln!(
            text,
            "( {check} ) && echo row {index} holds || echo row {index} fails"
        )
        .unwrap();
    }
    text += "CHECKS\nCMD [\"true\"]\n";
    text
}

#[tokio::test]
async fn every_row_of_the_dialect_holds() {
    let fixture = Fixture::new();
    let dockerfile = dockerfile();
    let mut entries = CONTEXT.to_vec();
    entries.push(("Dockerfile", 0o100_644, dockerfile.as_bytes()));
    let (built, log) = fixture
        .build_artifact(
            "matrix",
            fixture::artifact_of(&entries),
            BuildLimits::default(),
        )
        .await;
    let built = built.unwrap_or_else(|error| panic!("{error}"));
    println!("{:?}", built.times);
    let fails = |(index, _): &(usize, &Row)| {
        let holds = format!(" row {index} holds");
        !log.iter().any(|line| line.ends_with(&holds))
    };
    let failing: Vec<&str> = ROWS
        .iter()
        .enumerate()
        .filter(fails)
        .map(|(_, row)| row.feature)
        .collect();
    assert!(failing.is_empty(), "{failing:?}");
    assert_eq!(built.root.config.exposed_ports, [80, 443]);
    assert_eq!(built.root.config.stop_signal, 3);
}

#[tokio::test]
async fn what_must_fail_fails_with_its_line() {
    let fixture = Fixture::with_boot_templates();
    // Exit statuses of other instructions are rows above, or `failures_have_their_reasons_and_leave_nothing()`.
    for (name, lines, said) in [
        (
            "heredoc",
            "RUN <<EOF\nset -e\nfalse\ntrue\nEOF",
            "Dockerfile:2: RUN <<EOF",
        ),
        (
            "ignored",
            "\nCOPY left.log /",
            "Dockerfile:3: COPY left.log /",
        ),
        (
            "parents",
            "COPY --parents left.log nosuch/file /",
            "Dockerfile:2: COPY --parents nosuch/file: it is not in the context",
        ),
    ] {
        let dockerfile = format!("FROM hearth/debian:12\n{lines}\n");
        let files = [
            ("Dockerfile", dockerfile.as_str()),
            ("left.log", "x"),
            (".dockerignore", "*.log\n"),
        ];
        let (built, _) = fixture.build(name, &files, BuildLimits::default()).await;
        match built {
            Err(BuildError::Failed(
                failure @ (Failure::Dockerfile { .. } | Failure::Refused(_)),
            )) => {
                let text = failure.to_string();
                assert!(text.starts_with(said), "{name}: {text}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    fixture.assert_nothing_is_left();
}
