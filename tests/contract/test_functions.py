"""Functions: create, read, update, publish, delete, in the words of AWS. Numbers are those of the facts, section 9.1."""

import base64
import hashlib
import json
import re
import urllib.request

import pytest

from .checked import refusal
from .functions import ACCOUNT, ARN, Deployer, code, new_name, zipped

ALWAYS = {
    "Architectures", "CodeSha256", "CodeSize", "Description", "EphemeralStorage", "FunctionArn", "FunctionName", "Handler",
    "LastModified", "LoggingConfig", "MemorySize", "PackageType", "RevisionId", "Role", "Runtime", "RuntimeVersionConfig",
    "SnapStart", "State", "Timeout", "TracingConfig", "Version",
}  # fmt: skip
UPDATE = {"LastUpdateStatus", "LastUpdateStatusReason", "LastUpdateStatusReasonCode"}
STATE = {"State", "StateReason", "StateReasonCode"}


@pytest.fixture
def deployer(functions, server):
    return Deployer(functions, server)


def members(answer):
    return {name for name in answer if name != "ResponseMetadata"}


def test_a_created_function_has_what_aws_says(deployer):
    """1, 2, 30."""
    name = new_name()
    created = deployer.create(name, wait=False)
    assert members(created) == ALWAYS | {"StateReason", "StateReasonCode"}
    assert (created["State"], created["StateReasonCode"]) == ("Pending", "Creating")
    assert created["StateReason"] == "The function is being created."
    assert created["FunctionArn"] == f"{ARN}:function:{name}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", created["LastModified"])
    assert created["CodeSha256"] == base64.b64encode(hashlib.sha256(code()).digest()).decode()
    assert created["CodeSize"] == len(code())
    assert (created["Timeout"], created["MemorySize"], created["Version"]) == (3, 128, "$LATEST")
    assert created["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"}
    assert created["EphemeralStorage"] == {"Size": 512}
    assert created["SnapStart"] == {"ApplyOn": "None", "OptimizationStatus": "Off"}
    assert created["TracingConfig"] == {"Mode": "PassThrough"}
    assert re.fullmatch(r"arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}", created["RuntimeVersionConfig"]["RuntimeVersionArn"])
    deployer.wait(name)
    active = deployer.client.get_function_configuration(FunctionName=name)
    assert members(active) == ALWAYS | {"LastUpdateStatus"}
    assert (active["State"], active["LastUpdateStatus"]) == ("Active", "Successful")
    assert active["RevisionId"] != created["RevisionId"]


def test_environments_are_there_only_if_they_were_sent(deployer):
    name = deployer.name()
    assert "Environment" not in deployer.client.get_function_configuration(FunctionName=name)
    sent = deployer.configure(name, Environment={"Variables": {"KEY": "1"}})
    assert sent["Environment"] == {"Variables": {"KEY": "1"}}
    assert deployer.configure(name, Environment={})["Environment"] == {"Variables": {}}


def test_an_update_is_in_progress_and_then_successful(deployer):
    name = deployer.name()
    before = deployer.client.get_function_configuration(FunctionName=name)
    updated = deployer.client.update_function_configuration(FunctionName=name, Timeout=7)
    assert members(updated) == ALWAYS | UPDATE
    assert (updated["State"], updated["LastUpdateStatus"]) == ("Active", "InProgress")
    assert (updated["LastUpdateStatusReasonCode"], updated["Timeout"]) == ("Creating", 7)
    deployer.wait(name)
    after = deployer.client.get_function_configuration(FunctionName=name)
    assert len({before["RevisionId"], updated["RevisionId"], after["RevisionId"]}) == 3
    assert after["Timeout"] == 7


def test_code_can_be_fetched_and_is_what_was_sent(deployer):
    """24."""
    name = deployer.name(Publish=True)
    for qualifier in ({}, {"Qualifier": "1"}):
        found = deployer.client.get_function(FunctionName=name, **qualifier)
        assert found["Code"]["RepositoryType"] == "S3"
        with urllib.request.urlopen(found["Code"]["Location"]) as answer:
            assert answer.read() == code()
    assert "Tags" not in found and "Concurrency" not in found
    spoiled = found["Code"]["Location"][:-2]
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(spoiled)
    assert refused.value.code == 403


def test_code_comes_from_s3(deployer, server):
    s3, bucket = server.client("s3"), new_name("code")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="a.zip", Body=code("A = 1\n"))
    name = deployer.name(Code={"S3Bucket": bucket, "S3Key": "a.zip"})
    with urllib.request.urlopen(deployer.client.get_function(FunctionName=name)["Code"]["Location"]) as answer:
        assert answer.read() == code("A = 1\n")
    for source, told in [
        ({"S3Bucket": bucket, "S3Key": "none.zip"}, "S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist."),
        ({"S3Bucket": new_name("none"), "S3Key": "a"}, "S3 Error Code: NoSuchBucket. S3 Error Message: The specified bucket does not exist"),
    ]:
        error = refusal(deployer.client.update_function_code, FunctionName=name, **source)
        assert error == (400, "InvalidParameterValueException", f"Error occurred while GetObject. {told}")


def test_names_are_plain_partial_or_arns(deployer):
    """23."""
    name = deployer.name(Publish=True)
    plain, client = f"{ARN}:function:{name}", deployer.client
    for spelling in (name, f"{ACCOUNT}:function:{name}", plain):
        assert client.get_function(FunctionName=spelling)["Configuration"]["FunctionArn"] == plain
        for qualifier in ("$LATEST", "1"):
            for asked in ({"FunctionName": f"{spelling}:{qualifier}"}, {"FunctionName": spelling, "Qualifier": qualifier}):
                found = client.get_function_configuration(**asked)
                assert (found["FunctionArn"], found["Version"]) == (f"{plain}:{qualifier}", qualifier)
    error = refusal(client.get_function, FunctionName=f"{name}:1", Qualifier="$LATEST")
    assert error[2] == "The derived qualifier from the function name does not match the specified qualifier."
    error = refusal(client.get_function, FunctionName=f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:{name}")
    assert error == (404, "ResourceNotFoundException", "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')")
    error = refusal(client.get_function, FunctionName=f"arn:aws:lambda:us-east-1:111111111111:function:{name}")
    assert error[:2] == (403, "AccessDeniedException")


def test_what_is_missing_is_told_as_it_was_named(deployer):
    client, arn = deployer.client, f"{ARN}:function:nobody"
    for call, extra, told in [
        (client.get_function, {}, arn),
        (client.get_function, {"Qualifier": "42"}, f"{arn}:42"),
        (client.get_function_configuration, {"Qualifier": "$LATEST"}, f"{arn}:$LATEST"),
        (client.delete_function, {"Qualifier": "1"}, arn),
        (client.publish_version, {}, arn),
        (client.list_versions_by_function, {}, arn),
        (client.update_function_code, {"ZipFile": code()}, arn),
        (client.update_function_configuration, {"Timeout": 4}, arn),
        (client.put_function_concurrency, {"ReservedConcurrentExecutions": 1}, f"{arn}:$LATEST"),
    ]:
        error = refusal(call, FunctionName="nobody", **extra)
        assert error == (404, "ResourceNotFoundException", f"Function not found: {told}")


def test_writes_to_what_is_being_created_or_taken_are_conflicts(deployer):
    name = deployer.name()
    error = refusal(deployer.create, name=name)
    assert error == (409, "ResourceConflictException", f"Function already exist: {name}")
    error = refusal(deployer.client.publish_version, FunctionName=name, RevisionId="00000000-0000-0000-0000-000000000000")
    assert error[:2] == (412, "PreconditionFailedException")
    assert error[2].endswith("Call the GetFunction/GetAlias API to retrieve the latest Revision Id")


def test_published_versions_stay_and_the_same_is_published_once(deployer):
    """4, 5, 6, 36."""
    name, client = deployer.name(), deployer.client
    first = client.publish_version(FunctionName=name, Description="one")
    assert (first["Version"], first["FunctionArn"], first["Description"]) == ("1", f"{ARN}:function:{name}:1", "one")
    assert (first["State"], first["LastUpdateStatus"]) == ("Active", "Successful")
    again = client.publish_version(FunctionName=name)
    assert (again["Version"], again["RevisionId"]) == ("1", first["RevisionId"])
    deployer.configure(name, MemorySize=256)
    assert client.publish_version(FunctionName=name)["Version"] == "2"
    published = deployer.update_code(name, "B = 2\n", Publish=True)
    assert (published["Version"], published["FunctionArn"], published["State"]) == ("3", f"{ARN}:function:{name}:3", "Pending")
    assert "LastUpdateStatus" not in published
    old = client.get_function_configuration(FunctionName=name, Qualifier="1")
    assert (old["CodeSha256"], old["MemorySize"]) == (first["CodeSha256"], 128)
    versions = client.list_versions_by_function(FunctionName=name)["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "1", "2", "3"]
    assert [version["FunctionArn"].rsplit(":", 1)[1] for version in versions] == ["$LATEST", "1", "2", "3"]
    assert all(members(version) & (STATE | UPDATE | {"RuntimeVersionConfig"}) == set() for version in versions)


def test_create_with_publish_answers_version_1_under_the_unqualified_arn(deployer):
    """4."""
    name = new_name()
    created = deployer.create(name, Publish=True)
    assert (created["Version"], created["FunctionArn"]) == ("1", f"{ARN}:function:{name}")
    versions = deployer.client.list_versions_by_function(FunctionName=name)["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "1"]


def test_a_digest_that_differs_is_not_published(deployer):
    name = deployer.name()
    current = deployer.client.get_function_configuration(FunctionName=name)["CodeSha256"]
    other = base64.b64encode(b"\0" * 32).decode()
    error = refusal(deployer.client.publish_version, FunctionName=name, CodeSha256=other)
    assert error[2] == (
        f"CodeSHA256 ({other}) is different from current CodeSHA256 in $LATEST ({current}). "
        "Please try again with the CodeSHA256 in $LATEST."
    )
    assert deployer.client.publish_version(FunctionName=name, CodeSha256=current)["Version"] == "1"


def test_a_dry_run_changes_nothing(deployer):
    name = deployer.name()
    before = deployer.client.get_function_configuration(FunctionName=name)
    would_be = deployer.client.update_function_code(FunctionName=name, ZipFile=code("C = 3\n"), DryRun=True)
    assert would_be["CodeSha256"] != before["CodeSha256"]
    after = deployer.client.get_function_configuration(FunctionName=name)
    assert (after["CodeSha256"], after["RevisionId"]) == (before["CodeSha256"], before["RevisionId"])


def test_functions_are_deleted_with_everything_and_numbers_go_on(deployer):
    """29."""
    name, client = deployer.name(Publish=True), deployer.client
    for qualifier, told in [
        ("$LATEST", "$LATEST version cannot be deleted without deleting the function."),
        ("live", "Deletion of aliases is not currently supported."),
    ]:
        error = refusal(client.delete_function, FunctionName=name, Qualifier=qualifier)
        assert error == (400, "InvalidParameterValueException", told)
    client.delete_function(FunctionName=name, Qualifier="7")
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    error = refusal(client.delete_function, FunctionName=name, Qualifier="1")
    assert error == (409, "ResourceConflictException", "Unable to delete version because the following aliases reference it: [live]")
    client.delete_function(FunctionName=name)
    assert refusal(client.get_alias, FunctionName=name, Name="live")[0] == 404
    created = deployer.create(name, Publish=True)
    assert created["Version"] == "2"


def test_lists_have_pages(deployer, functions):
    names = sorted(deployer.name() for _ in range(3))
    pages = functions.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})
    found = [function for page in pages for function in page["Functions"]]
    assert [function["FunctionName"] for function in found] == sorted(function["FunctionName"] for function in found)
    ours = [function for function in found if function["FunctionName"] in names]
    assert len(ours) == 3
    assert all(members(function) & (STATE | UPDATE | {"RuntimeVersionConfig"}) == set() for function in ours)
    functions.publish_version(FunctionName=names[0])
    pages = functions.get_paginator("list_functions").paginate(FunctionVersion="ALL", PaginationConfig={"PageSize": 2})
    arns = [function["FunctionArn"] for page in pages for function in page["Functions"]]
    assert {f"{ARN}:function:{names[0]}:$LATEST", f"{ARN}:function:{names[0]}:1"} <= set(arns)
    error = refusal(functions.list_functions, Marker="bm9uc2Vuc2U=")
    assert error[:2] == (400, "InvalidParameterValueException")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"no zip", "Could not unzip uploaded file. Please check your file, then try to upload again."),
        (zipped({"../up.py": "x"}), "Could not unzip uploaded file. Please check your file, then try to upload again."),
        (zipped({"/etc/x": "x"}), "Could not unzip uploaded file. Please check your file, then try to upload again."),
        (zipped(), "Uploaded file must be a non-empty zip"),
    ],
)
def test_bad_zips_are_refused_before_a_function_is_active(deployer, data, told):
    name = new_name()
    error = refusal(deployer.create, name=name, Code={"ZipFile": data})
    assert error == (400, "InvalidParameterValueException", told)
    assert refusal(deployer.client.get_function, FunctionName=name)[0] == 404


def test_250_mb_unzipped_are_too_many(deployer):
    """22."""
    zeros = bytes(132 << 20)
    error = refusal(deployer.create, name=new_name(), Code={"ZipFile": zipped({"a": zeros, "b": zeros})})
    assert error == (400, "InvalidParameterValueException", "Unzipped size must be smaller than 262144000 bytes")


def test_ranges_of_the_service_are_narrower_than_the_models(deployer):
    """28."""
    for wrong, place in [({"MemorySize": 10241}, "memorySize"), ({"Timeout": 1801}, "timeout"), ({"EphemeralStorage": {"Size": 10241}}, "ephemeralStorage.size")]:
        error = refusal(deployer.create, name=new_name(), **wrong)
        assert error[:2] == (400, "ValidationException"), wrong
        assert f"at '{place}' failed to satisfy constraint: Member must have value less than or equal to" in error[2]
    assert deployer.create(MemorySize=10240, Timeout=1800, EphemeralStorage={"Size": 10240})["Timeout"] == 1800


def test_runtimes_that_are_not_here_are_refused_with_those_that_are(deployer):
    error = refusal(deployer.create, name=new_name(), Runtime="python3.12")
    assert error[:2] == (400, "InvalidParameterValueException")
    assert error[2].startswith("Value python3.12 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [provided.al2,")
    assert error[2].endswith("python3.13] or be a valid ARN")
    error = refusal(deployer.create, name=new_name(), Runtime="python3.7")
    assert error[2].startswith("The runtime parameter of python3.7 is no longer supported for creating or updating AWS Lambda functions.")
    without = {"FunctionName": new_name(), "Role": deployer.role, "Code": {"ZipFile": code()}}
    error = refusal(deployer.client.create_function, **without)
    assert error[2] == "Runtime and Handler are mandatory parameters for functions created with deployment packages."


def test_names_that_are_too_long(deployer):
    long = "n" * 65
    error = refusal(deployer.create, name=long)
    assert error[:2] == (400, "InvalidParameterValueException")
    assert error[2] == (
        f"1 validation error detected: Value '{long}' at 'functionName' failed to satisfy constraint: "
        "Member must have length less than or equal to 64"
    )
    assert refusal(deployer.create, name="n" * 141)[1] == "ValidationException"
    assert refusal(deployer.client.get_function, FunctionName=long)[0] == 404


def test_roles_have_to_trust_lambda(deployer, server):
    told = "The role defined for the function cannot be assumed by Lambda."
    iam, name = server.client("iam"), new_name("role")
    nobody = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    other = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(nobody))["Role"]["Arn"]
    for role in (other, f"arn:aws:iam::{ACCOUNT}:role/nobody"):
        error = refusal(deployer.create, name=new_name(), Role=role)
        assert error == (400, "InvalidParameterValueException", told)
    error = refusal(deployer.create, name=new_name(), Role="arn:aws:iam::111111111111:role/r")
    assert error[:2] == (403, "AccessDeniedException")


def test_variables_have_limits_and_reserved_names(deployer):
    error = refusal(deployer.create, name=new_name(), Environment={"Variables": {"AWS_REGION": "x"}})
    assert error[2].endswith("Reserved keys used in this request: AWS_REGION")
    error = refusal(deployer.create, name=new_name(), Environment={"Variables": {"KEY": "v" * 4100}})
    assert "exceeded the 4KB limit. String measured: " in error[2]
    fits = {"KEY": "v" * (4096 - len('{"KEY":""}'))}
    assert deployer.create(Environment={"Variables": fits})["Environment"]["Variables"] == fits


def test_logging_is_merged(deployer):
    name = deployer.name(LoggingConfig={"LogFormat": "JSON"})
    read = deployer.client.get_function_configuration(FunctionName=name)["LoggingConfig"]
    assert read == {"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO", "LogGroup": f"/aws/lambda/{name}"}
    changed = deployer.configure(name, LoggingConfig={"SystemLogLevel": "WARN", "LogGroup": "/own"})["LoggingConfig"]
    assert changed == {"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "WARN", "LogGroup": "/own"}
    assert deployer.configure(name, LoggingConfig={"LogFormat": "Text"})["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": "/own"}
    error = refusal(deployer.client.update_function_configuration, FunctionName=name, LoggingConfig={"SystemLogLevel": "WARN"})
    assert error[:2] == (400, "InvalidParameterValueException")


def test_members_that_functions_cannot_have_yet_are_refused_by_name(deployer):
    for name, value in [
        ("VpcConfig", {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}),
        ("PackageType", "Image"),
        ("DeadLetterConfig", {"TargetArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:q"}),
        ("KMSKeyArn", f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k"),
        ("SnapStart", {"ApplyOn": "PublishedVersions"}),
    ]:
        error = refusal(deployer.create, name=new_name(), **{name: value})
        assert error[:2] == (400, "InvalidParameterValueException"), name
        assert error[2].startswith(f"{name} is not supported by this Hearth installation."), name
    error = refusal(deployer.create, name=new_name(), Code={"ImageUri": "registry.example/image:1"})
    assert error[2].startswith("ImageUri is not supported")
    error = refusal(deployer.create, name=new_name(), Architectures=["arm64"])
    assert "arm64" in error[2]
    cleared = {"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []}, "DeadLetterConfig": {"TargetArn": ""}, "KMSKeyArn": "", "PackageType": "Zip"}
    assert members(deployer.create(**cleared)) & {"VpcConfig", "DeadLetterConfig", "KMSKeyArn"} == set()


def test_storage_and_architectures_can_be_updated(deployer):
    """27."""
    name = deployer.name()
    assert deployer.configure(name, EphemeralStorage={"Size": 1024})["EphemeralStorage"] == {"Size": 1024}
    assert deployer.update_code(name, "D = 4\n", Architectures=["x86_64"])["Architectures"] == ["x86_64"]


def test_tenant_isolation_is_shown(deployer):
    name = deployer.name(TenancyConfig={"TenantIsolationMode": "PER_TENANT"})
    read = deployer.client.get_function_configuration(FunctionName=name)
    assert read["TenancyConfig"] == {"TenantIsolationMode": "PER_TENANT"}
    assert "TenancyConfig" not in deployer.create()
