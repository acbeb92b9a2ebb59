//! State that all client connections share.

use std::sync::Arc;

use crate::backend::Backend;
use crate::certificates::Certificates;
use crate::per_microvm::PerMicrovmTable;
use crate::resume::Resumes;
use crate::settings::Settings;
use crate::token::TokenKeys;
use crate::upstream::Dialer;

/// State that all client connections share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) keys: Arc<TokenKeys>,
    pub(crate) microvms: PerMicrovmTable,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) resumes: Arc<Resumes>,
    pub(crate) dialer: Arc<Dialer>,
}
