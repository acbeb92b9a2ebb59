//! `lambda`: functions, their versions, aliases, layers and policies, one file each operation.
//!
//! What is not answered yet is refused by name before an operation begins: members of requests by
//! `lambda/unsupported.rs`, whole operations by `lambda/refused.rs`.

mod add_layer_version_permission;
mod add_permission;
mod create_alias;
mod create_function;
mod delete_alias;
mod delete_function;
mod delete_function_concurrency;
mod delete_function_event_invoke_config;
mod delete_layer_version;
mod get_account_settings;
mod get_alias;
mod get_function;
mod get_function_concurrency;
mod get_function_configuration;
mod get_function_event_invoke_config;
mod get_function_recursion_config;
mod get_layer_version;
mod get_layer_version_by_arn;
mod get_layer_version_policy;
mod get_policy;
mod get_runtime_management_config;
mod list_aliases;
mod list_function_event_invoke_configs;
mod list_functions;
mod list_layer_versions;
mod list_layers;
mod list_tags;
mod list_versions_by_function;
mod publish_layer_version;
mod publish_version;
mod put_function_concurrency;
mod put_function_event_invoke_config;
mod put_function_recursion_config;
mod put_runtime_management_config;
mod remove_layer_version_permission;
mod remove_permission;
mod tag_resource;
mod untag_resource;
mod update_alias;
mod update_function_code;
mod update_function_configuration;
mod update_function_event_invoke_config;

mod empty_lists;

mod code;
pub(crate) mod code_location;
mod latest;
mod layer_names;
mod names;
mod refusal;
mod routing;
mod runtimes;
mod service;
mod settings;
mod shape;
mod statements;
mod tagged;

use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::*;

impl LambdaFunctions for Context<'_> {
    async fn add_layer_version_permission(
        &self,
        input: AddLayerVersionPermissionInput,
    ) -> Result<AddLayerVersionPermissionOutput, Fault> {
        add_layer_version_permission::perform(self, input).await
    }

    async fn add_permission(
        &self,
        input: AddPermissionInput,
    ) -> Result<AddPermissionOutput, Fault> {
        add_permission::perform(self, input).await
    }

    async fn create_alias(&self, input: CreateAliasInput) -> Result<CreateAliasOutput, Fault> {
        create_alias::perform(self, input).await
    }

    async fn create_function(
        &self,
        input: CreateFunctionInput,
    ) -> Result<CreateFunctionOutput, Fault> {
        create_function::perform(self, input).await
    }

    async fn delete_alias(&self, input: DeleteAliasInput) -> Result<(), Fault> {
        delete_alias::perform(self, input).await
    }

    async fn delete_function(&self, input: DeleteFunctionInput) -> Result<(), Fault> {
        delete_function::perform(self, input).await
    }

    async fn delete_function_concurrency(
        &self,
        input: DeleteFunctionConcurrencyInput,
    ) -> Result<(), Fault> {
        delete_function_concurrency::perform(self, input).await
    }

    async fn delete_function_event_invoke_config(
        &self,
        input: DeleteFunctionEventInvokeConfigInput,
    ) -> Result<(), Fault> {
        delete_function_event_invoke_config::perform(self, input).await
    }

    async fn delete_layer_version(&self, input: DeleteLayerVersionInput) -> Result<(), Fault> {
        delete_layer_version::perform(self, input).await
    }

    async fn get_account_settings(
        &self,
        input: GetAccountSettingsInput,
    ) -> Result<GetAccountSettingsOutput, Fault> {
        get_account_settings::perform(self, input).await
    }

    async fn get_alias(&self, input: GetAliasInput) -> Result<GetAliasOutput, Fault> {
        get_alias::perform(self, input).await
    }

    async fn get_function(&self, input: GetFunctionInput) -> Result<GetFunctionOutput, Fault> {
        get_function::perform(self, input).await
    }

    async fn get_function_code_signing_config(
        &self,
        input: GetFunctionCodeSigningConfigInput,
    ) -> Result<GetFunctionCodeSigningConfigOutput, Fault> {
        empty_lists::get_function_code_signing_config(self, input).await
    }

    async fn get_function_concurrency(
        &self,
        input: GetFunctionConcurrencyInput,
    ) -> Result<GetFunctionConcurrencyOutput, Fault> {
        get_function_concurrency::perform(self, input).await
    }

    async fn get_function_configuration(
        &self,
        input: GetFunctionConfigurationInput,
    ) -> Result<GetFunctionConfigurationOutput, Fault> {
        get_function_configuration::perform(self, input).await
    }

    async fn get_function_event_invoke_config(
        &self,
        input: GetFunctionEventInvokeConfigInput,
    ) -> Result<GetFunctionEventInvokeConfigOutput, Fault> {
        get_function_event_invoke_config::perform(self, input).await
    }

    async fn get_function_recursion_config(
        &self,
        input: GetFunctionRecursionConfigInput,
    ) -> Result<GetFunctionRecursionConfigOutput, Fault> {
        get_function_recursion_config::perform(self, input).await
    }

    async fn get_layer_version(
        &self,
        input: GetLayerVersionInput,
    ) -> Result<GetLayerVersionOutput, Fault> {
        get_layer_version::perform(self, input).await
    }

    async fn get_layer_version_by_arn(
        &self,
        input: GetLayerVersionByArnInput,
    ) -> Result<GetLayerVersionByArnOutput, Fault> {
        get_layer_version_by_arn::perform(self, input).await
    }

    async fn get_layer_version_policy(
        &self,
        input: GetLayerVersionPolicyInput,
    ) -> Result<GetLayerVersionPolicyOutput, Fault> {
        get_layer_version_policy::perform(self, input).await
    }

    async fn get_policy(&self, input: GetPolicyInput) -> Result<GetPolicyOutput, Fault> {
        get_policy::perform(self, input).await
    }

    async fn get_runtime_management_config(
        &self,
        input: GetRuntimeManagementConfigInput,
    ) -> Result<GetRuntimeManagementConfigOutput, Fault> {
        get_runtime_management_config::perform(self, input).await
    }

    async fn list_aliases(&self, input: ListAliasesInput) -> Result<ListAliasesOutput, Fault> {
        list_aliases::perform(self, input).await
    }

    async fn list_capacity_providers(
        &self,
        input: ListCapacityProvidersInput,
    ) -> Result<ListCapacityProvidersOutput, Fault> {
        empty_lists::list_capacity_providers(self, input).await
    }

    async fn list_code_signing_configs(
        &self,
        input: ListCodeSigningConfigsInput,
    ) -> Result<ListCodeSigningConfigsOutput, Fault> {
        empty_lists::list_code_signing_configs(self, input).await
    }

    async fn list_durable_executions_by_function(
        &self,
        input: ListDurableExecutionsByFunctionInput,
    ) -> Result<ListDurableExecutionsByFunctionOutput, Fault> {
        empty_lists::list_durable_executions_by_function(self, input).await
    }

    async fn list_event_source_mappings(
        &self,
        input: ListEventSourceMappingsInput,
    ) -> Result<ListEventSourceMappingsOutput, Fault> {
        empty_lists::list_event_source_mappings(self, input).await
    }

    async fn list_function_event_invoke_configs(
        &self,
        input: ListFunctionEventInvokeConfigsInput,
    ) -> Result<ListFunctionEventInvokeConfigsOutput, Fault> {
        list_function_event_invoke_configs::perform(self, input).await
    }

    async fn list_function_url_configs(
        &self,
        input: ListFunctionUrlConfigsInput,
    ) -> Result<ListFunctionUrlConfigsOutput, Fault> {
        empty_lists::list_function_url_configs(self, input).await
    }

    async fn list_functions(
        &self,
        input: ListFunctionsInput,
    ) -> Result<ListFunctionsOutput, Fault> {
        list_functions::perform(self, input).await
    }

    async fn list_layer_versions(
        &self,
        input: ListLayerVersionsInput,
    ) -> Result<ListLayerVersionsOutput, Fault> {
        list_layer_versions::perform(self, input).await
    }

    async fn list_layers(&self, input: ListLayersInput) -> Result<ListLayersOutput, Fault> {
        list_layers::perform(self, input).await
    }

    async fn list_provisioned_concurrency_configs(
        &self,
        input: ListProvisionedConcurrencyConfigsInput,
    ) -> Result<ListProvisionedConcurrencyConfigsOutput, Fault> {
        empty_lists::list_provisioned_concurrency_configs(self, input).await
    }

    async fn list_tags(&self, input: ListTagsInput) -> Result<ListTagsOutput, Fault> {
        list_tags::perform(self, input).await
    }

    async fn list_versions_by_function(
        &self,
        input: ListVersionsByFunctionInput,
    ) -> Result<ListVersionsByFunctionOutput, Fault> {
        list_versions_by_function::perform(self, input).await
    }

    async fn publish_layer_version(
        &self,
        input: PublishLayerVersionInput,
    ) -> Result<PublishLayerVersionOutput, Fault> {
        publish_layer_version::perform(self, input).await
    }

    async fn publish_version(
        &self,
        input: PublishVersionInput,
    ) -> Result<PublishVersionOutput, Fault> {
        publish_version::perform(self, input).await
    }

    async fn put_function_concurrency(
        &self,
        input: PutFunctionConcurrencyInput,
    ) -> Result<PutFunctionConcurrencyOutput, Fault> {
        put_function_concurrency::perform(self, input).await
    }

    async fn put_function_event_invoke_config(
        &self,
        input: PutFunctionEventInvokeConfigInput,
    ) -> Result<PutFunctionEventInvokeConfigOutput, Fault> {
        put_function_event_invoke_config::perform(self, input).await
    }

    async fn put_function_recursion_config(
        &self,
        input: PutFunctionRecursionConfigInput,
    ) -> Result<PutFunctionRecursionConfigOutput, Fault> {
        put_function_recursion_config::perform(self, input).await
    }

    async fn put_runtime_management_config(
        &self,
        input: PutRuntimeManagementConfigInput,
    ) -> Result<PutRuntimeManagementConfigOutput, Fault> {
        put_runtime_management_config::perform(self, input).await
    }

    async fn remove_layer_version_permission(
        &self,
        input: RemoveLayerVersionPermissionInput,
    ) -> Result<(), Fault> {
        remove_layer_version_permission::perform(self, input).await
    }

    async fn remove_permission(&self, input: RemovePermissionInput) -> Result<(), Fault> {
        remove_permission::perform(self, input).await
    }

    async fn tag_resource(&self, input: TagResourceInput) -> Result<(), Fault> {
        tag_resource::perform(self, input).await
    }

    async fn untag_resource(&self, input: UntagResourceInput) -> Result<(), Fault> {
        untag_resource::perform(self, input).await
    }

    async fn update_alias(&self, input: UpdateAliasInput) -> Result<UpdateAliasOutput, Fault> {
        update_alias::perform(self, input).await
    }

    async fn update_function_code(
        &self,
        input: UpdateFunctionCodeInput,
    ) -> Result<UpdateFunctionCodeOutput, Fault> {
        update_function_code::perform(self, input).await
    }

    async fn update_function_configuration(
        &self,
        input: UpdateFunctionConfigurationInput,
    ) -> Result<UpdateFunctionConfigurationOutput, Fault> {
        update_function_configuration::perform(self, input).await
    }

    async fn update_function_event_invoke_config(
        &self,
        input: UpdateFunctionEventInvokeConfigInput,
    ) -> Result<UpdateFunctionEventInvokeConfigOutput, Fault> {
        update_function_event_invoke_config::perform(self, input).await
    }
}
