//! The role that reads the artifact of an image, as on AWS (facts section 6).
//!
//! It decides where it is a role of the account. Many images name one that was never made, since Hearth took any for a
//! long time: those are read with the rights of the account, and whoever creates the image must be allowed to read the
//! artifact in any case ([`crate::lambda`]).

use hearth_control::Control;
use hearth_control::id::AccountId;

use super::role::{RoleError, RoleName};
use super::{Denied, ask};
use crate::policy::Facts;

/// The name of the service's session with the role.
const SESSION: &str = "microvm-image-build";

/// Why a build role does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BuildRoleError {
    /// It does not trust the service, or has a policy that is not understood.
    NotAssumable,
    /// Its policies do not allow it.
    Denied(Denied),
    /// The store failed.
    Unavailable,
}

/// Whether the role of this ARN, if it is one of the account, may read the object for the image.
///
/// # Errors
///
/// [`BuildRoleError`].
pub(crate) async fn may_build_role_read(
    control: &Control,
    account: AccountId,
    role: &str,
    image: &str,
    object: String,
) -> Result<(), BuildRoleError> {
    let Some(name) = role
        .parse()
        .ok()
        .filter(|name: &RoleName| name.account == account)
    else {
        return Ok(());
    };
    let role = match name.assume(control, image).await {
        Ok(role) => role,
        Err(RoleError::None | RoleError::Absent) => return Ok(()),
        Err(RoleError::NotAssumable) => return Err(BuildRoleError::NotAssumable),
        Err(RoleError::Unavailable) => return Err(BuildRoleError::Unavailable),
    };
    let session = name.session_arn(SESSION);
    let may_read = ask(
        &role.policies,
        &session,
        "s3:GetObject",
        &[object],
        &Facts::new(),
    );
    may_read.map_err(BuildRoleError::Denied)
}
