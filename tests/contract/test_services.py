"""S3, logs, STS and IAM as boto3 and the AWS CLI use them."""

import io
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from boto3.s3.transfer import TransferConfig

from .checked import refusal

TRUST = '{"Version": "2012-10-17", "Statement": []}'


@pytest.fixture
def s3(server):
    return server.client("s3")


@pytest.fixture
def bucket(s3):
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    return name


def aws(server, *arguments):
    program = [sys.executable, "-m", "awscli", *arguments]
    return subprocess.run(program, env=server.environment(), check=True, capture_output=True, text=True).stdout


def test_objects(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a/b c/ü?.txt", Body=b"hello", ContentType="text/plain", Metadata={"k": "v"})
    found = s3.get_object(Bucket=bucket, Key="a/b c/ü?.txt")
    assert (found["Body"].read(), found["ContentType"], found["Metadata"]) == (b"hello", "text/plain", {"k": "v"})
    part = s3.get_object(Bucket=bucket, Key="a/b c/ü?.txt", Range="bytes=1-3")
    assert (part["Body"].read(), part["ContentRange"]) == (b"ell", "bytes 1-3/5")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "a/b c/ü?.txt"})
    assert s3.head_object(Bucket=bucket, Key="copy")["ETag"] == found["ETag"]
    assert refusal(s3.get_object, Bucket=bucket, Key="none")[:2] == (404, "NoSuchKey")
    assert refusal(s3.delete_bucket, Bucket=bucket)[:2] == (409, "BucketNotEmpty")
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "copy"}, {"Key": "a/b c/ü?.txt"}]})
    s3.delete_bucket(Bucket=bucket)


def test_an_object_that_is_replaced_is_always_read_whole(s3, bucket):
    """A GET or a copy finds one version, whatever is written at that moment."""
    versions = [b"one", b"three" * 1000]

    def put(number):
        s3.put_object(Bucket=bucket, Key="k", Body=versions[number % 2])

    put(0)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: [put(number) for number in range(100)])
        while not writing.done():
            found = s3.get_object(Bucket=bucket, Key="k")
            assert found["Body"].read() in versions
            copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
            assert [said["ResponseMetadata"]["RetryAttempts"] for said in (found, copied)] == [0, 0]
            assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() in versions
        writing.result()


def test_listing_in_pages(s3, bucket):
    keys = [f"{folder}/{number}" for folder in "abc" for number in range(5)] + ["top"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 4})
    assert [item["Key"] for page in pages for item in page.get("Contents", [])] == sorted(keys)
    top = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert [item["Prefix"] for item in top["CommonPrefixes"]] == ["a/", "b/", "c/"]
    assert [item["Key"] for item in top["Contents"]] == ["top"]


@pytest.mark.parametrize("version", [{}, {"signature_version": "s3v4"}], ids=["default", "version 4"])
def test_multipart_and_presigned(server, bucket, version):
    s3, data = server.client("s3", **version), os.urandom(17 << 20)
    config = TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=8 << 20)
    s3.upload_fileobj(io.BytesIO(data), bucket, "large", Config=config)
    assert s3.head_object(Bucket=bucket, Key="large")["ETag"].endswith('-3"')
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "large"})
    assert urllib.request.urlopen(url).read() == data
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url.replace("large", "other"))
    assert refused.value.code == 403


def test_accounts_have_their_own_buckets(server, s3, bucket):
    other = server.client("s3", key=1)
    assert other.list_buckets().get("Buckets", []) == []
    assert refusal(other.list_objects_v2, Bucket=bucket)[:2] == (404, "NoSuchBucket")


def test_aws_cli_on_s3(server, tmp_path):
    source = tmp_path / "tree"
    (source / "deep" / ("d" * 100)).mkdir(parents=True)
    (source / "one.txt").write_text("one")
    (source / "deep" / ("d" * 100) / "two.bin").write_bytes(os.urandom(9 << 20))
    name = f"cli-{uuid.uuid4().hex[:8]}"
    aws(server, "s3", "mb", f"s3://{name}")
    aws(server, "s3", "sync", str(source), f"s3://{name}/tree")
    assert "one.txt" in aws(server, "s3", "ls", f"s3://{name}/tree/")
    aws(server, "s3", "sync", f"s3://{name}/tree", str(tmp_path / "back"))
    subprocess.run(["diff", "-r", str(source), str(tmp_path / "back")], check=True)
    aws(server, "s3", "rb", "--force", f"s3://{name}")


def test_logs(server):
    logs = server.client("logs")
    group = f"/aws/lambda-microvms/{uuid.uuid4().hex[:8]}"
    logs.create_log_group(logGroupName=group)
    assert refusal(logs.create_log_group, logGroupName=group)[1] == "ResourceAlreadyExistsException"
    logs.create_log_stream(logGroupName=group, logStreamName="2026/11/22[1.0]m")
    now = int(time.time() * 1000)
    events = [{"timestamp": now + number, "message": f"line {number}"} for number in range(25)]
    logs.put_log_events(logGroupName=group, logStreamName="2026/11/22[1.0]m", logEvents=events)
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, PaginationConfig={"PageSize": 10})
    assert [event["message"] for page in pages for event in page["events"]] == [event["message"] for event in events]
    found = logs.filter_log_events(logGroupName=group, filterPattern='"line 2" -24')["events"]
    assert [event["message"] for event in found] == ["line 2", "line 20", "line 21", "line 22", "line 23"]
    logs.put_log_events(logGroupName=group, logStreamName="2026/11/22[1.0]m", logEvents=[
        {"timestamp": now, "message": json.dumps({"level": level, "ms": ms})} for level, ms in (("ERROR", 12), ("ERROR", 2), ("INFO", 90))
    ])
    found = logs.filter_log_events(logGroupName=group, filterPattern='{ $.level = "ERROR" && $.ms > 10 }')["events"]
    assert [json.loads(event["message"]) for event in found] == [{"level": "ERROR", "ms": 12}]
    assert refusal(logs.filter_log_events, logGroupName=group, filterPattern="{ $.level ERROR }") == (
        400, "InvalidParameterException",
        "Invalid filter pattern: at character 11: expected one of =, !=, <, >, <=, >=, IS, NOT EXISTS",
    )
    page = logs.get_log_events(logGroupName=group, logStreamName="2026/11/22[1.0]m", limit=5)
    assert [event["message"] for event in page["events"]] == [f"line {number}" for number in range(20, 25)]
    again = logs.get_log_events(logGroupName=group, logStreamName="2026/11/22[1.0]m", nextToken=page["nextForwardToken"])
    assert again["events"] == [] and again["nextForwardToken"] == page["nextForwardToken"]
    logs.put_retention_policy(logGroupName=group, retentionInDays=7)
    described = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert described[0]["retentionInDays"] == 7 and described[0]["storedBytes"] > 0
    streams = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True)["logStreams"]
    assert streams[0]["lastEventTimestamp"] == now + 24
    assert "line 3" in aws(server, "logs", "filter-log-events", "--log-group-name", group)
    logs.delete_log_group(logGroupName=group)
    assert refusal(logs.describe_log_streams, logGroupName=group)[1] == "ResourceNotFoundException"


def test_following_a_log(server):
    """What `aws logs tail --follow` does: ask again from the last time seen, drop what was seen."""
    logs, group = server.client("logs"), f"tail-{uuid.uuid4().hex[:8]}"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    seen, start = [], int(time.time() * 1000)
    for round_number in range(3):
        event = {"timestamp": int(time.time() * 1000), "message": str(round_number)}
        logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[event])
        for event in logs.filter_log_events(logGroupName=group, startTime=start, interleaved=True)["events"]:
            if event["eventId"] not in {known["eventId"] for known in seen}:
                seen.append(event)
        start = seen[-1]["timestamp"]
    assert [event["message"] for event in seen] == ["0", "1", "2"]


def test_who_am_i(server):
    identity = server.client("sts").get_caller_identity()
    assert (identity["Account"], identity["Arn"]) == (server.account, f"arn:aws:iam::{server.account}:root")


def test_roles(server):
    iam, name = server.client("iam"), f"role-{uuid.uuid4().hex[:8]}"
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST, Description="a & b")["Role"]
    assert made["Arn"] == f"arn:aws:iam::{server.account}:role/{name}"
    assert refusal(iam.create_role, RoleName=name, AssumeRolePolicyDocument=TRUST)[:2] == (409, "EntityAlreadyExists")
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=TRUST)
    assert iam.get_role_policy(RoleName=name, PolicyName="p")["PolicyDocument"]["Version"] == "2012-10-17"
    iam.attach_role_policy(RoleName=name, PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    assert attached == [{"PolicyName": "ReadOnlyAccess", "PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}]
    assert refusal(iam.delete_role, RoleName=name)[:2] == (409, "DeleteConflict")
    iam.detach_role_policy(RoleName=name, PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    iam.delete_role_policy(RoleName=name, PolicyName="p")
    assert name in {role["RoleName"] for role in iam.list_roles()["Roles"]}
    iam.delete_role(RoleName=name)
    assert refusal(iam.get_role, RoleName=name)[:2] == (404, "NoSuchEntity")


def test_logs_and_roles_refuse_what_their_models_do_not_allow(server):
    logs, iam = (server.client(service, parameter_validation=False) for service in ("logs", "iam"))
    missing = "failed to satisfy constraint: Member must not be null"
    assert refusal(logs.create_log_stream) == (
        400,
        "InvalidParameterException",
        f"2 validation errors detected: Value null at 'logGroupName' {missing}; Value null at 'logStreamName' {missing}",
    )
    assert refusal(logs.describe_log_streams, logGroupName="g", orderBy="Size")[2].endswith(
        "Member must satisfy enum value set: [LogStreamName, LastEventTime]"
    )
    assert refusal(iam.create_role, RoleName="r") == (
        400, "ValidationError", f"1 validation error detected: Value null at 'assumeRolePolicyDocument' {missing}"
    )
    assert refusal(iam.create_role, RoleName="r", AssumeRolePolicyDocument=TRUST, MaxSessionDuration=60)[2] == (
        "1 validation error detected: Value '60' at 'maxSessionDuration' failed to satisfy constraint: "
        "Member must have value greater than or equal to 3600"
    )
    # IAM words the characters of a name itself.
    assert "alphanumeric" in refusal(iam.get_role, RoleName="a b")[2]
