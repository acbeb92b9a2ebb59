//! Errors and refusals.

use std::io;

use hearth_zip::ArchiveError;

/// Why a zip is not kept.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    /// The zip is larger than this, in bytes.
    #[error("the zip has more than {0} bytes")]
    ZippedTooLarge(u64),
    /// The content of the zip takes more than this when unpacked, in bytes.
    #[error("the zip unpacks to more than {0} bytes")]
    UnzippedTooLarge(u64),
    /// The zip has no entry.
    #[error("the zip is empty")]
    Empty,
    /// The zip is damaged, or has names that lead out of it.
    #[error("the zip is not accepted")]
    Refused(#[source] ArchiveError),
    /// Where the zip comes from cannot be read.
    #[error("the zip cannot be read")]
    Source(#[source] io::Error),
    /// The zip cannot be stored.
    #[error("the zip cannot be stored")]
    File(#[from] io::Error),
}

/// Why an operation on functions or layers was not done. ARNs are as the request names the resource.
#[derive(Debug, thiserror::Error)]
pub enum FunctionError {
    /// There is no such function, version or alias.
    #[error("there is no function {0}")]
    NoFunction(String),
    /// The owner has a function of this name already.
    #[error("the function {0} exists")]
    FunctionExists(String),
    /// The function is being created.
    #[error("the function {0} is being created")]
    Pending(String),
    /// An update of the function is under way.
    #[error("an update of the function {0} is under way")]
    UpdateInProgress(String),
    /// The revision id of the request is not the current one.
    #[error("the revision id is not the current one")]
    StaleRevision,
    /// The digest of the request is not that of the code. Both in base64.
    #[error("the code has another digest")]
    CodeDiffers {
        /// What the request has.
        given: String,
        /// What `$LATEST` has.
        current: String,
    },
    /// The code and the layers take more than this when unpacked, in bytes.
    #[error("code and layers unpack to more than {0} bytes")]
    UnzippedTooLarge(u64),
    /// The account has reached its limit of bytes, or one of records.
    #[error("the account has reached a limit of its code storage")]
    CodeStorageExceeded,
    /// A function has too many aliases.
    #[error("the function has too many aliases")]
    TooManyAliases,
    /// `$LATEST` goes with its function alone.
    #[error("$LATEST cannot be deleted alone")]
    LatestNotDeletable,
    /// An alias was named where a version is deleted.
    #[error("an alias cannot be deleted like a version")]
    AliasNotDeletable,
    /// Aliases point to the version.
    #[error("aliases point to the version: {0:?}")]
    VersionInUse(Vec<String>),
    /// The function has an alias of this name already.
    #[error("the alias {0} exists")]
    AliasExists(String),
    /// The function has no such alias.
    #[error("there is no alias {0}")]
    NoAlias(String),
    /// `$LATEST` cannot be one of two versions of an alias.
    #[error("$LATEST cannot have a weight")]
    WeightedLatest,
    /// An alias names one version twice.
    #[error("the alias names version {0} twice")]
    VersionTwice(String),
    /// Too little concurrency would be left to the other functions.
    #[error("too little concurrency would be left unreserved")]
    ReservesTooMuch,
    /// There is no such layer version.
    #[error("there is no layer version {0}")]
    NoLayerVersion(String),
    /// Two versions of one layer.
    #[error("{0} and {1} are versions of the same layer")]
    SameLayer(String, String),
    /// Too many layers.
    #[error("a function cannot have so many layers")]
    TooManyLayers,
    /// A layer of another region.
    #[error("a layer is in another region")]
    LayerElsewhere,
    /// A layer of another account, which does not let this one use it.
    #[error("the layer {0} is another account's")]
    LayerDenied(String),
    /// There is a statement of this id already.
    #[error("the statement exists")]
    StatementExists(String),
    /// There is no statement of this id.
    #[error("there is no statement {0}")]
    NoStatement(String),
    /// The resource has no policy.
    #[error("the resource has no policy")]
    NoPolicy,
    /// The policy would be too long.
    #[error("the policy would be too long")]
    PolicyTooLong,
    /// The function, version or alias has no settings of asynchronous invocations.
    #[error("{0} has no settings of asynchronous invocations")]
    NoEventInvoke(String),
    /// A resource has too many tags.
    #[error("a function cannot have so many tags")]
    TooManyTags,
    /// The variables take more than 4 KB as JSON, which this is.
    #[error("the environment variables are too large")]
    EnvironmentTooLarge(String),
    /// Variables that the service sets itself.
    #[error("reserved environment variables: {0:?}")]
    ReservedVariables(Vec<String>),
    /// Levels of logs need the JSON format.
    #[error("log levels need the JSON format")]
    LevelsOfText,
    /// The log group's name begins with `aws/`.
    #[error("the log group is AWS's own")]
    ReservedLogGroup,
    /// The database was written by a later release.
    #[error("the functions' database has version {0}, which this release does not know")]
    UnknownVersion(i64),
    /// The database failed.
    #[error("the functions' database failed")]
    Database(#[source] hearth_sqlite::Error),
    /// The database contains data that this release did not write.
    #[error("the functions' database is damaged")]
    Damaged(#[from] serde_json::Error),
    /// A file could not be read or written.
    #[error("a file of the functions' store failed")]
    File(#[from] io::Error),
}

impl From<hearth_sqlite::Error> for FunctionError {
    fn from(error: hearth_sqlite::Error) -> Self {
        match error {
            hearth_sqlite::Error::Newer { found, .. } => Self::UnknownVersion(found),
            other => Self::Database(other),
        }
    }
}

impl From<rusqlite::Error> for FunctionError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}
