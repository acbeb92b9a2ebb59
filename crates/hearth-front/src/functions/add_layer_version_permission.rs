//! `AddLayerVersionPermission`: lets other accounts use a version of a layer.

use std::collections::BTreeMap;

use super::layer_names::{layer_arn, own_layer};
use super::statements::{Document, principal};
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{AddLayerVersionPermissionInput, AddLayerVersionPermissionOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: AddLayerVersionPermissionInput,
) -> Result<AddLayerVersionPermissionOutput, Fault> {
    let name = own_layer(context, &input.layer_name)?;
    let arn = layer_arn(context, &input.layer_name, input.version_number)?;
    let organization = input.organization_id;
    // Hearth has no organizations: nobody is of one.
    let accounts = match organization {
        None => vec![account(&input.principal)],
        Some(_) => Vec::new(),
    };
    let statement = Document {
        sid: input.statement_id,
        effect: "Allow",
        principal: principal(&input.principal)?,
        action: input.action,
        resource: arn.to_string(),
        condition: BTreeMap::new(),
    };
    let statement = statement.on("StringEquals", "aws:PrincipalOrgID", organization);
    let statement = statement.stored(accounts)?;
    let document = statement.document.clone();
    let revision = context.store(move |store, owner| {
        store.add_layer_permission(owner, &name, arn.version, statement, input.revision_id)
    });
    Ok(AddLayerVersionPermissionOutput {
        revision_id: Some(revision.await?),
        statement: Some(document),
    })
}

/// The account that a principal stands for: itself, that of a root ARN, or `*`.
fn account(principal: &str) -> String {
    let of_root = principal.strip_prefix("arn:aws:iam::");
    let of_root = of_root.and_then(|rest| rest.strip_suffix(":root"));
    of_root.unwrap_or(principal).to_owned()
}
