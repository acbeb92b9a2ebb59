//! Versions of functions for unit tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::environment::{CodeFile, EnvironmentSpec};
use crate::version::{AccountConcurrency, EventRetries, FunctionVersion, Logging};

/// A version of the function of this name.
pub(crate) fn version(name: &str) -> FunctionVersion {
    FunctionVersion {
        spec: Arc::new(EnvironmentSpec {
            account: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
            function_name: name.to_owned(),
            function_arn: format!("arn:aws:lambda:us-east-1:000000000000:function:{name}"),
            version: "$LATEST".to_owned(),
            runtime: "provided.al2023".to_owned(),
            handler: "app.handler".to_owned(),
            memory_mb: 128,
            ephemeral_storage_mb: 512,
            code: CodeFile {
                path: "/nowhere".into(),
                sha256: [0; 32],
            },
            layers: Vec::new(),
            variables: BTreeMap::new(),
            tenant: None,
        }),
        timeout: Duration::from_secs(3),
        role_arn: "arn:aws:iam::000000000000:role/r".to_owned(),
        logging: Logging::text(name),
        runtime_version: "provided:al2023.v1".to_owned(),
        runtime_version_arn: "arn:aws:lambda:us-east-1::runtime:0".to_owned(),
        reserved_concurrency: None,
        account: AccountConcurrency {
            limit: 1000,
            reserved: 0,
        },
        retries: EventRetries::default(),
    }
}
