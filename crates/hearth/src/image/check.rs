//! What can be known to be wrong with a build before anything is packed and uploaded. The service checks all of it again.

use std::path::Path;

use anyhow::{Context, Result};
use hearth_control::arn::{ConnectorRef, ManagedImageArn};
use hearth_control::id::ImageName;
use hearth_control::image::RESERVED_VARIABLES;

use crate::cli::image::BuildArguments;
use crate::cli::values::{HookSwitch, IMAGE_HOOKS, MICROVM_HOOKS};
use crate::refused::Unfit;

/// AWS's limits of environment variables.
const MAX_VARIABLES: usize = 100;
const MAX_VARIABLE_NAME_CHARACTERS: usize = 256;
const MAX_VARIABLE_VALUE_CHARACTERS: usize = 4096;

/// AWS's longest times for hooks, in seconds.
const MAX_MICROVM_HOOK_S: u32 = 60;
const MAX_IMAGE_HOOK_S: u32 = 3600;

/// Checks what was typed, and the Dockerfile.
pub(super) fn check(arguments: &BuildArguments, name: &str, base_arn: &str) -> Result<()> {
    let words = || {
        check_name(name)?;
        check_hooks(&arguments.hooks)?;
        check_variables(arguments)?;
        check_arns(arguments, base_arn)
    };
    words().map_err(Unfit)?;
    check_dockerfile(&arguments.folder)
}

fn check_name(name: &str) -> Result<(), String> {
    match name.parse::<ImageName>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!(
            "{name:?} cannot be an image's name: 1 to 64 letters, digits, dashes and underscores"
        )),
    }
}

fn check_hooks(hooks: &[HookSwitch]) -> Result<(), String> {
    let has = |names: &[&str]| hooks.iter().any(|hook| names.contains(&hook.name));
    if has(&MICROVM_HOOKS) && !has(&["ready"]) {
        return Err(
            "hooks of a microVM's life need --hook=ready too: the snapshot is taken when it answers"
                .to_owned(),
        );
    }
    for hook in hooks {
        let max_s = match IMAGE_HOOKS.contains(&hook.name) {
            true => MAX_IMAGE_HOOK_S,
            false => MAX_MICROVM_HOOK_S,
        };
        if hook
            .timeout_s
            .is_some_and(|time| !(1..=max_s).contains(&time))
        {
            return Err(format!("--hook={} takes 1 to {max_s} seconds", hook.name));
        }
    }
    Ok(())
}

fn check_variables(arguments: &BuildArguments) -> Result<(), String> {
    let variables = &arguments.env;
    if variables.len() > MAX_VARIABLES {
        return Err(format!("an image has at most {MAX_VARIABLES} variables"));
    }
    for variable in variables {
        let name = &variable.name;
        if RESERVED_VARIABLES.contains(&name.as_str()) {
            return Err(format!("the service itself sets the variable {name}"));
        }
        if name.contains(char::is_whitespace) || name.chars().count() > MAX_VARIABLE_NAME_CHARACTERS
        {
            return Err(format!(
                "{name:?} cannot be a variable's name: at most {MAX_VARIABLE_NAME_CHARACTERS} characters, without spaces"
            ));
        }
        if variable.value.chars().count() > MAX_VARIABLE_VALUE_CHARACTERS {
            return Err(format!(
                "the value of {name} has more than {MAX_VARIABLE_VALUE_CHARACTERS} characters"
            ));
        }
    }
    Ok(())
}

fn check_arns(arguments: &BuildArguments, base_arn: &str) -> Result<(), String> {
    if base_arn.parse::<ManagedImageArn>().is_err() {
        let base = &arguments.base;
        return Err(format!(
            "--base {base} is neither a name nor an ARN of a base image"
        ));
    }
    if let [_, _, ..] = arguments.egress.as_slice() {
        return Err("a build goes out by one connector; leave the other --egress out".to_owned());
    }
    for arn in &arguments.egress {
        match arn.parse::<ConnectorRef>() {
            Ok(ConnectorRef::Managed { connector, .. }) if connector.is_ingress() => {
                return Err(format!("--egress {arn} is a connector for ingress"));
            }
            Ok(_) => {}
            Err(_) => return Err(format!("--egress {arn} is no ARN of a network connector")),
        }
    }
    match &arguments.role {
        Some(role) if !role.starts_with("arn:") => Err(format!("--role {role} is no ARN")),
        _ => Ok(()),
    }
}

/// What the builder would refuse is refused here, by the same rules.
fn check_dockerfile(folder: &Path) -> Result<()> {
    let path = folder.join("Dockerfile");
    // Packing says that it is missing.
    if !path.is_file() {
        return Ok(());
    }
    let failed = || format!("cannot read {}", path.display());
    let text = std::fs::read_to_string(&path).with_context(failed)?;
    hearth_image::check_dockerfile(&text)
        .map_err(|refusal| Unfit(refusal.to_string()))
        .with_context(|| format!("{} cannot be built", folder.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::image::ImageCommand;
    use crate::cli::{Cli, ClientCommand, Command};

    const BASE: &str = "arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1";

    fn typed(words: &[&str]) -> Result<BuildArguments, clap::Error> {
        let all = ["hearth", "image", "build", "."].iter().chain(words);
        match Cli::try_parse_from(all)?.command {
            Command::Client(ClientCommand::Image(ImageCommand::Build(arguments))) => Ok(*arguments),
            other => panic!("{other:?}"),
        }
    }

    fn checked(words: &[&str]) -> Result<()> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("Dockerfile"), "FROM hearth/debian:12\n")?;
        let mut arguments = typed(words)?;
        arguments.folder = folder.path().to_owned();
        check(
            &arguments,
            arguments.name.as_deref().unwrap_or("name"),
            BASE,
        )
    }

    #[test]
    fn what_is_wrong_is_said_before_the_upload() {
        checked(&[]).unwrap();
        checked(&[
            "--port=80",
            "--hook=ready",
            "--hook=run=9",
            "-eA=b",
            "--memory=512",
        ])
        .unwrap();
        for (words, told) in [
            (&["--memory=700"][..], "512, 1024, 2048, 4096, 8192"),
            (&["--hook=ready"], "--port"),
            (&["--port=80", "--hook=run"], "--hook=ready"),
            (&["--port=80", "--hook=ready", "--hook=run=61"], "1 to 60"),
            (&["--port=80", "--hook=ready=3601"], "1 to 3600"),
            (&["--name=a b"], "letters"),
            (&["-eAWS_REGION=x"], "AWS_REGION"),
            (&["-eA B=x"], "without spaces"),
            (&["--egress=internet"], "no ARN"),
            (&["--role=build"], "no ARN"),
        ] {
            let error = checked(words).unwrap_err();
            assert!(format!("{error:#}").contains(told), "{words:?}: {error:#}");
        }
        let ingress = "--egress=arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:HTTP_INGRESS";
        assert!(checked(&[ingress]).is_err());
    }

    #[test]
    fn a_dockerfile_is_judged_before_the_upload() {
        let folder = tempfile::tempdir().unwrap();
        let dockerfile = folder.path().join("Dockerfile");
        std::fs::write(&dockerfile, "FROM a\nRUN --device=x true\n").unwrap();
        let error = check_dockerfile(folder.path()).unwrap_err();
        assert!(format!("{error:#}").contains("Dockerfile:2"), "{error:#}");
        std::fs::write(&dockerfile, "FROM a\n").unwrap();
        check_dockerfile(folder.path()).unwrap();
    }
}
