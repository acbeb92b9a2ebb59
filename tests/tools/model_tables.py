"""Generates hearth-front's tables and types from the service models of the installed botocore.

    python tests/tools/model_tables.py            # rewrites crates/hearth-front/src/model/<service>/
    python tests/tools/model_tables.py --check    # exits 1 when a file differs from what the models say

Of each service: its constraints (`constraints.rs`), an input and an output for each operation (`inputs.rs`, `outputs.rs`),
the shapes below them (`shapes.rs`), and a trait with a method for each operation (`mod.rs`).
"""

import argparse
import copy
import dataclasses
import pathlib
import re
import subprocess
import sys
from collections.abc import Callable

import botocore.session

import model_constraints
import model_service
from model_types import Types

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL_DIR = ROOT / "crates/hearth-front/src/model"


@dataclasses.dataclass
class Service:
    # As botocore names it.
    name: str
    # The Rust trait.
    trait: str
    # Whether an operation of the model is answered.
    wanted: Callable[[str], bool] = lambda name: True
    # Who writes an output: JSON with nulls, JSON without them, or XML.
    writer: str = "written"
    # Whether an integer that cannot be negative has an unsigned type.
    is_unsigned: bool = True
    # Whether the pattern of a shape is among the constraints. IAM words the refusals of most itself.
    has_pattern: Callable[[str], bool] = lambda shape: True
    # Texts that messages do not repeat, though no secrets.
    unrepeated: tuple = ()
    # Structures that Hearth never has, in lists that are always empty.
    never: tuple = ()
    is_async: bool = True
    time_format: str = "unixTimestamp"
    # Structures of what several shapes have in common: a shape of the model, or a name of ours.
    parts: dict = dataclasses.field(default_factory=dict)
    # Members by shape that Hearth neither looks at nor sends.
    left_out: dict = dataclasses.field(default_factory=dict)
    # Members by shape that are checked, and that no operation reads.
    unread: dict = dataclasses.field(default_factory=dict)
    # Enumerations that are texts here: their values are refused in other words than the model's, or not all are in it.
    free_texts: tuple = ()
    # Statuses and writers of operations, where they differ from the model and from the service's.
    statuses: dict = dataclasses.field(default_factory=dict)
    writers: dict = dataclasses.field(default_factory=dict)
    # Whether the operations that are not answered have addresses too, to be refused by name.
    is_refusing: bool = False

    @property
    def module(self):
        return self.name.replace("-", "_")

    def operations(self, model):
        return [name for name in model.operation_names if self.wanted(name)]


# The operations that are answered, where a service has many more.
LOGS = """
    CreateLogGroup DeleteLogGroup DescribeLogGroups PutRetentionPolicy DeleteRetentionPolicy
    CreateLogStream DeleteLogStream DescribeLogStreams PutLogEvents GetLogEvents FilterLogEvents
"""
IAM = """
    CreateRole GetRole ListRoles DeleteRole UpdateAssumeRolePolicy PutRolePolicy GetRolePolicy ListRolePolicies
    DeleteRolePolicy AttachRolePolicy ListAttachedRolePolicies DetachRolePolicy
    UpdateRole UpdateRoleDescription TagRole UntagRole ListRoleTags ListInstanceProfilesForRole
    CreatePolicy GetPolicy ListPolicies DeletePolicy TagPolicy UntagPolicy ListPolicyTags ListEntitiesForPolicy
    CreatePolicyVersion GetPolicyVersion ListPolicyVersions SetDefaultPolicyVersion DeletePolicyVersion
"""

FUNCTIONS = """
    CreateFunction GetFunction GetFunctionConfiguration ListFunctions UpdateFunctionCode UpdateFunctionConfiguration
    DeleteFunction PublishVersion ListVersionsByFunction
    CreateAlias GetAlias ListAliases UpdateAlias DeleteAlias
    PublishLayerVersion GetLayerVersion GetLayerVersionByArn ListLayers ListLayerVersions DeleteLayerVersion
    AddLayerVersionPermission RemoveLayerVersionPermission GetLayerVersionPolicy
    AddPermission RemovePermission GetPolicy
    PutFunctionConcurrency GetFunctionConcurrency DeleteFunctionConcurrency GetAccountSettings
    PutFunctionEventInvokeConfig UpdateFunctionEventInvokeConfig GetFunctionEventInvokeConfig
    DeleteFunctionEventInvokeConfig ListFunctionEventInvokeConfigs
    GetFunctionRecursionConfig PutFunctionRecursionConfig GetRuntimeManagementConfig PutRuntimeManagementConfig
    ListTags TagResource UntagResource
    GetFunctionCodeSigningConfig ListFunctionUrlConfigs ListProvisionedConcurrencyConfigs
    ListEventSourceMappings ListCodeSigningConfigs ListCapacityProviders ListDurableExecutionsByFunction
"""

# What functions cannot be yet. A request with such a member is checked against the model, and then refused by name
# (`lambda/unsupported.rs`).
NOT_YET = (
    "PublishTo",
    "VpcConfig",
    "PackageType",
    "DeadLetterConfig",
    "KMSKeyArn",
    "FileSystemConfigs",
    "CodeSigningConfigArn",
    "ImageConfig",
    "SnapStart",
    "CapacityProviderConfig",
    "DurableConfig",
    "RuntimeConfig",
    "AcceleratorConfig",
)
CODE_NOT_YET = ("S3ObjectVersion", "S3ObjectStorageMode", "ImageUri", "SourceKMSKeyArn")

SERVICES = [
    Service(
        "lambda-microvms",
        "LambdaMicrovms",
        parts={
            "ImageSpecification": (
                "CreateMicrovmImageRequest",
                "UpdateMicrovmImageRequest",
                "CreateMicrovmImageResponse",
                "UpdateMicrovmImageResponse",
                "GetMicrovmImageVersionOutput",
                "UpdateMicrovmImageVersionResponse",
                "MicrovmImageVersionSummary",
            ),
            "MicrovmImageSummary": (
                "CreateMicrovmImageResponse",
                "UpdateMicrovmImageResponse",
                "GetMicrovmImageOutput",
            ),
            "MicrovmImageBuildSummary": ("GetMicrovmImageBuildOutput",),
        },
    ),
    Service(
        "lambda-core",
        "LambdaCore",
        # The rest is about runtimes of functions, which Hearth does not have.
        wanted=lambda name: "NetworkConnector" in name,
        writer="written_present",
        parts={
            "NetworkConnectorVersionMembers": (
                "CreateNetworkConnectorResponse",
                "DeleteNetworkConnectorResponse",
                "GetNetworkConnectorResponse",
                "UpdateNetworkConnectorResponse",
            ),
        },
    ),
    Service(
        "logs",
        "CloudWatchLogs",
        wanted=set(LOGS.split()).__contains__,
        writer="written_present",
        # Times are compared with those of events, which are signed.
        is_unsigned=False,
        is_async=False,
        left_out={
            # Every group is of the standard class, unencrypted by keys of the account, and without tags.
            "CreateLogGroupRequest": ("kmsKeyId", "tags", "logGroupClass", "deletionProtectionEnabled"),
            "LogGroup": (
                "kmsKeyId",
                "dataProtectionStatus",
                "inheritedProperties",
                "deletionProtectionEnabled",
                "bearerTokenAuthenticationEnabled",
                "retentionPolicyName",
            ),
            # An account sees its own groups.
            "DescribeLogGroupsRequest": (
                "accountIdentifiers",
                "includeLinkedAccounts",
                "logGroupClass",
                "logGroupIdentifiers",
            ),
            "LogStream": ("uploadSequenceToken",),
            # The service itself no longer looks at sequence tokens.
            "PutLogEventsRequest": ("sequenceToken", "entity"),
            "PutLogEventsResponse": ("rejectedEntityInfo",),
            "RejectedLogEventsInfo": ("expiredLogEventEndIndex",),
            # Nothing is masked.
            "GetLogEventsRequest": ("unmask",),
            # Events are always interleaved, the oldest first.
            "FilterLogEventsRequest": ("startFromHead", "interleaved", "unmask"),
        },
    ),
    Service(
        "iam",
        "Iam",
        wanted=set(IAM.split()).__contains__,
        writer="xml",
        # Recorded from AWS: these have the words of all services, and are not repeated.
        has_pattern={"tagKeyType", "tagValueType", "policyVersionIdType"}.__contains__,
        unrepeated=("tagKeyType", "tagValueType", "policyVersionIdType"),
        never=("InstanceProfile", "PolicyGroup", "PolicyUser"),
        time_format="iso8601",
        left_out={
            # Refused by name (`iam/mod.rs`), as are filters by what there is none of.
            "CreateRoleRequest": ("PermissionsBoundary",),
            "ListPoliciesRequest": ("PolicyUsageFilter",),
            "ListEntitiesForPolicyRequest": ("PolicyUsageFilter",),
            "Role": ("PermissionsBoundary", "RoleLastUsed", "SourceRoleTemplate"),
            # A role has few policies, a policy few versions, and both have few tags: they are one page.
            "ListRolePoliciesRequest": ("Marker", "MaxItems"),
            "ListRolePoliciesResponse": ("Marker",),
            "ListAttachedRolePoliciesRequest": ("Marker", "MaxItems"),
            "ListAttachedRolePoliciesResponse": ("Marker",),
            "ListPolicyVersionsRequest": ("Marker", "MaxItems"),
            "ListPolicyVersionsResponse": ("Marker",),
            "ListRoleTagsRequest": ("Marker", "MaxItems"),
            "ListRoleTagsResponse": ("Marker",),
            "ListPolicyTagsRequest": ("Marker", "MaxItems"),
            "ListPolicyTagsResponse": ("Marker",),
            # There are none.
            "ListInstanceProfilesForRoleRequest": ("Marker", "MaxItems"),
            "ListInstanceProfilesForRoleResponse": ("Marker",),
        },
    ),
    Service(
        "sts",
        "Sts",
        wanted={"AssumeRole", "GetCallerIdentity"}.__contains__,
        writer="xml",
        time_format="iso8601",
        left_out={
            # Refused by name (`sts.rs`).
            "AssumeRoleRequest": (
                "PolicyArns",
                "Tags",
                "TransitiveTagKeys",
                "SerialNumber",
                "TokenCode",
                "SourceIdentity",
                "ProvidedContexts",
                "MinimumSessionTokenSize",
            ),
            "AssumeRoleResponse": ("SourceIdentity", "PackedPolicySize", "SessionTokenUtilization", "SessionTokenSize"),
        },
    ),
    Service(
        "lambda",
        "LambdaFunctions",
        wanted=set(FUNCTIONS.split()).__contains__,
        writer="written_present",
        is_refusing=True,
        # `RuntimeVersionArn` is null, not absent (facts section 1.1).
        writers={"GetRuntimeManagementConfig": "written"},
        # Recorded; the model says 200 (facts section 1.1).
        statuses={"DeleteFunction": 204},
        # Unknown runtimes are refused in words of their own, and `Creating` is no value of the model's reasons of
        # updates (facts sections 1.2 and 1.3).
        free_texts=("Runtime", "LastUpdateStatusReasonCode"),
        unread={
            "CreateFunctionRequest": NOT_YET,
            "UpdateFunctionConfigurationRequest": NOT_YET,
            "FunctionCode": CODE_NOT_YET,
            "UpdateFunctionCodeRequest": (*CODE_NOT_YET, "PublishTo"),
            "LayerVersionContentInput": CODE_NOT_YET,
            "PublishVersionRequest": ("PublishTo",),
            "ListFunctionsRequest": ("MasterRegion",),
            "PutFunctionEventInvokeConfigRequest": ("DestinationConfig",),
            "UpdateFunctionEventInvokeConfigRequest": ("DestinationConfig",),
            "ListFunctionUrlConfigsRequest": ("Marker", "MaxItems"),
            "ListProvisionedConcurrencyConfigsRequest": ("Marker", "MaxItems"),
            "ListEventSourceMappingsRequest": ("EventSourceArn", "FunctionName", "Marker", "MaxItems"),
            "ListCodeSigningConfigsRequest": ("Marker", "MaxItems"),
            "ListCapacityProvidersRequest": ("State", "Marker", "MaxItems"),
            "ListDurableExecutionsByFunctionRequest": (
                "DurableExecutionName",
                "Statuses",
                "StartedAfter",
                "StartedBefore",
                "ReverseOrder",
                "Marker",
                "MaxItems",
            ),
        },
        left_out={
            "FunctionConfiguration": (
                *(member for member in NOT_YET if member not in ("PackageType", "SnapStart")),
                "MasterArn",
                "SigningProfileVersionArn",
                "SigningJobArn",
                "ImageConfigResponse",
                "ConfigSha256",
            ),
            "RuntimeVersionConfig": ("Error",),
            "EnvironmentResponse": ("Error",),
            "Layer": ("SigningProfileVersionArn", "SigningJobArn"),
            "FunctionCodeLocation": ("ImageUri", "ResolvedImageUri", "ResolvedS3Object", "SourceKMSKeyArn", "Error"),
            "LayerVersionContentOutput": (
                "SigningProfileVersionArn",
                "SigningJobArn",
                "ResolvedS3Object",
            ),
            "GetFunctionResponse": ("TagsError",),
            # No function has one (facts section 1.11).
            "GetFunctionCodeSigningConfigResponse": ("CodeSigningConfigArn",),
            "DeleteFunctionResponse": ("StatusCode",),
            # Times of another kind than Hearth reads; there is no execution that they could select.
            "ListDurableExecutionsByFunctionRequest": ("StartedAfter", "StartedBefore"),
            # They are one page, of nothing.
            "ListFunctionUrlConfigsResponse": ("NextMarker",),
            "ListProvisionedConcurrencyConfigsResponse": ("NextMarker",),
            "ListEventSourceMappingsResponse": ("NextMarker",),
            "ListCodeSigningConfigsResponse": ("NextMarker",),
            "ListCapacityProvidersResponse": ("NextMarker",),
            "ListDurableExecutionsByFunctionResponse": ("NextMarker",),
        },
        never=(
            "FunctionUrlConfig",
            "ProvisionedConcurrencyConfigListItem",
            "EventSourceMappingConfiguration",
            "CodeSigningConfig",
            "CapacityProvider",
            "Execution",
        ),
    ),
]

# Members that AWS sends and no model has: service, shapes, member, its shape, whether it is always present, where that
# was recorded.
BEYOND_MODEL = [
    (
        "lambda-microvms",
        ("MicrovmImageSummary", "GetMicrovmImageOutput", "CreateMicrovmImageResponse", "UpdateMicrovmImageResponse"),
        ("id", "String", True),
        "facts section 4: every answer about an image",
    ),
    (
        "lambda-microvms",
        ("RunMicrovmResponse", "GetMicrovmResponse", "GetMicrovmImageBuildOutput"),
        ("terminationReasonCode", "String", False),
        "facts section 4: microVMs and builds, recorded as null alone",
    ),
]

HEAD = """//! {what}
//!
//! Generated by `tests/tools/model_tables.py` from the service model {version}: change that, not this.
//! A test holds this file against the installed model.

"""

# XML has the order in which AWS was recorded to send members, where that is not the model's.
MEMBER_ORDER = {"GetCallerIdentityResponse": ("Arn", "UserId", "Account")}

# Where the types stand that a file may name.
PLACES = {
    "std::collections": {"BTreeMap"},
    "serde": {"Deserialize", "Serialize"},
    "super::shapes": None,
    "crate::model::values": {"Blob", "EpochSeconds", "IsoMillis", "IsoSeconds", "Sensitive", "words"},
    "crate::wire::xml": {"Structure", "Xml"},
}


def load(service):
    """The model of a service, and its shapes with what AWS sends beyond them."""
    model = botocore.session.get_session().get_service_model(service.name)
    raw = copy.deepcopy(dict(model._shape_resolver._shape_map))  # noqa: SLF001: `union` and `sensitive` live here
    for name, shapes, (member, of, is_required), _ in BEYOND_MODEL:
        for shape in shapes if name == service.name else ():
            raw[shape]["members"][member] = {"shape": of}
            raw[shape].setdefault("required", []).extend([member] if is_required else [])
    for shape, order in MEMBER_ORDER.items():
        if shape in raw:
            raw[shape]["members"] = {member: raw[shape]["members"][member] for member in order}
    return model, raw


def with_uses(text, shapes):
    """The text behind `use` lines for what it names."""
    words = set(re.findall(r"\w+", re.sub(r"//.*", "", text)))
    defined = set(re.findall(r"pub\(crate\) (?:struct|enum|type) (\w+)", text))
    uses = []
    for place, names in PLACES.items():
        found = sorted((shapes if names is None else names) & words - defined)
        if found:
            uses.append(f"use {place}::{{{', '.join(found)}}};")
    # A blank line behind those of other crates.
    uses = [f"{use}\n" if use.startswith(("use std", "use serde")) else use for use in uses]
    return "\n".join(uses) + "\n\n" + text


def render(service):
    """The files of a service by name."""
    model, raw = load(service)
    types = Types(service, model, raw)
    if not types.operations:
        return {}
    shapes = types.shapes_text()
    defined = set(re.findall(r"pub\(crate\) (?:struct|enum|type) (\w+)", shapes))
    defined |= set(re.findall(r"words! \{\n.*\n    (\w+)", shapes))
    files = {
        "mod.rs": (f"The operations of `{service.name}`.", model_service.render(service, model, types)),
        "constraints.rs": (
            f"Constraints of the `{service.name}` operations.",
            model_constraints.render(service, model, raw),
        ),
        "inputs.rs": (f"Inputs of the `{service.name}` operations.", with_uses(types.inputs_text(), defined)),
        "outputs.rs": (f"Outputs of the `{service.name}` operations.", with_uses(types.outputs_text(), defined)),
        "shapes.rs": (f"Shapes in inputs and outputs of `{service.name}`.", with_uses(shapes, set())),
    }
    texts = {"inputs.rs": types.inputs_text(), "outputs.rs": types.outputs_text(), "shapes.rs": shapes}
    return {
        f"{service.module}/{file}": formatted(HEAD.format(what=what, version=model.api_version) + text)
        for file, (what, text) in files.items()
        if texts.get(file, text)
    }


def formatted(text):
    command = ["rustfmt", "--edition", "2024", "--config", "max_width=100"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{done.stderr}\nrustfmt refuses what was generated")
    return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    files = {name: text for service in SERVICES for name, text in render(service).items()}
    if not check:
        for name, text in files.items():
            path = MODEL_DIR / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return
    stale = [name for name, text in files.items() if not (MODEL_DIR / name).exists() or (MODEL_DIR / name).read_text() != text]
    # A file that the generator no longer writes would look as if it did.
    stale += [name for name in written_files() if name not in files]
    if stale:
        sys.exit(f"differs from the service models: {', '.join(sorted(stale))}. Run tests/tools/model_tables.py, and answer what has changed")


def written_files():
    """Files in the folders of services."""
    return [str(path.relative_to(MODEL_DIR)) for path in MODEL_DIR.glob("*/*.rs")]


if __name__ == "__main__":
    main()
