//! Limits of accounts.

/// Most functions that an account may have in a region: their records take a few kilobytes each.
const MAX_FUNCTIONS: u32 = 10_000;

/// Most versions of one function, and of one layer. AWS bounds them by storage alone; a zip of 100 bytes would let an
/// account write any number of records.
const MAX_VERSIONS: u32 = 10_000;

/// Most aliases of one function.
const MAX_ALIASES: u32 = 1_000;

/// Most layers of an account in a region.
const MAX_LAYERS: u32 = 10_000;

/// Limits of accounts. Those that AWS publishes have its values (facts sections 1.2, 1.7 and 5).
#[derive(Clone, Debug)]
pub struct FunctionLimits {
    /// Size of a zip that a request contains, in bytes.
    pub zipped_bytes: u64,
    /// Size of a function's code and layers when unpacked, in bytes.
    pub unzipped_bytes: u64,
    /// Size of all zips of an account in a region, in bytes.
    pub code_storage_bytes: u64,
    /// Longest timeout of a function, in seconds.
    pub timeout_s: u32,
    /// Concurrent executions of an account in a region.
    pub concurrency: u32,
    /// Concurrent executions that no function may reserve.
    pub unreserved_concurrency: u32,
    /// Functions of an account in a region.
    pub functions: u32,
    /// Versions of a function or of a layer.
    pub versions: u32,
    /// Aliases of a function.
    pub aliases: u32,
    /// Layers of an account in a region.
    pub layers: u32,
}

impl Default for FunctionLimits {
    fn default() -> Self {
        Self {
            zipped_bytes: 52_428_800,
            unzipped_bytes: 262_144_000,
            code_storage_bytes: 80_530_636_800,
            timeout_s: 1800,
            concurrency: 1000,
            unreserved_concurrency: 100,
            functions: MAX_FUNCTIONS,
            versions: MAX_VERSIONS,
            aliases: MAX_ALIASES,
            layers: MAX_LAYERS,
        }
    }
}
