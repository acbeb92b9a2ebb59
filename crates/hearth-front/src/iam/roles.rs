//! Roles.

use hearth_control::account::{CreateRole, Role};
use hearth_control::page::{Cursor, PageRequest};
use hearth_control::time::Timestamp;

use super::{Outcome, Request, refused, validation};
use crate::fault::Fault;
use crate::policy::Kind;
use crate::uri::encode;
use crate::wire::xml::Xml;

/// Shortest, longest and usual session of a role, in seconds.
const SESSION_S: (u32, u32, u32) = (3600, 43_200, 3600);

impl Request<'_> {
    pub(super) async fn create_role(&self) -> Outcome {
        let create = CreateRole {
            name: self.role_name()?,
            path: self.path()?,
            description: self.parameters.get("Description").map(str::to_owned),
            trust_policy: self.document("AssumeRolePolicyDocument", Kind::Trust)?,
            max_session_s: self.max_session_s()?,
        };
        let role = self
            .control
            .create_role(self.account, create)
            .await
            .map_err(refused)?;
        Ok(("CreateRole", write_role(Xml::default(), &role)))
    }

    pub(super) async fn get_role(&self) -> Outcome {
        let name = self.role_name()?;
        let role = self
            .control
            .role(self.account, &name)
            .await
            .map_err(refused)?;
        Ok(("GetRole", write_role(Xml::default(), &role)))
    }

    pub(super) async fn list_roles(&self) -> Outcome {
        let after = self
            .parameters
            .get("Marker")
            .map(str::parse::<Cursor>)
            .transpose();
        let after = after.map_err(|_| validation("Invalid Marker"))?;
        let asked = self
            .parameters
            .get("MaxItems")
            .map(str::parse::<u32>)
            .transpose();
        let limit = asked
            .map_err(|_| validation("Invalid MaxItems"))?
            .unwrap_or(100);
        let page = PageRequest { limit, after };
        let found = self
            .control
            .roles(self.account, page)
            .await
            .map_err(refused)?;
        let next = found.next.map(|cursor| cursor.to_string());
        let result = Xml::default()
            .members("Roles", &found.items, role_members)
            .text("IsTruncated", if next.is_some() { "true" } else { "false" })
            .optional("Marker", next.as_deref());
        Ok(("ListRoles", result))
    }

    pub(super) async fn delete_role(&self) -> Outcome {
        let name = self.role_name()?;
        self.control
            .delete_role(self.account, &name)
            .await
            .map_err(refused)?;
        Ok(("DeleteRole", Xml::default()))
    }

    pub(super) async fn update_assume_role_policy(&self) -> Outcome {
        let name = self.role_name()?;
        let policy = self.document("PolicyDocument", Kind::Trust)?;
        self.control
            .set_role_trust(self.account, &name, policy)
            .await
            .map_err(refused)?;
        Ok(("UpdateAssumeRolePolicy", Xml::default()))
    }

    fn path(&self) -> Result<String, Fault> {
        /// IAM's own bound.
        const MAX_BYTES: usize = 512;
        let path = self.parameters.get("Path").unwrap_or("/");
        let is_path = path.starts_with('/')
            && path.ends_with('/')
            && path.len() <= MAX_BYTES
            && path.bytes().all(|byte| byte.is_ascii_graphic());
        if is_path {
            Ok(path.to_owned())
        } else {
            Err(validation("The specified path is invalid."))
        }
    }

    fn max_session_s(&self) -> Result<u32, Fault> {
        let (min_s, max_s, usual_s) = SESSION_S;
        let Some(text) = self.parameters.get("MaxSessionDuration") else {
            return Ok(usual_s);
        };
        let asked_s = text
            .parse()
            .ok()
            .filter(|seconds| (min_s..=max_s).contains(seconds));
        asked_s.ok_or_else(|| validation("MaxSessionDuration must be between 3600 and 43200"))
    }
}

fn write_role(xml: Xml, role: &Role) -> Xml {
    xml.element("Role", |xml| role_members(xml, role))
}

fn role_members(xml: Xml, role: &Role) -> Xml {
    xml.text("Path", &role.path)
        .text("RoleName", role.name.as_str())
        .text("RoleId", &role.role_id)
        .text(
            "Arn",
            &format!(
                "arn:aws:iam::{}:role{}{}",
                role.account, role.path, role.name
            ),
        )
        .text("CreateDate", &iso_time(role.created_at))
        // IAM sends documents percent-encoded.
        .text("AssumeRolePolicyDocument", &encode(&role.trust_policy))
        .optional("Description", role.description.as_deref())
        .text("MaxSessionDuration", &role.max_session_s.to_string())
}

fn iso_time(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.unix_ms())
        .map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}
