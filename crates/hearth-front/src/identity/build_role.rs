//! Roles that the service assumes: the one that reads the artifact of an image, as on AWS (facts section 6), and that of
//! a function.
//!
//! The role is checked only if it exists in the account. Many images name one that was never created, because earlier
//! releases of Hearth accepted any name: their artifacts are read with the rights of the account. Whoever creates the
//! image must be allowed to read the artifact in any case ([`crate::lambda`]).

use hearth_control::Control;
use hearth_control::id::AccountId;

use super::role::{Denied, RoleArn, RoleError, ask};
use crate::policy::Facts;

/// The session name that the service uses with the role.
const SESSION: &str = "microvm-image-build";

/// Why a build role may not read the artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BuildRoleError {
    /// The role does not trust the service, or has a policy that is not understood.
    NotAssumable,
    /// The policies of the role do not allow it.
    Denied(Denied),
    /// The store failed.
    Unavailable,
}

/// Checks that the role with this ARN, if it exists in the account, may read the object for the image.
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
        .filter(|name: &RoleArn| name.account == account)
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

/// Checks that the service may assume the role with this ARN on behalf of a function. Unlike a build role, it has to
/// exist.
///
/// # Errors
///
/// [`BuildRoleError::NotAssumable`] or [`BuildRoleError::Unavailable`].
pub(crate) async fn check_function_role(
    control: &Control,
    account: AccountId,
    role: &str,
    function: &str,
) -> Result<(), BuildRoleError> {
    let role = role.parse().ok();
    let role = role.filter(|role: &RoleArn| role.account == account);
    let role = role.ok_or(BuildRoleError::NotAssumable)?;
    match role.assume(control, function).await {
        Ok(_) => Ok(()),
        Err(RoleError::Unavailable) => Err(BuildRoleError::Unavailable),
        Err(RoleError::None | RoleError::Absent | RoleError::NotAssumable) => {
            Err(BuildRoleError::NotAssumable)
        }
    }
}
