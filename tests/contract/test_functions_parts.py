"""What belongs to functions: aliases, tags, concurrency, policies, settings, layers. Numbers are those of the facts, section 9.1."""

import json
import urllib.request

import pytest

from .checked import refusal
from .functions import ACCOUNT, ARN, Deployer, new_name, zipped

MISSING = (404, "ResourceNotFoundException", "The resource you requested does not exist.")


@pytest.fixture
def deployer(functions, server):
    return Deployer(functions, server)


@pytest.fixture
def two(deployer):
    """A function with two versions."""
    name = deployer.name(Publish=True)
    deployer.update_code(name, "E = 5\n", Publish=True)
    return name


def test_aliases_stand_for_one_version_or_two(deployer, two):
    """7."""
    client, arn = deployer.client, f"{ARN}:function:{two}"
    created = client.create_alias(FunctionName=two, Name="live", FunctionVersion="1")
    assert (created["AliasArn"], created["FunctionVersion"], created["Description"]) == (f"{arn}:live", "1", "")
    assert "RoutingConfig" not in created
    found = client.get_function(FunctionName=two, Qualifier="live")["Configuration"]
    assert (found["FunctionArn"], found["Version"]) == (f"{arn}:live", "1")
    weights = {"AdditionalVersionWeights": {"2": 0.25}}
    updated = client.update_alias(FunctionName=two, Name="live", RoutingConfig=weights, Description="x")
    assert (updated["RoutingConfig"], updated["FunctionVersion"], updated["Description"]) == (weights, "1", "x")
    assert updated["RevisionId"] != created["RevisionId"]
    cleared = client.update_alias(FunctionName=two, Name="live", RoutingConfig={"AdditionalVersionWeights": {}})
    assert "RoutingConfig" not in cleared and cleared["Description"] == "x"
    client.create_alias(FunctionName=two, Name="next", FunctionVersion="$LATEST")
    listed = client.list_aliases(FunctionName=two)["Aliases"]
    assert [alias["Name"] for alias in listed] == ["live", "next"]
    assert [alias["Name"] for alias in client.list_aliases(FunctionName=two, FunctionVersion="1")["Aliases"]] == ["live"]
    first = client.list_aliases(FunctionName=two, MaxItems=1)
    rest = client.list_aliases(FunctionName=two, MaxItems=1, Marker=first["NextMarker"])
    assert [alias["Name"] for alias in rest["Aliases"]] == ["next"] and "NextMarker" not in rest
    client.delete_alias(FunctionName=two, Name="live")
    client.delete_alias(FunctionName=two, Name="live")


def test_refusals_of_aliases(deployer, two):
    client, arn = deployer.client, f"{ARN}:function:{two}"
    client.create_alias(FunctionName=two, Name="live", FunctionVersion="1")
    invalid = "InvalidParameterValueException"
    routed = lambda weights: {"RoutingConfig": {"AdditionalVersionWeights": weights}}  # noqa: E731
    for call, extra, wanted in [
        (client.create_alias, {"FunctionVersion": "1"}, (409, "ResourceConflictException", f"Alias already exists: {arn}:live")),
        (client.create_alias, {"Name": "a", "FunctionVersion": "9"}, (404, "ResourceNotFoundException", f"Function not found: {arn}:9")),
        (client.get_alias, {"Name": "a"}, (404, "ResourceNotFoundException", f"Cannot find alias arn: {arn}:a")),
        (client.update_alias, {"Name": "a"}, (404, "ResourceNotFoundException", f"Alias not found: {arn}:a")),
        (client.update_alias, {"FunctionVersion": "$LATEST", **routed({"1": 0.5})}, (400, invalid, "$LATEST is not supported for an alias pointing to more than 1 version")),
        (client.update_alias, routed({"1": 0.5}), (400, invalid, "Invalid function version 1. Function version 1 is already included in routing configuration.")),
        (client.update_alias, routed({"1": 0.5, "2": 0.1}), (400, invalid, "Number of items in AdditionalVersionWeights cannot be greater than 1")),
    ]:
        assert refusal(call, **{"FunctionName": two, "Name": "live", **extra}) == wanted
    error = refusal(client.update_alias, FunctionName=two, Name="live", **routed({"2": 1.5}))
    assert error[1] == "ValidationException"
    assert "Value '{2=1.5}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map value must satisfy constraint" in error[2]
    assert refusal(client.create_alias, FunctionName=two, Name="123", FunctionVersion="1")[1] == "ValidationException"
    assert refusal(client.update_alias, FunctionName=two, Name="live", RevisionId="x")[0] == 412


def test_tags_share_their_path_with_microvms(deployer, microvms):
    """10."""
    name, client = deployer.name(Tags={"a": "1"}), deployer.client
    arn = f"{ARN}:function:{name}"
    before = client.get_function(FunctionName=name)
    assert before["Tags"] == {"a": "1"}
    client.tag_resource(Resource=arn, Tags={"b": "2"})
    client.untag_resource(Resource=arn, TagKeys=["a", "none"])
    assert client.list_tags(Resource=arn)["Tags"] == {"b": "2"}
    assert client.get_function(FunctionName=name)["Configuration"]["RevisionId"] != before["Configuration"]["RevisionId"]
    invalid = "InvalidParameterValueException"
    qualified = "Tags on function aliases and versions are not supported. Please specify a function ARN."
    assert refusal(client.list_tags, Resource=f"{arn}:1") == (400, invalid, qualified)
    assert refusal(client.tag_resource, Resource=arn, Tags={}) == (400, invalid, "An error occurred and the request cannot be processed.")
    many = {f"k{number}": "" for number in range(50)}
    assert refusal(client.tag_resource, Resource=arn, Tags=many) == (400, invalid, "Number of tags exceeds resource tag limit.")
    assert refusal(client.list_tags, Resource=f"{ARN}:function:nobody")[:2] == (404, "ResourceNotFoundException")
    # Those of images are answered as ever.
    image = f"{ARN}:microvm-image:nobody"
    assert refusal(microvms.list_tags, Resource=image)[:2] == (404, "ResourceNotFoundException")


def test_reserved_concurrency(deployer):
    """8, 37."""
    name, client = deployer.name(), deployer.client
    empty = client.get_function_concurrency(FunctionName=name)
    assert "ReservedConcurrentExecutions" not in empty
    before = client.get_account_settings()["AccountLimit"]
    assert before["ConcurrentExecutions"] == 1000
    assert client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)["ReservedConcurrentExecutions"] == 0
    assert client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=5)["ReservedConcurrentExecutions"] == 5
    assert client.get_function(FunctionName=name)["Concurrency"] == {"ReservedConcurrentExecutions": 5}
    after = client.get_account_settings()["AccountLimit"]
    assert after["UnreservedConcurrentExecutions"] == before["UnreservedConcurrentExecutions"] - 5
    error = refusal(client.put_function_concurrency, FunctionName=name, ReservedConcurrentExecutions=901)
    assert error[2] == (
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100]."
    )
    error = refusal(client.put_function_concurrency, FunctionName=f"{name}:1", ReservedConcurrentExecutions=1)
    assert error[2].startswith("This operation is permitted on Lambda functions only.")
    client.delete_function_concurrency(FunctionName=name)
    client.delete_function_concurrency(FunctionName=name)
    assert "Concurrency" not in client.get_function(FunctionName=name)


def test_account_settings_count(deployer):
    client = deployer.client
    before = client.get_account_settings()
    assert before["AccountLimit"]["CodeSizeUnzipped"] == 262144000
    assert before["AccountLimit"]["CodeSizeZipped"] == 52428800
    created = deployer.create(Publish=True)
    after = client.get_account_settings()["AccountUsage"]
    assert after["FunctionCount"] == before["AccountUsage"]["FunctionCount"] + 1
    assert after["TotalCodeSize"] == before["AccountUsage"]["TotalCodeSize"] + 2 * created["CodeSize"]


def test_policies_are_of_one_qualifier_each(deployer, two):
    """9."""
    client, arn = deployer.client, f"{ARN}:function:{two}"
    assert refusal(client.get_policy, FunctionName=two) == MISSING
    added = client.add_permission(
        FunctionName=two,
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::bucket",
        SourceAccount=ACCOUNT,
    )
    statement = {
        "Sid": "s3",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": arn,
        "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"}, "StringEquals": {"AWS:SourceAccount": ACCOUNT}},
    }
    assert json.loads(added["Statement"]) == statement
    client.add_permission(FunctionName=two, StatementId="a", Action="lambda:InvokeFunction", Principal="111111111111", Qualifier="1")
    policy = client.get_policy(FunctionName=two)
    assert json.loads(policy["Policy"]) == {"Version": "2012-10-17", "Id": "default", "Statement": [statement]}
    of_version = json.loads(client.get_policy(FunctionName=two, Qualifier="1")["Policy"])["Statement"]
    assert [(own["Principal"], own["Resource"]) for own in of_version] == [({"AWS": "arn:aws:iam::111111111111:root"}, f"{arn}:1")]
    assert refusal(client.get_policy, FunctionName=two, Qualifier="2") == MISSING
    repeated = {"StatementId": "s3", "Action": "lambda:InvokeFunction", "Principal": "*"}
    error = refusal(client.add_permission, FunctionName=two, **repeated)
    assert error == (409, "ResourceConflictException", "The statement id (s3) provided already exists. Please provide a new statement id, or remove the existing statement.")
    error = refusal(client.add_permission, FunctionName=two, **repeated, Qualifier="$LATEST")
    assert error[2] == "We currently do not support adding policies for $LATEST."
    error = refusal(client.add_permission, FunctionName=two, **{**repeated, "StatementId": "n", "Principal": "nobody"})
    assert error[2] == "The provided principal was invalid. Please check the principal and try again."
    error = refusal(client.remove_permission, FunctionName=two, StatementId="s3", RevisionId="x")
    assert error[0] == 412 and "Call the GetPolicy API" in error[2]
    error = refusal(client.remove_permission, FunctionName=two, StatementId="none")
    assert error[2] == "Statement none is not found in resource policy."
    client.remove_permission(FunctionName=two, StatementId="s3", RevisionId=policy["RevisionId"])
    assert refusal(client.get_policy, FunctionName=two) == MISSING
    error = refusal(client.remove_permission, FunctionName=two, StatementId="s3")
    assert error[2] == "No policy is associated with the given resource."
    error = refusal(client.remove_permission, FunctionName="nobody", StatementId="s3")
    assert error[2] == f"No policy found for: {ARN}:function:nobody"


def test_settings_of_asynchronous_invocations(deployer):
    name, client = deployer.name(), deployer.client
    arn = f"{ARN}:function:{name}:$LATEST"
    none = (404, "ResourceNotFoundException", f"The function {arn} doesn't have an EventInvokeConfig")
    assert refusal(client.get_function_event_invoke_config, FunctionName=name) == none
    assert refusal(client.update_function_event_invoke_config, FunctionName=name, MaximumRetryAttempts=1) == none
    error = refusal(client.put_function_event_invoke_config, FunctionName=name)
    assert error[2] == "You must specify at least one of error handling or destination setting."
    put = client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    assert (put["FunctionArn"], put["MaximumRetryAttempts"]) == (arn, 0)
    assert put["DestinationConfig"] == {"OnFailure": {}, "OnSuccess": {}} and "MaximumEventAgeInSeconds" not in put
    client.update_function_event_invoke_config(FunctionName=name, MaximumEventAgeInSeconds=60)
    read = client.get_function_event_invoke_config(FunctionName=name)
    assert (read["MaximumRetryAttempts"], read["MaximumEventAgeInSeconds"]) == (0, 60)
    listed = client.list_function_event_invoke_configs(FunctionName=name)["FunctionEventInvokeConfigs"]
    assert [config["FunctionArn"] for config in listed] == [arn]
    error = refusal(client.put_function_event_invoke_config, FunctionName=name, DestinationConfig={"OnFailure": {"Destination": f"arn:aws:sqs:us-east-1:{ACCOUNT}:q"}})
    assert error[2].startswith("DestinationConfig is not supported")
    client.delete_function_event_invoke_config(FunctionName=name)
    assert refusal(client.delete_function_event_invoke_config, FunctionName=name) == none
    error = refusal(client.put_function_event_invoke_config, FunctionName="nobody", MaximumRetryAttempts=1)
    assert error == (404, "ResourceNotFoundException", "The function doesn't exist.")


def test_recursion_and_runtime_management_are_kept(deployer):
    name, client = deployer.name(), deployer.client
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
    assert client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")["RecursiveLoop"] == "Allow"
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Allow"
    read = client.get_runtime_management_config(FunctionName=name)
    assert (read["UpdateRuntimeOn"], read["FunctionArn"]) == ("Auto", f"{ARN}:function:{name}:$LATEST")
    assert refusal(client.put_runtime_management_config, FunctionName=name, UpdateRuntimeOn="Manual")[0] == 400
    runtime = client.get_function_configuration(FunctionName=name)["RuntimeVersionConfig"]["RuntimeVersionArn"]
    client.put_runtime_management_config(FunctionName=name, UpdateRuntimeOn="Manual", RuntimeVersionArn=runtime)
    read = client.get_runtime_management_config(FunctionName=name)
    assert (read["UpdateRuntimeOn"], read["RuntimeVersionArn"]) == ("Manual", runtime)


def test_layers_are_published_read_and_used(deployer):
    """26."""
    client, name = deployer.client, new_name("layer")
    data = zipped({"python/own.py": "X = 1\n"})
    first = client.publish_layer_version(LayerName=name, Description="d", Content={"ZipFile": data}, CompatibleRuntimes=["python3.13", "ruby3.4"])
    assert (first["Version"], first["LayerArn"]) == (1, f"{ARN}:layer:{name}")
    assert first["LayerVersionArn"] == f"{ARN}:layer:{name}:1" and first["Content"]["CodeSize"] == len(data)
    assert "LicenseInfo" not in first and "CompatibleArchitectures" not in first
    with urllib.request.urlopen(first["Content"]["Location"]) as answer:
        assert answer.read() == data
    second = client.publish_layer_version(LayerName=name, Content={"ZipFile": zipped({"a": "2"})}, CompatibleArchitectures=["x86_64"], LicenseInfo="MIT")
    assert client.get_layer_version(LayerName=name, VersionNumber=2)["LicenseInfo"] == "MIT"
    assert client.get_layer_version_by_arn(Arn=first["LayerVersionArn"])["Description"] == "d"
    listed = client.list_layer_versions(LayerName=name)["LayerVersions"]
    assert [version["Version"] for version in listed] == [2, 1] and "Content" not in listed[0]
    listed = client.list_layer_versions(LayerName=name, CompatibleRuntime="ruby3.4")["LayerVersions"]
    assert [version["Version"] for version in listed] == [1]
    layers = [layer for page in client.get_paginator("list_layers").paginate() for layer in page["Layers"]]
    [own] = [layer for layer in layers if layer["LayerName"] == name]
    assert own["LatestMatchingVersion"]["Version"] == 2
    function = deployer.name(Layers=[first["LayerVersionArn"]])
    used = [{"Arn": first["LayerVersionArn"], "CodeSize": len(data)}]
    client.delete_layer_version(LayerName=name, VersionNumber=1)
    client.delete_layer_version(LayerName=name, VersionNumber=1)
    assert client.get_function_configuration(FunctionName=function)["Layers"] == used
    assert refusal(client.get_layer_version, LayerName=name, VersionNumber=1) == MISSING
    client.delete_layer_version(LayerName=name, VersionNumber=2)
    third = client.publish_layer_version(LayerName=name, Content={"ZipFile": data})
    assert third["Version"] == 3
    assert "Layers" not in deployer.configure(function, Layers=[])
    assert second["Version"] == 2


def test_refusals_of_layers(deployer):
    client, name, invalid = deployer.client, new_name("layer"), "InvalidParameterValueException"
    arns = [client.publish_layer_version(LayerName=name, Content={"ZipFile": zipped({"a": str(number)})})["LayerVersionArn"] for number in range(2)]
    missing = f"{ARN}:layer:{name}:9"
    same = "Two different versions of the same layer are not allowed to be referenced in the same function."
    for layers, told in [
        ([missing], f"Layer version {missing} does not exist."),
        ([arns[0], arns[1]], f"{same} {arns[1]} and {arns[0]} are versions of the same layer."),
        ([f"{ARN}:layer:l{number}:1" for number in range(6)], "Cannot reference more than 5 layers."),
        ([f"arn:aws:lambda:eu-west-1:{ACCOUNT}:layer:l:1"], "Layers are not in the same region as the function. Layers are expected to be in region us-east-1."),
    ]:
        assert refusal(deployer.create, name=new_name(), Layers=layers) == (400, invalid, told)
    foreign = "arn:aws:lambda:us-east-1:123456789012:layer:public:1"
    error = refusal(deployer.create, name=new_name(), Layers=[foreign])
    assert error == (
        403,
        "AccessDeniedException",
        f"User: arn:aws:iam::{ACCOUNT}:root is not authorized to perform: lambda:GetLayerVersion on resource: {foreign} "
        "because no resource-based policy allows the lambda:GetLayerVersion action",
    )
    assert refusal(client.get_layer_version, LayerName=name, VersionNumber=0)[2] == "Layer Version Cannot be less than 1"
    error = refusal(client.publish_layer_version, LayerName=name, Content={"ZipFile": zipped({"a": "b"})}, CompatibleRuntimes=["cobol"])
    assert error[1] == "ValidationException"


def test_a_layer_is_shared_by_its_policy(deployer, server):
    client, name = deployer.client, new_name("layer")
    arn = client.publish_layer_version(LayerName=name, Content={"ZipFile": zipped({"a": "b"})})["LayerVersionArn"]
    other = server.client("lambda", key=1)
    assert refusal(other.get_layer_version_by_arn, Arn=arn)[:2] == (403, "AccessDeniedException")
    assert refusal(client.get_layer_version_policy, LayerName=name, VersionNumber=1) == MISSING
    added = client.add_layer_version_permission(LayerName=name, VersionNumber=1, StatementId="s", Action="lambda:GetLayerVersion", Principal="111111111111")
    assert json.loads(added["Statement"]) == {
        "Sid": "s",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
        "Action": "lambda:GetLayerVersion",
        "Resource": arn,
    }
    assert other.get_layer_version_by_arn(Arn=arn)["LayerVersionArn"] == arn
    policy = client.get_layer_version_policy(LayerName=name, VersionNumber=1)
    assert policy["RevisionId"] == added["RevisionId"]
    client.remove_layer_version_permission(LayerName=name, VersionNumber=1, StatementId="s")
    assert refusal(other.get_layer_version_by_arn, Arn=arn)[0] == 403


def test_operations_that_are_not_here_are_refused_by_name_or_empty(deployer):
    """10."""
    name, client = deployer.name(), deployer.client
    answered = client.get_function_code_signing_config(FunctionName=name)
    assert answered["FunctionName"] == name and "CodeSigningConfigArn" not in answered
    assert client.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"] == []
    assert client.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"] == []
    assert client.list_event_source_mappings()["EventSourceMappings"] == []
    assert client.list_code_signing_configs()["CodeSigningConfigs"] == []
    assert client.list_capacity_providers()["CapacityProviders"] == []
    assert client.list_durable_executions_by_function(FunctionName=name)["DurableExecutions"] == []
    assert refusal(client.get_function_url_config, FunctionName=name) == MISSING
    error = refusal(client.get_provisioned_concurrency_config, FunctionName=name, Qualifier="1")
    assert error[:2] == (404, "ProvisionedConcurrencyConfigNotFoundException")
    for call, parameters in [
        (client.create_function_url_config, {"FunctionName": name, "AuthType": "NONE"}),
        (client.put_provisioned_concurrency_config, {"FunctionName": name, "Qualifier": "1", "ProvisionedConcurrentExecutions": 1}),
        (client.create_event_source_mapping, {"FunctionName": name, "EventSourceArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:q"}),
        (client.put_resource_policy, {"ResourceArn": f"{ARN}:function:{name}", "Policy": "{}"}),
    ]:
        status, code, text = refusal(call, **parameters)
        assert (status, code) == (400, "InvalidParameterValueException")
        assert "is not supported by this Hearth installation" in text


def test_every_operation_of_the_model_is_answered_by_this_service(deployer):
    """10: none falls through to another service, or to a router's 404."""
    client = deployer.client
    for operation in client.meta.service_model.operation_names:
        http = client.meta.service_model.operation_model(operation).http
        path = http["requestUri"].split("?")[0]
        for label in ("FunctionName", "LayerName", "Name", "UUID", "StatementId", "Resource", "ResourceArn"):
            path = path.replace(f"{{{label}}}", "nobody")
        path = path.replace("{VersionNumber}", "1")
        for label in ("CodeSigningConfigArn", "CapacityProviderName", "DurableExecutionArn", "CallbackId"):
            path = path.replace(f"{{{label}}}", "nobody")
        status, headers = raw(client, http["method"], path)
        assert headers.get("content-type") == "application/json", (operation, status)
        assert headers.get("x-amzn-requestid"), operation


def raw(client, method, path):
    import requests
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    request = AWSRequest(method=method, url=client.meta.endpoint_url + path)
    SigV4Auth(client._request_signer._credentials, "lambda", client.meta.region_name).add_auth(request)
    answer = requests.request(method, request.url, headers=dict(request.headers), timeout=30)
    return answer.status_code, answer.headers
