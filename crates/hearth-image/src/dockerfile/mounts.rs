//! `RUN --mount`: its kinds and options.

use super::Refusal;

/// What becomes of a mount.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mount {
    /// buildah reads it as it is.
    Kept,
    /// In buildah's words.
    Changed(String),
    /// Nothing is mounted.
    Dropped,
}

/// Options of each kind, with their other names.
fn options_of(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "bind" => &[
            "type",
            "target",
            "dst",
            "destination",
            "source",
            "src",
            "from",
            "rw",
            "readwrite",
            "ro",
            "readonly",
        ],
        "cache" => &[
            "type",
            "id",
            "target",
            "dst",
            "destination",
            "ro",
            "readonly",
            "rw",
            "readwrite",
            "sharing",
            "from",
            "source",
            "src",
            "mode",
            "uid",
            "gid",
        ],
        "tmpfs" => &["type", "target", "dst", "destination", "size"],
        "secret" => &[
            "type",
            "id",
            "target",
            "dst",
            "destination",
            "source",
            "src",
            "env",
            "required",
            "mode",
            "uid",
            "gid",
        ],
        "ssh" => &[
            "type",
            "id",
            "target",
            "dst",
            "destination",
            "required",
            "mode",
            "uid",
            "gid",
        ],
        _ => return None,
    })
}

/// Judges the value of a `--mount`.
pub(super) fn judge(value: &str, line: usize) -> Result<Mount, Refusal> {
    let refuse = |reason: String| Err(Refusal::new(line, reason));
    let options: Vec<(&str, Option<&str>)> = value
        .split(',')
        .map(|option| match option.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (option, None),
        })
        .collect();
    let find = |wanted: &str| options.iter().find(|(key, _)| *key == wanted);
    let kind = find("type").and_then(|(_, kind)| *kind).unwrap_or("bind");
    let Some(known) = options_of(kind) else {
        return refuse(format!(
            "RUN --mount=type={kind}: there are bind, cache, tmpfs, secret and ssh"
        ));
    };
    if let Some((key, _)) = options.iter().find(|(key, _)| !known.contains(key)) {
        return refuse(format!("RUN --mount=type={kind} has no option {key:?}"));
    }
    if matches!(kind, "secret" | "ssh") {
        let is_required = find("required").is_some_and(|(_, value)| *value != Some("false"));
        return match is_required {
            true => refuse(format!(
                "RUN --mount=type={kind},required: a build is given neither secrets nor keys; \
                 make it optional, or read what it needs when the microVM runs"
            )),
            false => Ok(Mount::Dropped),
        };
    }
    if kind == "tmpfs" && find("size").is_some() {
        let options: Vec<String> = value
            .split(',')
            .map(|option| match option.strip_prefix("size=") {
                Some(size) => format!("tmpfs-size={size}"),
                None => option.to_owned(),
            })
            .collect();
        return Ok(Mount::Changed(options.join(",")));
    }
    Ok(Mount::Kept)
}
