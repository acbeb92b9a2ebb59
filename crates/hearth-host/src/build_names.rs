//! The names of instances that belong to builds.

use hearth_control::id::BuildId;

/// Prefix of the instance in which a Dockerfile is run.
pub(crate) const BUILDER: &str = "builder-";
/// Prefix of the instance that is sealed as the version.
pub(crate) const BUILD: &str = "build-";
/// Prefix of the clone in which `/validate` is called.
pub(crate) const VALIDATE: &str = "validate-";

/// The build that an instance belongs to, by the instance's name.
pub fn build_of(machine: &str) -> Option<BuildId> {
    let id = [BUILDER, BUILD, VALIDATE]
        .iter()
        .find_map(|beginning| machine.strip_prefix(beginning))?;
    id.parse().ok()
}

#[cfg(test)]
mod tests {
    use hearth_control::id::MicrovmId;

    use super::*;

    #[test]
    fn instances_of_builds_are_known_by_their_names() {
        let id = BuildId::generate();
        for beginning in [BUILDER, BUILD, VALIDATE] {
            assert_eq!(build_of(&format!("{beginning}{id}")), Some(id));
        }
        assert_eq!(build_of(&MicrovmId::generate().to_string()), None);
        assert_eq!(build_of("build-first"), None);
    }
}
