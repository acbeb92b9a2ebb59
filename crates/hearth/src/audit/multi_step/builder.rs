//! Attacks of a Dockerfile in the builder.

use anyhow::Result;
use hearth_client::LogQuery;
use jiff::{SignedDuration, Timestamp};

use super::super::attempt::Attempt;
use super::super::fixture::{Fixture, NAME, arguments};
use crate::image;
use crate::names::log_group;

/// Searches for logins of registries: in files of the builder, of its processes, through a link of another stage and
/// through a cache whose id is a path. It prints each file that it finds. The planted file is the control. The last
/// line fails the build, so that nothing boots.
const DOCKERFILE: &str = r#"FROM hearth/python:3.11 AS linked
RUN ln -s / /up && mkdir /planted && echo '{"auths": {"planted": {}}}' > /planted/config.json
FROM hearth/python:3.11
RUN mkdir /planted && echo '{"auths": {"planted": {}}}' > /planted/config.json; for f in /planted/config.json /root/.docker/config.json /run/containers/0/auth.json /proc/*/root/root/.docker/config.json /proc/*/root/run/containers/0/auth.json /proc/*/environ; do if grep -qs -e '"auths"' -e REGISTRY_AUTH -e '"auth"' "$f"; then echo "audit-found $f"; fi; done
RUN --mount=type=bind,from=linked,source=/up,target=/h for f in /h/root/.docker/config.json /h/run/containers/0/auth.json; do if grep -qs '"auth"' "$f"; then echo "audit-found $f"; fi; done
RUN --mount=type=cache,id=../../../root/.docker,target=/h if grep -qs '"auth"' /h/config.json; then echo "audit-found by a cache"; fi; exit 1
"#;

/// Builds the Dockerfile as the other account, which has no login.
pub(super) async fn login(fixture: &Fixture) -> Result<Attempt> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("Dockerfile"), DOCKERFILE)?;
    let began = Timestamp::now() - SignedDuration::from_secs(1);
    let name = format!("{NAME}-login");
    // It ends in a failure, or else its image is removed.
    let built = image::build(&fixture.other, &arguments(folder.path(), &name)).await;
    let query = LogQuery {
        group: &log_group(&name),
        stream: None,
        start_ms: Some(began.as_millisecond()),
    };
    let events = fixture.other.log_events(&query).await?;
    if let Some(arn) = crate::names::find_image(&fixture.other, &name).await? {
        fixture.other.delete_image(&arn).await?;
    }
    let found: Vec<_> = events
        .iter()
        .filter_map(|event| output(event.message.trim())?.strip_prefix("audit-found "))
        .collect();
    let is_planted = |path: &&str| *path == "/planted/config.json";
    Ok(Attempt {
        attack: built.is_ok() || found.iter().any(|path| !is_planted(path)),
        control: found.iter().any(is_planted),
    })
}

/// What a step wrote, of a line of the build log: `#5 2.970 text`, with the step's number and its seconds.
fn output(line: &str) -> Option<&str> {
    let (_, rest) = line.strip_prefix('#')?.split_once(' ')?;
    let (seconds, text) = rest.split_once(' ')?;
    seconds.parse::<f64>().ok().map(|_| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_step_wrote_is_told_from_what_it_is() {
        assert_eq!(output("#5 2.970 audit-found /x"), Some("audit-found /x"));
        assert_eq!(output("#5 [2/3] RUN echo audit-found x"), None);
        assert_eq!(output("#5 DONE 4.8s"), None);
        assert_eq!(output("audit-found x"), None);
    }
}
