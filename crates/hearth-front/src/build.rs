//! What a front is made of, put together in one place.

use std::path::PathBuf;
use std::sync::Arc;

use hearth_control::Control;
use hearth_control::id::Region;
use hearth_logs::LogStore;
use hearth_objects::ObjectStore;
use tokio::sync::Mutex;

use crate::audit::AuditLog;
use crate::body::BodyReader;
use crate::disks::Disks;
use crate::endpoint_tokens::EndpointTokens;
use crate::front::Front;
use crate::guest::Metadata;
use crate::guests::Guests;
use crate::iam::Iam;
use crate::identity::{Identities, SessionKey};
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
use crate::places::Places;
use crate::s3::S3;

/// Everything a front needs.
pub struct FrontConfig {
    /// The region it answers for; regional requests signed for another one are denied.
    pub region: Region,
    /// The control plane.
    pub control: Control,
    /// Where access keys are found.
    pub keys: Arc<dyn Keys>,
    /// What keys of execution roles are derived from.
    pub sessions: SessionKey,
    /// The log store.
    pub logs: Arc<LogStore>,
    /// The object store behind S3.
    pub objects: Arc<ObjectStore>,
    /// Makes tokens for endpoints.
    pub endpoint_tokens: Arc<dyn EndpointTokens>,
    /// The address of the S3 that is used instead of `objects`.
    pub s3_elsewhere: Option<String>,
    /// Running guests, for Hearth's own operations.
    pub guests: Arc<dyn Guests>,
    /// What is kept on disk, for the operator.
    pub disks: Arc<dyn Disks>,
    /// Seals page tokens.
    pub pages: PageTokens,
    /// The audit log; made when it is not there.
    pub audit_log: PathBuf,
    /// The front's metrics.
    pub metrics: FrontMetrics,
    /// What requests may have the service hold.
    pub memory: MemoryShares,
    /// What is measured, for the operator.
    pub page: Arc<MetricsPage>,
    /// Whether the metrics of the host are shown to everybody at `/metrics`, and who may be called how for that: for a
    /// listener that only this machine reaches.
    pub metrics_shown_to: Option<KnownHosts>,
}

/// Why a front cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// The audit log cannot be opened.
    #[error("cannot open the audit log")]
    AuditLog(#[source] std::io::Error),
}

impl Front {
    /// Puts a front together.
    ///
    /// # Errors
    ///
    /// [`FrontError`].
    pub fn new(config: FrontConfig) -> Result<Self, FrontError> {
        let lambda = Lambda {
            control: config.control.clone(),
            pages: config.pages,
            endpoint_tokens: config.endpoint_tokens,
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
        let places = Arc::new(Places::for_calls());
        Ok(Self {
            region: config.region,
            s3: S3::new(
                identities.clone(),
                config.objects,
                Arc::clone(&places),
                config.s3_elsewhere,
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
                puts: Mutex::default(),
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
