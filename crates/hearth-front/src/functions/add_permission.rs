//! `AddPermission`: adds a statement to the policy of a function, a version or an alias.

use std::collections::BTreeMap;

use hearth_functions::{Qualifier, VersionId};

use super::names::{invalid, named};
use super::statements::{Document, principal};
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{AddPermissionInput, AddPermissionOutput};
use crate::model::values::ModelWord as _;

pub(super) async fn perform(
    context: &Context<'_>,
    input: AddPermissionInput,
) -> Result<AddPermissionOutput, Fault> {
    let named = named(context, &input.function_name, input.qualifier.as_deref())?;
    if named.qualifier == Some(Qualifier::Version(VersionId::Latest)) {
        return Err(invalid(
            "We currently do not support adding policies for $LATEST.",
        ));
    }
    let revision_id = input.revision_id.clone();
    let statement = statement(input, named.arn(context))?.stored(Vec::new())?;
    let document = statement.document.clone();
    context
        .store(move |store, owner| {
            let qualifier = named.qualifier.as_ref();
            store.add_permission(owner, &named.name, qualifier, statement, revision_id)
        })
        .await?;
    Ok(AddPermissionOutput {
        statement: Some(document),
    })
}

fn statement(input: AddPermissionInput, resource: String) -> Result<Document, Fault> {
    let auth_type = input
        .function_url_auth_type
        .map(|word| word.text().to_owned());
    let via_url = input
        .invoked_via_function_url
        .map(|is_so| is_so.to_string());
    let equals = "StringEquals";
    Ok(Document {
        sid: input.statement_id,
        effect: "Allow",
        principal: principal(&input.principal)?,
        action: input.action,
        resource,
        condition: BTreeMap::new(),
    }
    .on(equals, "lambda:FunctionUrlAuthType", auth_type)
    .on(equals, "AWS:SourceAccount", input.source_account)
    .on(equals, "aws:PrincipalOrgID", input.principal_org_id)
    .on(equals, "lambda:EventSourceToken", input.event_source_token)
    .on("Bool", "lambda:InvokedViaFunctionUrl", via_url)
    .on("ArnLike", "AWS:SourceArn", input.source_arn))
}
