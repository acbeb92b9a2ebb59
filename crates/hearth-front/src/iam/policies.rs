//! Policies of roles: inline ones by name, managed ones by ARN.

use hearth_control::account::RolePolicy;

use super::{Outcome, Request, refused, validation};
use crate::fault::Fault;
use crate::policy::Kind;
use crate::uri::encode;
use crate::wire::xml::Xml;

impl Request<'_> {
    pub(super) async fn put_role_policy(&self) -> Outcome {
        let role = self.role_name()?;
        let policy = RolePolicy {
            name: self.policy_name()?.to_owned(),
            document: self.document("PolicyDocument", Kind::Identity)?,
        };
        self.control
            .put_role_policy(self.account, &role, policy)
            .await
            .map_err(refused)?;
        Ok(("PutRolePolicy", Xml::default()))
    }

    pub(super) async fn get_role_policy(&self) -> Outcome {
        let (role, name) = (self.role_name()?, self.policy_name()?);
        let found = self.control.role_policy(self.account, &role, name).await;
        let policy = found.map_err(refused)?;
        let result = Xml::default()
            .text("RoleName", role.as_str())
            .text("PolicyName", &policy.name)
            .text("PolicyDocument", &encode(&policy.document));
        Ok(("GetRolePolicy", result))
    }

    pub(super) async fn list_role_policies(&self) -> Outcome {
        let role = self.role_name()?;
        let found = self
            .control
            .role_policies(self.account, &role)
            .await
            .map_err(refused)?;
        let names = Xml::default().element("PolicyNames", |xml| {
            found
                .iter()
                .fold(xml, |xml, policy| xml.text("member", &policy.name))
        });
        Ok(("ListRolePolicies", names.text("IsTruncated", "false")))
    }

    pub(super) async fn delete_role_policy(&self) -> Outcome {
        let (role, name) = (self.role_name()?, self.policy_name()?);
        self.control
            .delete_role_policy(self.account, &role, name)
            .await
            .map_err(refused)?;
        Ok(("DeleteRolePolicy", Xml::default()))
    }

    pub(super) async fn attach_role_policy(&self) -> Outcome {
        let (role, arn) = (self.role_name()?, self.policy_arn()?);
        self.control
            .attach_role_policy(self.account, &role, arn)
            .await
            .map_err(refused)?;
        Ok(("AttachRolePolicy", Xml::default()))
    }

    pub(super) async fn list_attached_role_policies(&self) -> Outcome {
        let role = self.role_name()?;
        let found = self
            .control
            .attached_role_policies(self.account, &role)
            .await;
        let arns = found.map_err(refused)?;
        let result = Xml::default().members("AttachedPolicies", &arns, |xml, arn| {
            let name = arn.rsplit('/').next().unwrap_or_default();
            xml.text("PolicyName", name).text("PolicyArn", arn)
        });
        Ok((
            "ListAttachedRolePolicies",
            result.text("IsTruncated", "false"),
        ))
    }

    pub(super) async fn detach_role_policy(&self) -> Outcome {
        let (role, arn) = (self.role_name()?, self.policy_arn()?);
        self.control
            .detach_role_policy(self.account, &role, arn)
            .await
            .map_err(refused)?;
        Ok(("DetachRolePolicy", Xml::default()))
    }

    fn policy_name(&self) -> Result<&str, Fault> {
        /// IAM's own bound.
        const MAX_BYTES: usize = 128;
        let name = self.required("PolicyName")?;
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
        if name.len() <= MAX_BYTES && name.bytes().all(is_allowed) {
            Ok(name)
        } else {
            Err(validation("The specified value for policyName is invalid."))
        }
    }

    fn policy_arn(&self) -> Result<&str, Fault> {
        let arn = self.required("PolicyArn")?;
        let is_arn = arn.starts_with("arn:aws") && (20..=2048).contains(&arn.len());
        if is_arn && arn.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(arn)
        } else {
            Err(Fault::new(
                400,
                "InvalidInput",
                format!("ARN {arn} is not valid."),
            ))
        }
    }
}
