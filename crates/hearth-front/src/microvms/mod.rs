//! `lambda-microvms`: its operations, one file each.

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

use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::*;

impl LambdaMicrovms for Context<'_> {
    async fn create_microvm_auth_token(
        &self,
        input: CreateMicrovmAuthTokenInput,
    ) -> Result<CreateMicrovmAuthTokenOutput, Fault> {
        create_microvm_auth_token::perform(self, input).await
    }

    async fn create_microvm_image(
        &self,
        input: CreateMicrovmImageInput,
    ) -> Result<CreateMicrovmImageOutput, Fault> {
        create_microvm_image::perform(self, input).await
    }

    async fn create_microvm_shell_auth_token(
        &self,
        input: CreateMicrovmShellAuthTokenInput,
    ) -> Result<CreateMicrovmShellAuthTokenOutput, Fault> {
        create_microvm_shell_auth_token::perform(self, input).await
    }

    async fn delete_microvm_image(
        &self,
        input: DeleteMicrovmImageInput,
    ) -> Result<DeleteMicrovmImageOutput, Fault> {
        delete_microvm_image::perform(self, input).await
    }

    async fn delete_microvm_image_version(
        &self,
        input: DeleteMicrovmImageVersionInput,
    ) -> Result<DeleteMicrovmImageVersionOutput, Fault> {
        delete_microvm_image_version::perform(self, input).await
    }

    async fn get_microvm(&self, input: GetMicrovmInput) -> Result<GetMicrovmOutput, Fault> {
        get_microvm::perform(self, input).await
    }

    async fn get_microvm_image(
        &self,
        input: GetMicrovmImageInput,
    ) -> Result<GetMicrovmImageOutput, Fault> {
        get_microvm_image::perform(self, input).await
    }

    async fn get_microvm_image_build(
        &self,
        input: GetMicrovmImageBuildInput,
    ) -> Result<GetMicrovmImageBuildOutput, Fault> {
        get_microvm_image_build::perform(self, input).await
    }

    async fn get_microvm_image_version(
        &self,
        input: GetMicrovmImageVersionInput,
    ) -> Result<GetMicrovmImageVersionOutput, Fault> {
        get_microvm_image_version::perform(self, input).await
    }

    async fn list_managed_microvm_image_versions(
        &self,
        input: ListManagedMicrovmImageVersionsInput,
    ) -> Result<ListManagedMicrovmImageVersionsOutput, Fault> {
        list_managed_microvm_image_versions::perform(self, input).await
    }

    async fn list_managed_microvm_images(
        &self,
        input: ListManagedMicrovmImagesInput,
    ) -> Result<ListManagedMicrovmImagesOutput, Fault> {
        list_managed_microvm_images::perform(self, input).await
    }

    async fn list_microvm_image_builds(
        &self,
        input: ListMicrovmImageBuildsInput,
    ) -> Result<ListMicrovmImageBuildsOutput, Fault> {
        list_microvm_image_builds::perform(self, input).await
    }

    async fn list_microvm_image_versions(
        &self,
        input: ListMicrovmImageVersionsInput,
    ) -> Result<ListMicrovmImageVersionsOutput, Fault> {
        list_microvm_image_versions::perform(self, input).await
    }

    async fn list_microvm_images(
        &self,
        input: ListMicrovmImagesInput,
    ) -> Result<ListMicrovmImagesOutput, Fault> {
        list_microvm_images::perform(self, input).await
    }

    async fn list_microvms(&self, input: ListMicrovmsInput) -> Result<ListMicrovmsOutput, Fault> {
        list_microvms::perform(self, input).await
    }

    async fn list_tags(&self, input: ListTagsInput) -> Result<ListTagsOutput, Fault> {
        list_tags::perform(self, input).await
    }

    async fn resume_microvm(
        &self,
        input: ResumeMicrovmInput,
    ) -> Result<ResumeMicrovmOutput, Fault> {
        resume_microvm::perform(self, input).await
    }

    async fn run_microvm(&self, input: RunMicrovmInput) -> Result<RunMicrovmOutput, Fault> {
        run_microvm::perform(self, input).await
    }

    async fn suspend_microvm(
        &self,
        input: SuspendMicrovmInput,
    ) -> Result<SuspendMicrovmOutput, Fault> {
        suspend_microvm::perform(self, input).await
    }

    async fn tag_resource(&self, input: TagResourceInput) -> Result<(), Fault> {
        tag_resource::perform(self, input).await
    }

    async fn terminate_microvm(
        &self,
        input: TerminateMicrovmInput,
    ) -> Result<TerminateMicrovmOutput, Fault> {
        terminate_microvm::perform(self, input).await
    }

    async fn untag_resource(&self, input: UntagResourceInput) -> Result<(), Fault> {
        untag_resource::perform(self, input).await
    }

    async fn update_microvm_image(
        &self,
        input: UpdateMicrovmImageInput,
    ) -> Result<UpdateMicrovmImageOutput, Fault> {
        update_microvm_image::perform(self, input).await
    }

    async fn update_microvm_image_version(
        &self,
        input: UpdateMicrovmImageVersionInput,
    ) -> Result<UpdateMicrovmImageVersionOutput, Fault> {
        update_microvm_image_version::perform(self, input).await
    }
}
