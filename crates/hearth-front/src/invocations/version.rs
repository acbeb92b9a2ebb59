//! From a version as the control plane resolves it to one that can run.

use std::sync::Arc;
use std::time::Duration;

use hearth_functions::{AccountUsage, CodeFile, LogFormat, Resolved, runtime_version_arn};
use hearth_invoke::{
    AccountConcurrency, EnvironmentSpec, EventRetries, FunctionVersion, Logging, SystemLogLevel,
};

/// The stored digest of a zip is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the digest of a zip cannot be read")]
pub(super) struct BadDigest;

/// The version for the runner of invocations.
pub(super) fn function_version(
    resolved: &Resolved,
    account: AccountUsage,
    concurrency: u32,
    tenant: Option<String>,
) -> Result<FunctionVersion, BadDigest> {
    let layers: Result<Vec<_>, _> = resolved.layers.iter().map(code_file).collect();
    let spec = EnvironmentSpec {
        account: resolved.owner.account.clone(),
        region: resolved.owner.region.clone(),
        function_name: resolved.name.clone(),
        function_arn: resolved.function_arn.clone(),
        version: resolved.version.to_string(),
        runtime: resolved.runtime.clone(),
        handler: resolved.handler.clone(),
        memory_mb: resolved.memory_mb,
        ephemeral_storage_mb: resolved.ephemeral_storage_mb,
        code: code_file(&resolved.code)?,
        layers: layers?,
        variables: resolved.environment.clone(),
        tenant,
    };
    let settings = resolved.event_invoke;
    let usual = EventRetries::default();
    Ok(FunctionVersion {
        timeout: Duration::from_secs(resolved.timeout_s.into()),
        role_arn: resolved.role_arn.clone(),
        logging: logging(&resolved.logging),
        runtime_version: runtime_version(&resolved.runtime),
        runtime_version_arn: runtime_version_arn(&spec.region, &resolved.runtime),
        reserved_concurrency: resolved.reserved_concurrency,
        account: AccountConcurrency {
            limit: concurrency,
            reserved: account.reserved,
        },
        retries: EventRetries {
            attempts: settings.retries.map_or(usual.attempts, |retries| {
                u8::try_from(retries).unwrap_or(usual.attempts)
            }),
            max_age_s: settings.max_age_s.unwrap_or(usual.max_age_s),
        },
        spec: Arc::new(spec),
    })
}

fn code_file(file: &CodeFile) -> Result<hearth_invoke::CodeFile, BadDigest> {
    let mut sha256 = [0; 32];
    let digits = file.sha256.as_bytes();
    if digits.len() != 2 * sha256.len() {
        return Err(BadDigest);
    }
    for (byte, pair) in sha256.iter_mut().zip(digits.chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| BadDigest)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| BadDigest)?;
    }
    Ok(hearth_invoke::CodeFile {
        path: file.path.clone(),
        sha256,
    })
}

fn logging(logging: &hearth_functions::Logging) -> Logging {
    Logging {
        format: match logging.format {
            LogFormat::Text => hearth_invoke::LogFormat::Text,
            LogFormat::Json => hearth_invoke::LogFormat::Json,
        },
        application_level: logging.application_level.clone(),
        system_level: match logging.system_level.as_deref() {
            Some("DEBUG") => SystemLogLevel::Debug,
            Some("WARN") => SystemLogLevel::Warn,
            _ => SystemLogLevel::Info,
        },
        group: logging.group.clone(),
    }
}

/// `python3.11` is `python:3.11.v1`, as AWS prints it.
fn runtime_version(runtime: &str) -> String {
    let runtime = runtime.trim_end_matches(".x");
    let digit = runtime.find(|letter: char| letter.is_ascii_digit());
    match (runtime.split_once('.'), digit) {
        (Some(("provided", system)), _) => format!("provided:{system}.v1"),
        (_, Some(place)) => format!("{}:{}.v1", &runtime[..place], &runtime[place..]),
        _ => format!("{runtime}:v1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_runtimes_are_named_as_on_aws() {
        for (runtime, version) in [
            ("python3.11", "python:3.11.v1"),
            ("nodejs20.x", "nodejs:20.v1"),
            ("provided.al2023", "provided:al2023.v1"),
        ] {
            assert_eq!(runtime_version(runtime), version);
        }
    }

    #[test]
    fn a_digest_is_32_bytes_of_hexadecimal_digits() {
        let file = |sha256: &str| CodeFile {
            path: "/x".into(),
            sha256: sha256.to_owned(),
            bytes: 1,
        };
        let read = code_file(&file(&"0f".repeat(32))).unwrap();
        assert_eq!(read.sha256, [15; 32]);
        for bad in ["", "0f", &"zz".repeat(32)] {
            assert_eq!(code_file(&file(bad)), Err(BadDigest));
        }
    }
}
