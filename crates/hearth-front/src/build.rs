//! The parts of a front, assembled in one place.

use std::path::PathBuf;
use std::sync::Arc;

use hearth_control::Control;
use hearth_control::id::Region;
use hearth_functions::Functions;
use hearth_logs::LogStore;
use hearth_objects::ObjectStore;

use crate::audit::AuditLog;
use crate::blocking_calls::BlockingCalls;
use crate::body::BodyReader;
use crate::disks::Disks;
use crate::endpoint_tokens::EndpointTokens;
use crate::front::Front;
use crate::function_service::FunctionService;
use crate::guest::Metadata;
use crate::guests::Guests;
use crate::iam::{AccountLocks, Iam};
use crate::identity::{Identities, SessionKey};
use crate::invocations::Invocations;
use crate::keys::Keys;
use crate::known_hosts::KnownHosts;
use crate::lambda::Lambda;
use crate::lambda::page::PageTokens;
use crate::logs::Logs;
use crate::memory_shares::MemoryShares;
use crate::metrics::FrontMetrics;
use crate::metrics_page::MetricsPage;
use crate::operations::{Followers, Operations};
use crate::operator::Operator;
use crate::s3::S3;

/// The parts of a front.
pub struct FrontConfig {
    /// The region of this service. Requests to regional services that are signed for another region are denied.
    pub region: Region,
    /// The control plane.
    pub control: Control,
    /// Looks up access keys.
    pub keys: Arc<dyn Keys>,
    /// The secret that temporary keys of execution roles are derived from.
    pub sessions: SessionKey,
    /// The log store.
    pub logs: Arc<LogStore>,
    /// The functions and layers of all accounts.
    pub functions: Arc<Functions>,
    /// What runs functions. Without it, invocations are refused by name.
    pub invocations: Option<Invocations>,
    /// The object store behind S3.
    pub objects: Arc<ObjectStore>,
    /// Issues tokens for endpoints.
    pub endpoint_tokens: Arc<dyn EndpointTokens>,
    /// The address of another S3 that is used instead of `objects`, if one is configured.
    pub s3_elsewhere: Option<String>,
    /// Running guests, for Hearth's own operations.
    pub guests: Arc<dyn Guests>,
    /// What takes room on the disks, for the operator.
    pub disks: Arc<dyn Disks>,
    /// Seals and opens page tokens.
    pub pages: PageTokens,
    /// The file of the audit log. Created if it does not exist.
    pub audit_log: PathBuf,
    /// The front's metrics.
    pub metrics: FrontMetrics,
    /// What requests may have the service hold.
    pub memory: MemoryShares,
    /// What is measured, for the operator.
    pub page: Arc<MetricsPage>,
    /// Whether the API's listener shows the metrics of the host to everybody at `/metrics`, and by which names it may
    /// be asked. Meant for a listener that only this machine reaches.
    pub metrics_shown_to: Option<KnownHosts>,
}

/// Why a front cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// The audit log cannot be opened.
    #[error("cannot open the audit log")]
    AuditLog(#[source] std::io::Error),
}

impl Front {
    /// Builds a front.
    ///
    /// # Errors
    ///
    /// [`FrontError`].
    pub fn new(config: FrontConfig) -> Result<Self, FrontError> {
        let lambda = Lambda {
            control: config.control.clone(),
            pages: config.pages,
            endpoint_tokens: config.endpoint_tokens,
            functions: FunctionService {
                store: config.functions,
                objects: match config.s3_elsewhere {
                    None => Some(Arc::clone(&config.objects)),
                    Some(_) => None,
                },
                places: Arc::new(BlockingCalls::for_calls()),
            },
            invocations: config.invocations,
        };
        let operations = Operations {
            control: config.control.clone(),
            guests: config.guests,
            disks: config.disks,
            page: Arc::clone(&config.page),
            logs: Arc::clone(&config.logs),
            followers: Arc::<Followers>::default(),
        };
        let identities = Identities {
            keys: config.keys,
            sessions: config.sessions,
            control: config.control.clone(),
        };
        let places = Arc::new(BlockingCalls::for_calls());
        let region = config.region;
        Ok(Self {
            region: region.clone(),
            s3: S3::new(
                identities.clone(),
                config.objects,
                Arc::clone(&places),
                config.s3_elsewhere,
                region.as_str(),
                &config.memory,
            ),
            metadata: Metadata {
                sessions: identities.sessions.clone(),
                control: config.control.clone(),
            },
            identities,
            bodies: BodyReader::new(&config.memory),
            lambda,
            operations,
            logs: Logs {
                store: config.logs,
                places,
            },
            iam: Iam {
                control: config.control,
                locks: AccountLocks::default(),
            },
            operator: Operator {
                page: config.page,
                shown_to: config.metrics_shown_to,
            },
            metrics: config.metrics,
            audit: AuditLog::open(&config.audit_log).map_err(FrontError::AuditLog)?,
        })
    }
}
