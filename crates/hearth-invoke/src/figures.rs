//! Numbers of invocations, for metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::invocation::Throttle;
use crate::version::FunctionVersion;

/// Functions that are counted on their own. Further ones are counted together: names come from users.
const MAX_FUNCTIONS: usize = 1000;

/// Counters by function.
#[derive(Debug, Default)]
pub struct Figures {
    functions: Mutex<BTreeMap<String, FunctionFigures>>,
}

/// What was counted of one function since the service began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FunctionFigures {
    /// Invocations that were answered.
    pub invocations: u64,
    /// Those of them that ended with a function error.
    pub errors: u64,
    /// Invocations that were throttled.
    pub throttles: u64,
    /// Environments that were started.
    pub environments: u64,
}

impl Figures {
    /// The counters of each function, by ARN.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, FunctionFigures> {
        self.functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn answered(&self, version: &FunctionVersion, failed: bool) {
        self.count(version, |figures| {
            figures.invocations += 1;
            figures.errors += u64::from(failed);
        });
    }

    pub(crate) fn throttled(&self, version: &FunctionVersion, _throttle: Throttle) {
        self.count(version, |figures| figures.throttles += 1);
    }

    pub(crate) fn started(&self, version: &FunctionVersion) {
        self.count(version, |figures| figures.environments += 1);
    }

    fn count(&self, version: &FunctionVersion, add: impl FnOnce(&mut FunctionFigures)) {
        let mut functions = self
            .functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let arn = &version.spec.function_arn;
        let is_new = !functions.contains_key(arn);
        let name = if is_new && functions.len() >= MAX_FUNCTIONS {
            "other"
        } else {
            arn
        };
        add(functions.entry(name.to_owned()).or_default());
    }
}
