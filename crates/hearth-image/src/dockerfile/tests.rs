//! What is refused, with line and flag, and what is put into other words.

use super::Dockerfile;

/// The text for buildah of a Dockerfile with these lines below a `FROM`.
fn edited(lines: &str) -> String {
    let text = format!("FROM a\n{lines}");
    match Dockerfile::read(&text) {
        Ok(dockerfile) => dockerfile.text["FROM a\n".len()..].to_owned(),
        Err(refusal) => panic!("{lines:?}: {refusal}"),
    }
}

fn refusal(text: &str) -> String {
    match Dockerfile::read(text) {
        Ok(dockerfile) => panic!("{text:?} is taken: {:?}", dockerfile.text),
        Err(refusal) => refusal.to_string(),
    }
}

#[test]
fn what_buildah_reads_otherwise_is_edited() {
    for (given, expected) in [
        ("COPY --link a b\n", "COPY  a b\n"),
        ("ADD --link=false a b\n", "ADD  a b\n"),
        ("COPY --parents=false a b\n", "COPY  a b\n"),
        (
            "COPY --parents ./a/b.txt c/*.md /to\n",
            "COPY --exclude=** --exclude=!a/b.txt --exclude=!c/*.md .  /to/\n",
        ),
        (
            "COPY --parents x/./y/z p/q/./r /to/\n",
            "COPY --exclude=** --exclude=!x/y/z --exclude=!p/q/r x p/q  /to/\n",
        ),
        (
            "COPY --from=s --parents /x/./y /z/./ /to/\n",
            "COPY --from=s --exclude=** --exclude=!x/y --exclude=!z/** /x /z  /to/\n",
        ),
        (
            "COPY --from=s --parents /x /to/\n",
            "COPY --from=s --exclude=** --exclude=!x / /to/\n",
        ),
        ("COPY --chmod=u=rwx,go=rx a b\n", "COPY --chmod=755 a b\n"),
        ("COPY --chmod=a=r,u=rw a b\n", "COPY --chmod=644 a b\n"),
        ("COPY --chmod=0640 a b\n", "COPY --chmod=0640 a b\n"),
        ("COPY --chmod=$MODE a b\n", "COPY --chmod=$MODE a b\n"),
        ("COPY --exclude=*.md . /b\n", "COPY --exclude=*.md . /b\n"),
        (
            "COPY --exclude=*.md ./s/t/ u /b\n",
            "COPY --exclude=s/t/*.md --exclude=s/*.md --exclude=u/*.md --exclude=*.md ./s/t/ u /b\n",
        ),
        (
            "COPY --exclude=!*.md [\"s t\", \"/b\"]\n",
            "COPY --exclude=!s t/*.md --exclude=!*.md [\"s t\", \"/b\"]\n",
        ),
        ("ADD --unpack=false a.tar b\n", "COPY  a.tar b\n"),
        ("ADD --unpack a.tar b\n", "ADD  a.tar b\n"),
        (
            "ADD --unpack=false https://x/a.tar b\n",
            "ADD  https://x/a.tar b\n",
        ),
        (
            "ADD --keep-git-dir=false https://x/a.txt b\n",
            "ADD  https://x/a.txt b\n",
        ),
        ("RUN --security=sandbox true\n", "RUN  true\n"),
        (
            "RUN --mount=type=tmpfs,target=/t,size=4m true\n",
            "RUN --mount=type=tmpfs,target=/t,tmpfs-size=4m true\n",
        ),
        ("RUN --mount=type=secret,id=x,env=X true\n", "RUN  true\n"),
        ("RUN --mount=type=ssh \\\n  true\n", "RUN  \\\n  true\n"),
        (
            "FROM a AS Build\nCOPY --from=Build a b\nRUN --mount=from=BUILD,target=/x true\nFROM build\n",
            "FROM a AS build\nCOPY --from=build a b\nRUN --mount=from=build,target=/x true\nFROM build\n",
        ),
        (
            "ENV V=3.11.4\nENV A=${V%.*} B=\"x${V##*.}\" C=${V//./_}${V+y}\nENV D=${A#3.}\n",
            "ENV V=3.11.4\nENV A=3.11 B=\"x4\" C=3_11_4y\nENV D=11\n",
        ),
        (
            "ENV A='1-2'\nARG A=other\nWORKDIR /${A#*-}\n",
            "ENV A='1-2'\nARG A=other\nWORKDIR /2\n",
        ),
        // Neither a flag of the instruction nor a form that the builder expands.
        ("RUN echo --link ${A%x}\n", "RUN echo --link ${A%x}\n"),
        ("ENV A=\\${B%x}\n", "ENV A=\\${B%x}\n"),
        (
            "COPY <<EOF /x\nCOPY --link a\n${A%x}\nEOF\n",
            "COPY <<EOF /x\nCOPY --link a\n${A%x}\nEOF\n",
        ),
    ] {
        assert_eq!(edited(given), expected);
    }
}

#[test]
fn what_cannot_be_is_refused_with_line_and_flag() {
    for (line, said) in [
        ("COPY --parents [\"a/b\", \"/c\"]", "in brackets"),
        ("COPY --parents --exclude=*.md a /c", "with --exclude"),
        ("COPY --parents $A /c", "of $A is not supported"),
        ("COPY --parents a/../b /c", "no '..' in it"),
        ("COPY --parents a b/./c /d", "below b/./"),
        ("COPY --parents b/./c b/d/./e /d", "below b/d/./"),
        ("COPY --chmod=u+x a /b", "COPY --chmod=u+x"),
        ("COPY --chmod=u=rwX,go=rX a /b", "COPY --chmod=u=rwX,go=rX"),
        ("COPY --chmod=abc a /b", "COPY --chmod=abc"),
        (
            "COPY --checksum=sha256:0 a /b",
            "COPY has no flag --checksum",
        ),
        (
            "COPY --exclude=*.md $DIR /b",
            "COPY --exclude with a variable",
        ),
        ("ADD --from=x a /b", "ADD has no flag --from"),
        (
            "ADD --keep-git-dir https://x/y.git /b",
            "ADD of a git repository",
        ),
        (
            "ADD --unpack https://x/y.tar /b",
            "ADD --unpack of an address",
        ),
        (
            "ADD git@github.com:a/b.git#v1 /b",
            "ADD of a git repository",
        ),
        (
            "ADD --unpack=false https://x/y.tar a /b",
            "ADD --unpack=false",
        ),
        ("RUN --security=insecure true", "RUN --security"),
        ("RUN --device=vendor.com/x true", "RUN --device"),
        ("RUN --network=other true", "RUN --network=other"),
        ("RUN --nosuch true", "RUN has no flag --nosuch"),
        (
            "RUN --mount=type=nosuch,target=/x true",
            "--mount=type=nosuch",
        ),
        (
            "RUN --mount=type=tmpfs,target=/x,colour=red true",
            "no option \"colour\"",
        ),
        (
            "RUN --mount=type=secret,id=x,required true",
            "neither secrets nor keys",
        ),
        (
            "RUN --mount=type=ssh,required=true true",
            "neither secrets nor keys",
        ),
        (
            "HEALTHCHECK --every=5s CMD true",
            "HEALTHCHECK has no flag --every",
        ),
        ("ENV A=${B%.*}", "${B%.*} in ENV"),
        ("WORKDIR ${B//a/b}", "${B//a/b} in WORKDIR"),
        ("ENV A=${B-c}", "${B-c} in ENV"),
        ("RUNN true", "no instruction RUNN"),
        ("FROM a b c d", "FROM takes an image"),
        ("FROM --nosuch a", "FROM has no flag --nosuch"),
        ("FROM a AS 1x", "no name of a stage"),
        ("RUN <<EOF\necho", "<<EOF has no end"),
    ] {
        let refusal = refusal(&format!("FROM a\n\n{line}\n"));
        assert!(refusal.starts_with("Dockerfile:3: "), "{refusal}");
        assert!(refusal.contains(said), "{refusal}");
    }
    assert!(refusal("").contains("no FROM"));
    assert!(
        refusal("ARG A\nRUN true\n").starts_with("Dockerfile:2: RUN stands before the first FROM")
    );
}

#[test]
fn forms_are_expanded_where_the_value_is_known() {
    let text = "ARG V=3.11.4\nFROM a:${V%.*}\n";
    assert_eq!(
        Dockerfile::read(text).unwrap().text,
        "ARG V=3.11.4\nFROM a:3.11\n"
    );
    for lines in [
        // An ENV of the base image may have the name.
        "ARG B=1.2",
        "ARG B",
        "ENV B=$PATH",
        "ENV B=\"a b\"",
        "ENV B some value",
        "ENV B=1.2\nENV \"B\"=3",
        "ENV B=1.2\nFROM a",
        "ONBUILD ENV B=1.2",
    ] {
        let said = refusal(&format!("FROM a\n{lines}\nENV A=${{B%.*}}\n"));
        assert!(
            said.contains("${B%.*} in ENV is not supported here"),
            "{said}"
        );
    }
    let said = refusal("FROM a\nENV B=1.2\nONBUILD ENV A=${B%.*}\n");
    assert!(said.starts_with("Dockerfile:3: ${B%.*} in ENV"), "{said}");
}

#[test]
fn syntax_lines_are_answered_by_the_builder() {
    for frontend in [
        "docker/dockerfile:1",
        "docker/dockerfile:1-labs",
        "docker.io/docker/dockerfile:1.7@sha256:00",
        "docker/dockerfile-upstream",
    ] {
        let text = format!("# syntax={frontend}\nFROM a\n");
        assert!(Dockerfile::read(&text).is_ok(), "{frontend}");
    }
    let other = refusal("# escape=`\n# syntax = registry.example/front:1\nFROM a\n");
    assert!(
        other.starts_with("Dockerfile:2: # syntax=registry.example/front:1"),
        "{other}"
    );
    // Below an instruction or another comment it is a comment.
    assert!(Dockerfile::read("# x\n# syntax=registry.example/front\nFROM a\n").is_ok());
}

#[test]
fn instructions_are_found_again() {
    let dockerfile =
        Dockerfile::read("FROM a AS B\nRUN one  \\\n   two\nRUN --network=none x\n").unwrap();
    assert_eq!(dockerfile.line_of("RUN one   two"), Some(2));
    assert_eq!(dockerfile.line_of("RUN --network=none x"), Some(4));
    assert_eq!(dockerfile.line_of("FROM a AS b"), Some(1));
    assert_eq!(dockerfile.line_of("RUN three"), None);
}

#[test]
fn sources_that_have_to_be_there_are_known() {
    let text = "FROM a\n\nCOPY --parents a/*.md b/c /to\nCOPY --parents x/./y/ /to\nCOPY --from=a --parents /d /to\nCOPY e /f\n";
    let named = Dockerfile::read(text).unwrap().named_sources;
    let named: Vec<(usize, &str)> = named
        .iter()
        .map(|source| (source.line, source.path.as_str()))
        .collect();
    assert_eq!(named, [(3, "b/c"), (4, "x/y")]);
}

#[test]
fn a_stage_on_a_stage_is_seen() {
    let stands = |text: &str| Dockerfile::read(text).unwrap().has_stage_on_stage;
    assert!(!stands("FROM a AS one\nFROM b\nCOPY --from=one /x /y\n"));
    assert!(stands("FROM a AS One\nFROM one\n"));
    assert!(stands("ARG B=one\nFROM a AS one\nFROM $B\n"));
    assert!(!stands("ARG B=a\nFROM $B AS one\nFROM b\n"));
}
