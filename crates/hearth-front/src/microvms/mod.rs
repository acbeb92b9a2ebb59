//! `lambda-microvms`: its 24 operations, one file each.

mod create_microvm_auth_token;
mod create_microvm_image;
mod create_microvm_shell_auth_token;
mod delete_microvm_image;
mod delete_microvm_image_version;
mod get_microvm;
mod get_microvm_image;
mod get_microvm_image_build;
mod get_microvm_image_version;
mod list_managed_microvm_image_versions;
mod list_managed_microvm_images;
mod list_microvm_image_builds;
mod list_microvm_image_versions;
mod list_microvm_images;
mod list_microvms;
mod list_tags;
mod resume_microvm;
mod run_microvm;
mod suspend_microvm;
mod tag_resource;
mod terminate_microvm;
mod untag_resource;
mod update_microvm_image;
mod update_microvm_image_version;

mod identifiers;
mod image_spec;
pub(crate) mod shape;
mod token_request;

use serde_json::Value;

use crate::fault::Fault;
use crate::lambda::{Answer, Context};

/// Performs the operation of the context on an input that its table has accepted.
pub(crate) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    match context.operation.name {
        "CreateMicrovmAuthToken" => create_microvm_auth_token::perform(context, input).await,
        "CreateMicrovmImage" => create_microvm_image::perform(context, input).await,
        "CreateMicrovmShellAuthToken" => {
            create_microvm_shell_auth_token::perform(context, input).await
        }
        "DeleteMicrovmImage" => delete_microvm_image::perform(context, input).await,
        "DeleteMicrovmImageVersion" => delete_microvm_image_version::perform(context, input).await,
        "GetMicrovm" => get_microvm::perform(context, input).await,
        "GetMicrovmImage" => get_microvm_image::perform(context, input).await,
        "GetMicrovmImageBuild" => get_microvm_image_build::perform(context, input).await,
        "GetMicrovmImageVersion" => get_microvm_image_version::perform(context, input).await,
        "ListManagedMicrovmImageVersions" => {
            list_managed_microvm_image_versions::perform(context, input).await
        }
        "ListManagedMicrovmImages" => list_managed_microvm_images::perform(context, input).await,
        "ListMicrovmImageBuilds" => list_microvm_image_builds::perform(context, input).await,
        "ListMicrovmImageVersions" => list_microvm_image_versions::perform(context, input).await,
        "ListMicrovmImages" => list_microvm_images::perform(context, input).await,
        "ListMicrovms" => list_microvms::perform(context, input).await,
        "ListTags" => list_tags::perform(context, input).await,
        "ResumeMicrovm" => resume_microvm::perform(context, input).await,
        "RunMicrovm" => run_microvm::perform(context, input).await,
        "SuspendMicrovm" => suspend_microvm::perform(context, input).await,
        "TagResource" => tag_resource::perform(context, input).await,
        "TerminateMicrovm" => terminate_microvm::perform(context, input).await,
        "UntagResource" => untag_resource::perform(context, input).await,
        "UpdateMicrovmImage" => update_microvm_image::perform(context, input).await,
        "UpdateMicrovmImageVersion" => update_microvm_image_version::perform(context, input).await,
        other => Err(Fault::not_implemented(other)),
    }
}
