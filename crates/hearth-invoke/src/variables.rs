//! The environment variables of programs (facts section 3.4).
//!
//! What the function's configuration sets overwrites what is preset, except the reserved ones, which the control plane
//! refuses.

use std::collections::BTreeMap;

use crate::keys::Keys;
use crate::version::{FunctionVersion, LogFormat};

type Variables = BTreeMap<String, String>;

/// What an environment adds to its version.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings<'a> {
    pub(crate) runtime_api: &'a str,
    pub(crate) log_stream: &'a str,
    pub(crate) keys: &'a Keys,
}

/// The variables of the runtime.
pub(crate) fn of_bootstrap(version: &FunctionVersion, around: &Surroundings<'_>) -> Variables {
    let mut variables = preset(version);
    variables.extend(of_runtime(&version.spec.runtime));
    variables.extend(version.spec.variables.clone());
    variables.extend(reserved(version, around));
    let mut set = |name: &str, value: &str| variables.insert(name.to_owned(), value.to_owned());
    set("_HANDLER", &version.spec.handler);
    set("AWS_LAMBDA_LOG_GROUP_NAME", &version.logging.group);
    set("AWS_LAMBDA_LOG_STREAM_NAME", around.log_stream);
    set("LAMBDA_TASK_ROOT", "/var/task");
    set("LAMBDA_RUNTIME_DIR", "/var/runtime");
    if !version.spec.runtime.starts_with("provided") {
        let name = format!("AWS_Lambda_{}", version.spec.runtime);
        set("AWS_EXECUTION_ENV", &name);
    }
    if version.logging.format == LogFormat::Json {
        set("AWS_LAMBDA_LOG_FORMAT", "JSON");
        let level = version.logging.application_level.as_deref();
        set("AWS_LAMBDA_LOG_LEVEL", level.unwrap_or("INFO"));
    }
    variables
}

/// The variables of an external extension, which sees less.
pub(crate) fn of_extension(version: &FunctionVersion, around: &Surroundings<'_>) -> Variables {
    let mut variables = preset(version);
    variables.retain(|name, _| !name.contains("XRAY"));
    variables.extend(version.spec.variables.clone());
    variables.extend(reserved(version, around));
    variables
}

fn owned<const N: usize>(pairs: [(&str, &str); N]) -> Variables {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    pairs.map(owned).into()
}

fn preset(version: &FunctionVersion) -> Variables {
    let mut variables = owned([
        ("TZ", ":UTC"),
        ("LANG", "en_US.UTF-8"),
        (
            "PATH",
            "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        ),
        (
            "LD_LIBRARY_PATH",
            "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
        ),
        ("PWD", "/var/task"),
        ("SHLVL", "0"),
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
    ]);
    if version.spec.runtime.starts_with("python") {
        variables.insert("LC_CTYPE".to_owned(), "C.UTF-8".to_owned());
    }
    variables
}

/// Where the managed runtimes look for modules.
fn of_runtime(runtime: &str) -> Variables {
    if runtime.starts_with("python") {
        return owned([("PYTHONPATH", "/var/runtime")]);
    }
    if let Some(node) = runtime.strip_prefix("nodejs") {
        let major = node.trim_end_matches(".x");
        let path = format!(
            "/opt/nodejs/node{major}/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task"
        );
        return owned([("NODE_PATH", path.as_str())]);
    }
    if let Some(ruby) = runtime.strip_prefix("ruby") {
        let gems = format!("/var/task/vendor/bundle/ruby/{ruby}.0:/opt/ruby/gems/{ruby}.0");
        return owned([
            ("GEM_PATH", gems.as_str()),
            ("RUBYLIB", "/var/task:/var/runtime/lib:/opt/ruby/lib"),
        ]);
    }
    Variables::new()
}

/// What no configuration can set.
fn reserved(version: &FunctionVersion, around: &Surroundings<'_>) -> Variables {
    let spec = &version.spec;
    let memory = spec.memory_mb.to_string();
    owned([
        ("AWS_LAMBDA_RUNTIME_API", around.runtime_api),
        ("AWS_LAMBDA_FUNCTION_NAME", &spec.function_name),
        ("AWS_LAMBDA_FUNCTION_VERSION", &spec.version),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_REGION", &spec.region),
        ("AWS_DEFAULT_REGION", &spec.region),
        ("AWS_ACCESS_KEY_ID", &around.keys.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", &around.keys.secret_access_key),
        ("AWS_SESSION_TOKEN", &around.keys.session_token),
    ])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::test_versions::version;

    fn keys() -> Keys {
        Keys {
            access_key_id: "ASIA".to_owned(),
            secret_access_key: "secret".to_owned(),
            session_token: "token".to_owned(),
            valid_for: std::time::Duration::from_secs(3600),
        }
    }

    fn around(keys: &Keys) -> Surroundings<'_> {
        Surroundings {
            runtime_api: "127.0.0.1:9001",
            log_stream: "s",
            keys,
        }
    }

    #[test]
    fn a_configuration_sets_what_is_preset_and_nothing_reserved() {
        let mut version = version("f");
        let mut spec = (*version.spec).clone();
        for name in ["PATH", "AWS_REGION"] {
            spec.variables.insert(name.to_owned(), "mine".to_owned());
        }
        version.spec = Arc::new(spec);
        let keys = keys();
        let variables = of_bootstrap(&version, &around(&keys));
        assert_eq!(variables["PATH"], "mine");
        assert_eq!(variables["AWS_REGION"], "us-east-1");
        assert_eq!(variables["TZ"], ":UTC");
        assert_eq!(variables["AWS_SESSION_TOKEN"], "token");
        assert!(!variables.contains_key("AWS_EXECUTION_ENV"));
        assert!(!variables.contains_key("AWS_LAMBDA_MAX_CONCURRENCY"));
    }

    #[test]
    fn extensions_see_less() {
        let (version, keys) = (version("f"), keys());
        let variables = of_extension(&version, &around(&keys));
        for name in ["_HANDLER", "AWS_LAMBDA_LOG_GROUP_NAME", "LAMBDA_TASK_ROOT"] {
            assert!(!variables.contains_key(name), "{name}");
        }
        assert_eq!(variables["AWS_LAMBDA_RUNTIME_API"], "127.0.0.1:9001");
    }
}
