"""The calls that Terraform's provider and SAM make, in their order: create, read, plan without a difference, update, destroy."""

import pytest

from .checked import refusal
from .functions import ARN, Deployer, code, new_name, role, zipped


@pytest.fixture
def deployer(functions, server):
    return Deployer(functions, server)


def terraform_read(client, name):
    """What a refresh of `aws_lambda_function` reads, as its state."""
    found = client.get_function(FunctionName=name)
    configuration = found["Configuration"]
    versions = [v["Version"] for page in client.get_paginator("list_versions_by_function").paginate(FunctionName=name) for v in page["Versions"]]
    signing = client.get_function_code_signing_config(FunctionName=name)
    return {
        "architectures": configuration["Architectures"],
        "arn": configuration["FunctionArn"],
        "code_sha256": configuration["CodeSha256"],
        "code_signing_config_arn": signing.get("CodeSigningConfigArn", ""),
        "dead_letter_config": configuration.get("DeadLetterConfig"),
        "description": configuration["Description"],
        "environment": configuration.get("Environment", {}).get("Variables"),
        "ephemeral_storage": configuration["EphemeralStorage"]["Size"],
        "file_system_config": configuration.get("FileSystemConfigs", []),
        "handler": configuration["Handler"],
        "image_config": configuration.get("ImageConfigResponse"),
        "kms_key_arn": configuration.get("KMSKeyArn", ""),
        "layers": [layer["Arn"] for layer in configuration.get("Layers", [])],
        "logging_config": configuration["LoggingConfig"],
        "memory_size": configuration["MemorySize"],
        "package_type": configuration["PackageType"],
        "reserved_concurrent_executions": found.get("Concurrency", {}).get("ReservedConcurrentExecutions", -1),
        "role": configuration["Role"],
        "runtime": configuration["Runtime"],
        "snap_start": configuration["SnapStart"]["ApplyOn"],
        "tags": found.get("Tags", {}),
        "timeout": configuration["Timeout"],
        "tracing_config": configuration["TracingConfig"]["Mode"],
        "version": versions[-1],
        "vpc_config": configuration.get("VpcConfig"),
    }


def test_terraform_creates_plans_updates_and_destroys(deployer):
    client, name = deployer.client, new_name("tf")
    layer = client.publish_layer_version(LayerName=new_name("tf"), Content={"ZipFile": zipped({"python/l.py": ""})})
    client.create_function(
        FunctionName=name,
        Role=deployer.role,
        Handler="index.handler",
        Runtime="python3.13",
        Code={"ZipFile": code()},
        Description="",
        MemorySize=256,
        Timeout=10,
        Publish=True,
        PackageType="Zip",
        Architectures=["x86_64"],
        Environment={"Variables": {"KEY": "1"}},
        EphemeralStorage={"Size": 512},
        Layers=[layer["LayerVersionArn"]],
        LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG", "SystemLogLevel": "WARN", "LogGroup": f"/aws/lambda/{name}"},
        TracingConfig={"Mode": "PassThrough"},
        Tags={"team": "a"},
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    state = terraform_read(client, name)
    # A plan without a difference: what was written is what is read, again and again.
    wanted = {
        "architectures": ["x86_64"], "arn": f"{ARN}:function:{name}", "code_signing_config_arn": "", "dead_letter_config": None, "description": "",
        "environment": {"KEY": "1"}, "ephemeral_storage": 512, "file_system_config": [], "handler": "index.handler", "image_config": None,
        "kms_key_arn": "", "layers": [layer["LayerVersionArn"]], "memory_size": 256, "package_type": "Zip", "reserved_concurrent_executions": 3,
        "logging_config": {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG", "SystemLogLevel": "WARN", "LogGroup": f"/aws/lambda/{name}"},
        "role": deployer.role, "runtime": "python3.13", "snap_start": "None", "tags": {"team": "a"}, "timeout": 10, "tracing_config": "PassThrough",
        "version": "1", "vpc_config": None,
    }  # fmt: skip
    assert {key: value for key, value in state.items() if key != "code_sha256"} == wanted
    assert terraform_read(client, name) == state

    # An update: configuration first, then code, then the version.
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {}}, Layers=[], MemorySize=128)
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    client.update_function_code(FunctionName=name, ZipFile=code("F = 6\n"), Publish=False, Architectures=["x86_64"])
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    client.delete_function_concurrency(FunctionName=name)
    client.tag_resource(Resource=state["arn"], Tags={"team": "b"})
    published = client.publish_version(FunctionName=name)
    client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=published["Version"])
    after = terraform_read(client, name)
    changed = {key for key in after if after[key] != state[key]}
    assert changed == {"environment", "layers", "memory_size", "code_sha256", "reserved_concurrent_executions", "tags", "version"}
    assert (after["environment"], after["layers"], after["version"]) == ({}, [], "2")

    # `aws_lambda_alias`, `aws_lambda_permission`, `aws_lambda_function_event_invoke_config`.
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="2", Description="")
    alias = client.get_alias(FunctionName=name, Name="live")
    assert client.update_alias(FunctionName=name, Name="live", FunctionVersion="1", Description="")["AliasArn"] == alias["AliasArn"]
    client.add_permission(FunctionName=name, StatementId="tf", Action="lambda:InvokeFunction", Principal="events.amazonaws.com", Qualifier="live")
    assert "tf" in client.get_policy(FunctionName=name, Qualifier="live")["Policy"]
    client.put_function_event_invoke_config(FunctionName=name, Qualifier="live", MaximumRetryAttempts=1)
    assert client.get_function_event_invoke_config(FunctionName=name, Qualifier="live")["MaximumRetryAttempts"] == 1

    client.delete_function_event_invoke_config(FunctionName=name, Qualifier="live")
    client.remove_permission(FunctionName=name, StatementId="tf", Qualifier="live")
    client.delete_alias(FunctionName=name, Name="live")
    client.delete_function(FunctionName=name)
    assert refusal(client.get_function, FunctionName=name)[:2] == (404, "ResourceNotFoundException")


def test_sam_deploys_and_syncs(functions, server):
    """`AWS::Serverless::Function` with an alias that a deployment moves on: CloudFormation's calls, then those of `sam sync`."""
    client, s3, bucket = functions, server.client("s3"), new_name("sam")
    s3.create_bucket(Bucket=bucket)
    for key, text in (("one", "G = 7\n"), ("two", "H = 8\n")):
        s3.put_object(Bucket=bucket, Key=key, Body=code(text))
    name = new_name("sam")
    client.create_function(
        FunctionName=name,
        Code={"S3Bucket": bucket, "S3Key": "one"},
        Handler="index.handler",
        Role=role(server),
        Runtime="python3.13",
        Architectures=["x86_64"],
        MemorySize=128,
        Timeout=3,
        TracingConfig={"Mode": "Active"},
        Tags={"lambda:createdBy": "SAM"},
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name)
    first = client.publish_version(FunctionName=name)["Version"]
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=first)
    client.update_function_code(FunctionName=name, S3Bucket=bucket, S3Key="two")
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    second = client.publish_version(FunctionName=name)["Version"]
    assert (first, second) == ("1", "2")
    client.update_alias(FunctionName=name, Name="live", FunctionVersion=second)
    # `sam sync --code`: reads the remote digest, sends the zip, waits.
    assert client.get_function(FunctionName=name)["Configuration"]["TracingConfig"] == {"Mode": "Active"}
    client.update_function_code(FunctionName=name, ZipFile=code("I = 9\n"))
    client.get_waiter("function_updated").wait(FunctionName=name)
    alias = client.get_alias(FunctionName=name, Name="live")
    assert client.get_function(FunctionName=name, Qualifier="live")["Configuration"]["Version"] == alias["FunctionVersion"] == "2"
    client.delete_function(FunctionName=name)
