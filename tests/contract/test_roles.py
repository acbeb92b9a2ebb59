"""Execution roles: metadata, temporary keys, and what policies allow with them."""

import concurrent.futures
import datetime
import json
import time
import urllib.error
import urllib.request
import uuid

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config

from conftest import Server

from .checked import refusal
from .guest import METADATA, Door, account_credentials, as_credentials

TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
TOKEN = "X-aws-ec2-metadata-token"


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action, resource="*", **more):
    return {**allow(action, resource, **more), "Effect": "Deny"}


class World:
    """An image, roles, and microVMs that have them."""

    def __init__(self, server):
        self.server, self.iam = server, server.client("iam")
        self.microvms, self.s3 = server.client("lambda-microvms"), server.client("s3")
        self.bucket = f"roles-{uuid.uuid4().hex[:8]}"
        self.s3.create_bucket(Bucket=self.bucket)
        self.s3.put_object(Bucket=self.bucket, Key="open/a", Body=b"a")
        self.s3.put_object(Bucket=self.bucket, Key="closed/b", Body=b"b")
        self.s3.put_object(Bucket=self.bucket, Key="code.zip", Body=b"zip")
        self.image = self.microvms.create_microvm_image(
            name=f"roles-{uuid.uuid4().hex[:8]}",
            baseImageArn="arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1",
            buildRoleArn="arn:aws:iam::000000000000:role/build",
            codeArtifact={"uri": f"s3://{self.bucket}/code.zip"},
        )["imageArn"]
        self.wait(lambda: self.microvms.get_microvm_image(imageIdentifier=self.image)["state"], "CREATED")

    def wait(self, read, wanted):
        deadline = time.monotonic() + 30
        while read() != wanted:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def role(self, *statements, trust=TRUST, path="/"):
        name = f"role-{uuid.uuid4().hex[:8]}"
        arn = self.iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        if statements:
            self.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(*statements))
        return arn

    def run(self, role=None):
        members = {"executionRoleArn": role} if role else {}
        microvm = self.microvms.run_microvm(imageIdentifier=self.image, **members)["microvmId"]
        self.wait(lambda: self.microvms.get_microvm(microvmIdentifier=microvm)["state"], "RUNNING")
        return Door(self.server, microvm)

    def terminate(self, door):
        self.microvms.terminate_microvm(microvmIdentifier=door.microvm)
        self.wait(lambda: self.microvms.get_microvm(microvmIdentifier=door.microvm)["state"], "TERMINATED")

    def client(self, service, keys):
        return boto3.client(
            service,
            endpoint_url=self.server.url,
            region_name=self.server.region,
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["Token"],
            # Version 2, with which boto3 presigns here, is not understood together with a session token.
            config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}, signature_version="s3v4" if service == "s3" else None),
        )

    def with_role(self, service, *statements, **members):
        return self.client(service, self.run(self.role(*statements, **members)).role_keys())


@pytest.fixture(scope="module")
def world(server):
    return World(server)


def test_metadata_want_a_token(world):
    door = world.run(world.role())
    ttl = "X-aws-ec2-metadata-token-ttl-seconds"
    assert [door.metadata("GET", METADATA)[0], door.metadata("GET", METADATA, {TOKEN: "x"})[0]] == [401, 401]
    for wrong in ({}, {ttl: "0"}, {ttl: "21601"}, {ttl: "x"}):
        assert door.metadata("PUT", "/latest/api/token", wrong)[0] == 400
    assert door.metadata("PUT", "/latest/api/token", {ttl: "60", "X-Forwarded-For": "10.0.0.1"})[0] == 403
    status, token, headers = door.metadata("PUT", "/latest/api/token", {ttl: "60"})
    assert (status, headers[ttl]) == (200, "60")
    with_token = {TOKEN: token.decode()}
    assert door.metadata("GET", METADATA, with_token)[:2] == (200, b"execution_role")
    assert [door.metadata("GET", path, with_token)[0] for path in (METADATA + "other", "/latest/user-data", "/")] == [404] * 3
    assert door.metadata("POST", METADATA, with_token)[0] == 405


def test_tokens_are_of_one_microvm_and_of_their_time(world):
    one, other = world.run(world.role()), world.run(world.role())
    short = one.token("1")
    assert other.metadata("GET", METADATA, {TOKEN: one.token()})[0] == 401
    altered = one.token()
    altered = altered[:-2] + ("A" if altered[-2] != "A" else "B") + altered[-1]
    assert one.metadata("GET", METADATA, {TOKEN: altered})[0] == 401
    time.sleep(1.1)
    assert one.metadata("GET", METADATA, {TOKEN: short})[0] == 401


def test_keys_are_those_of_an_execution_role(world):
    role = world.role()
    door = world.run(role)
    keys = door.role_keys()
    assert (keys["Code"], keys["Type"], keys["AccessKeyId"][:4], len(keys["SecretAccessKey"])) == ("Success", "AWS-HMAC", "ASIA", 40)
    begin, end = (datetime.datetime.fromisoformat(keys[name]) for name in ("LastUpdated", "Expiration"))
    assert end - begin == datetime.timedelta(minutes=55)
    assert door.role_keys() == keys
    identity = world.client("sts", keys).get_caller_identity()
    name = role.rsplit("/", 1)[1]
    assert identity["Arn"] == f"arn:aws:sts::{world.server.account}:assumed-role/{name}/{door.microvm}"
    assert identity["UserId"].startswith("AROA")


def test_without_a_role_there_are_no_keys(world):
    door = world.run()
    assert door.metadata("GET", METADATA, {TOKEN: door.token()})[0] == 404
    missing = world.run(f"arn:aws:iam::{world.server.account}:role/none").role_keys()
    assert missing["Code"] == "AssumeRoleUnauthorizedAccess" and "AccessKeyId" not in missing
    for trust in ({"Statement": []}, {"Statement": [{**TRUST["Statement"][0], "Principal": {"Service": "ec2.amazonaws.com"}}]}):
        assert world.run(world.role(allow("*"), trust=trust)).role_keys()["Code"] == "AssumeRoleUnauthorizedAccess"
    assert world.run(world.role(path="/service/")).role_keys()["Code"] == "Success"
    foreign = "arn:aws:iam::111111111111:role/theirs"
    assert refusal(world.microvms.run_microvm, imageIdentifier=world.image, executionRoleArn=foreign)[:2] == (403, "AccessDeniedException")


def test_policies_decide_in_s3(world):
    bucket = f"arn:aws:s3:::{world.bucket}"
    s3 = world.with_role(
        "s3",
        allow(["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], [f"{bucket}/open/*", f"{bucket}/closed/*"]),
        deny("s3:*", f"{bucket}/closed/*"),
        allow("s3:ListBucket", bucket, Condition={"StringLike": {"s3:prefix": "open/*"}}),
    )
    assert s3.get_object(Bucket=world.bucket, Key="open/a")["Body"].read() == b"a"
    s3.put_object(Bucket=world.bucket, Key="open/c", Body=b"c")
    copy = lambda source, target: s3.copy_object(Bucket=world.bucket, Key=target, CopySource={"Bucket": world.bucket, "Key": source})
    copy("open/a", "open/d")
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=world.bucket, Prefix="open/")["Contents"]] == ["open/a", "open/c", "open/d"]
    denied = [
        lambda: s3.get_object(Bucket=world.bucket, Key="closed/b"),
        lambda: s3.get_object(Bucket=world.bucket, Key="code.zip"),
        lambda: s3.put_object(Bucket=world.bucket, Key="code.zip", Body=b""),
        lambda: copy("closed/b", "open/stolen"),
        lambda: copy("open/a", "closed/planted"),
        lambda: s3.delete_objects(Bucket=world.bucket, Delete={"Objects": [{"Key": "open/c"}, {"Key": "closed/b"}]}),
        lambda: s3.list_objects_v2(Bucket=world.bucket),
        lambda: s3.list_objects_v2(Bucket=world.bucket, Prefix="closed/"),
        lambda: s3.list_buckets(),
        lambda: s3.create_bucket(Bucket="mine-now"),
        lambda: s3.delete_bucket(Bucket=world.bucket),
        lambda: s3.create_multipart_upload(Bucket=world.bucket, Key="code.zip"),
        lambda: s3.get_bucket_location(Bucket=world.bucket),
    ]
    assert [refusal(attempt)[:2] for attempt in denied] == [(403, "AccessDenied")] * len(denied)
    assert world.s3.head_object(Bucket=world.bucket, Key="open/c")
    s3.delete_objects(Bucket=world.bucket, Delete={"Objects": [{"Key": "open/c"}, {"Key": "open/d"}]})
    with pytest.raises(Exception, match="not authorized to perform: s3:GetObject .*no identity-based policy allows"):
        s3.get_object(Bucket=world.bucket, Key="code.zip")
    with pytest.raises(Exception, match="with an explicit deny"):
        s3.get_object(Bucket=world.bucket, Key="closed/b")


def listed(world, s3, query, signed_as=None):
    """Status and body of a list whose query is sent as it is, and signed as it may be read."""
    address = f"{world.server.url}/{world.bucket}?"
    request = AWSRequest("GET", address + (signed_as or query))
    S3SigV4Auth(s3._request_signer._credentials.get_frozen_credentials(), "s3", world.server.region).add_auth(request)
    try:
        with urllib.request.urlopen(urllib.request.Request(address + query, headers=dict(request.headers.items())), timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_prefix_is_held_against_policies_as_it_is_read(world):
    """Finding L9: a plus in a query is a blank, and policies were held against a plus."""
    bucket = f"arn:aws:s3:::{world.bucket}"
    for key in ("open+x/mine", "open x/secret"):
        world.s3.put_object(Bucket=world.bucket, Key=key, Body=b"")
    s3 = world.with_role("s3", allow("s3:ListBucket", bucket, Condition={"StringEquals": {"s3:prefix": "open+x"}}))
    status, body = listed(world, s3, "list-type=2&prefix=open%2Bx")
    assert status == 200 and b"open+x/mine" in body and b"secret" not in body
    ways = [listed(world, s3, "list-type=2&prefix=open+x", f"list-type=2&prefix=open{read_as}x") for read_as in ("%20", "%2B", "+")]
    assert not any(b"secret" in body for _, body in ways)
    # One of these is signed as it is read here, so it was the policy that refused.
    assert any(status == 403 and b"<Code>AccessDenied</Code>" in body for status, body in ways), ways


def test_a_denied_prefix_is_found_behind_many_parameters(world):
    """Finding L9: only the first 256 parameters were looked at, and all of them are read. So many are refused now."""
    bucket = f"arn:aws:s3:::{world.bucket}"
    s3 = world.with_role(
        "s3",
        allow("s3:ListBucket", bucket),
        deny("s3:ListBucket", bucket, Condition={"StringLike": {"s3:prefix": "closed/*"}}),
    )
    padded = lambda count, prefix: "&".join([f"a{n:03}=" for n in range(count)] + ["list-type=2", f"prefix={prefix}%2F"])
    status, body = listed(world, s3, padded(50, "open"))
    assert status == 200 and b"open/a" in body
    status, body = listed(world, s3, padded(50, "closed"))
    assert status == 403 and b"<Code>AccessDenied</Code>" in body, body
    for prefix in ("open", "closed"):
        status, body = listed(world, s3, padded(300, prefix))
        assert status == 400 and b"at most 64 parameters" in body, body


def test_policies_decide_in_logs(world):
    group = f"/roles/{uuid.uuid4().hex[:8]}"
    arn = f"arn:aws:logs:{world.server.region}:{world.server.account}:log-group"
    logs = world.with_role("logs", allow(["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], f"{arn}:{group}:*"))
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    event = {"timestamp": int(time.time() * 1000), "message": "m"}
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[event])
    for attempt in (
        lambda: logs.get_log_events(logGroupName=group, logStreamName="s"),
        lambda: logs.filter_log_events(logGroupName=group),
        lambda: logs.filter_log_events(logGroupIdentifier=f"{arn}:{group}"),
        lambda: logs.describe_log_groups(),
        lambda: logs.delete_log_group(logGroupName=group),
        lambda: logs.create_log_group(logGroupName=group + "x"),
        lambda: logs.put_log_events(logGroupName="/other", logStreamName="s", logEvents=[event]),
    ):
        assert refusal(attempt)[:2] == (403, "AccessDeniedException")


def test_policies_decide_on_microvms(world):
    run = lambda client, **members: client.run_microvm(imageIdentifier=world.image, **members)["microvmId"]
    mine = world.with_role("lambda-microvms", allow(["lambda:RunMicrovm", "lambda:GetMicrovm"], world.image))
    microvm = run(mine)
    assert mine.get_microvm(microvmIdentifier=microvm)["microvmId"] == microvm
    strong = world.role(allow("*"))
    connector = "arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:INTERNET_EGRESS"
    for attempt in (
        lambda: mine.terminate_microvm(microvmIdentifier=microvm),
        lambda: mine.create_microvm_auth_token(microvmIdentifier=microvm, expirationInMinutes=5, allowedPorts=[{"port": 8080}]),
        lambda: mine.list_microvms(),
        lambda: run(mine, executionRoleArn=strong),
        lambda: run(mine, egressNetworkConnectors=[connector]),
    ):
        assert refusal(attempt)[:2] == (403, "AccessDeniedException")
    passing = world.with_role(
        "lambda-microvms", allow("lambda:*"), allow("iam:PassRole", strong), deny("lambda:TerminateMicrovm", world.image)
    )
    run(passing, executionRoleArn=strong, egressNetworkConnectors=[connector])
    assert refusal(passing.terminate_microvm, microvmIdentifier=microvm)[:2] == (403, "AccessDeniedException")


def make_connector(core, name):
    made = core.create_network_connector(
        Name=name, OperatorRole="arn:aws:iam::000000000000:role/network",
        Configuration={"VpcEgressConfiguration": {"SubnetIds": ["subnet-1"], "NetworkProtocol": "IPv4",
                                                  "AssociatedComputeResourceTypes": ["MicroVm"]}},
    )
    return made["Arn"], made["Id"]


def test_a_denial_of_a_connector_holds_for_all_of_its_spellings(world):
    """Finding M11: the text of the request was compared with policies, so another spelling was not denied."""
    name = f"closed-{uuid.uuid4().hex[:8]}"
    arn, key = make_connector(world.server.client("lambda-core"), name)
    closed = (allow("lambda:*"), deny(["lambda:GetNetworkConnector", "lambda:PassNetworkConnector"], arn))
    core = world.with_role("lambda-core", *closed)
    for spelling in (arn, f"{arn}:1", key, name):
        assert refusal(core.get_network_connector, Identifier=spelling)[:2] == (403, "AccessDeniedException"), spelling
    # An id in capitals is no id.
    assert refusal(core.get_network_connector, Identifier=key.upper())[0] == 404
    assert refusal(core.get_network_connector, Identifier=arn.replace(key, "nc-" + key[3:].upper()))[0] in (403, 404)
    microvms = world.with_role("lambda-microvms", *closed)
    for spelling in (arn, f"{arn}:1"):
        run = {"imageIdentifier": world.image, "egressNetworkConnectors": [spelling]}
        assert refusal(microvms.run_microvm, **run)[:2] == (403, "AccessDeniedException"), spelling
    # And an allowance too.
    core = world.with_role("lambda-core", allow("lambda:GetNetworkConnector", arn))
    for spelling in (arn, f"{arn}:1", key, name):
        assert core.get_network_connector(Identifier=spelling)["Id"] == key, spelling
    assert refusal(core.get_network_connector, Identifier="another-name")[:2] == (403, "AccessDeniedException")


def test_connectors_are_made_by_those_who_may(world):
    core = world.with_role("lambda-core", allow("lambda:CreateNetworkConnector", "arn:aws:lambda:*:*:network-connector:*"), allow("iam:PassRole"))
    make_connector(core, f"made-{uuid.uuid4().hex[:8]}")
    core = world.with_role("lambda-core", allow("lambda:GetNetworkConnector"), allow("iam:PassRole"))
    assert refusal(lambda: make_connector(core, "not-made"))[:2] == (403, "AccessDeniedException")


def build(client, world, role="arn:aws:iam::000000000000:role/build", key="code.zip"):
    return client.create_microvm_image(
        name=f"built-{uuid.uuid4().hex[:8]}",
        baseImageArn="arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1",
        buildRoleArn=role,
        codeArtifact={"uri": f"s3://{world.bucket}/{key}"},
    )["imageArn"]


def test_who_makes_an_image_may_read_its_artifact(world):
    """Finding M12: a role that creates images could read every zip of its account."""
    code = f"arn:aws:s3:::{world.bucket}/code.zip"
    making = allow(["lambda:CreateMicrovmImage", "lambda:UpdateMicrovmImage", "iam:PassRole"])
    client = world.with_role("lambda-microvms", making, allow("s3:GetObject", code))
    image = build(client, world)
    world.wait(lambda: world.microvms.get_microvm_image(imageIdentifier=image)["state"], "CREATED")
    assert refusal(lambda: build(client, world, key="closed/b"))[:2] == (403, "AccessDeniedException")
    update = {"imageIdentifier": image, "baseImageArn": "arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1",
              "buildRoleArn": "arn:aws:iam::000000000000:role/build"}
    closed = {"uri": f"s3://{world.bucket}/closed/b"}
    assert refusal(client.update_microvm_image, codeArtifact=closed, **update)[:2] == (403, "AccessDeniedException")
    for more in ((), (allow("s3:*"), deny("s3:GetObject", code))):
        client = world.with_role("lambda-microvms", making, *more)
        assert refusal(lambda: build(client, world))[:2] == (403, "AccessDeniedException")


def test_the_build_role_reads_the_artifact(world):
    """Finding M12: the build role was stored, but its policies were not checked."""
    code = f"arn:aws:s3:::{world.bucket}/code.zip"
    build(world.microvms, world, world.role(allow("s3:GetObject", code)))
    status, code_, message = refusal(lambda: build(world.microvms, world, world.role(allow("logs:*"))))
    assert (status, code_) == (403, "AccessDeniedException") and "s3:GetObject" in message
    trust = {**TRUST, "Statement": [{**TRUST["Statement"][0], "Principal": {"Service": "ec2.amazonaws.com"}}]}
    status, _, message = refusal(lambda: build(world.microvms, world, world.role(allow("s3:*"), trust=trust)))
    assert status == 400 and "cannot be assumed" in message


def test_the_policies_of_a_role_are_bounded_together(world):
    """Finding M10: fifty policies of ten thousand characters were evaluated for each request."""
    role = world.role().rsplit("/", 1)[1]
    put = lambda name, length: world.iam.put_role_policy(
        RoleName=role, PolicyName=name, PolicyDocument=policy(allow("s3:*", "x" * length)) + " " * 5000)
    put("a", 5000)
    put("b", 4500)
    assert refusal(lambda: put("c", 1000))[:2] == (409, "LimitExceeded")
    # In place of one that is there.
    put("b", 5000)
    assert refusal(lambda: put("b", 5500))[:2] == (409, "LimitExceeded")


def test_long_lists_are_held_against_policies(world):
    """Finding M10: a thousand keys against the largest policies kept a thread from all others."""
    hostile = ["*" + "a?" * 250 + "b"] * 18
    s3 = world.with_role("s3", allow("s3:DeleteObject", f"arn:aws:s3:::{world.bucket}/*"), deny("s3:DeleteObject", hostile))
    keys = [{"Key": "a" * 1000 + str(number)} for number in range(1000)]
    begun = time.monotonic()
    assert len(s3.delete_objects(Bucket=world.bucket, Delete={"Objects": keys})["Deleted"]) == 1000
    took = time.monotonic() - begun
    print("a thousand keys took", took, "s")


def test_roles_do_not_administer(world):
    keys = world.run(world.role(allow("*"))).role_keys()
    assert refusal(world.client("iam", keys).list_roles)[:2] == (403, "AccessDeniedException")
    assert world.client("s3", keys).list_buckets()["Buckets"]


def test_what_is_not_understood_closes(world):
    odd = {"IpAddress": {"aws:SourceIp": "127.0.0.1"}}
    s3 = world.with_role("s3", allow("s3:*", Condition=odd))
    assert refusal(s3.get_object, Bucket=world.bucket, Key="open/a")[:2] == (403, "AccessDenied")
    s3 = world.with_role("s3", allow("s3:*"), deny("s3:Get*", Condition=odd))
    assert refusal(s3.get_object, Bucket=world.bucket, Key="open/a")[:2] == (403, "AccessDenied")
    s3.list_objects_v2(Bucket=world.bucket)
    text = policy({"Effect": "Allow", "Action": "*", "Resource": "*", "Principal": "*"})
    name = world.role().rsplit("/", 1)[1]
    assert refusal(world.iam.put_role_policy, RoleName=name, PolicyName="p", PolicyDocument=text)[:2] == (400, "MalformedPolicyDocument")


def test_managed_policies(world):
    role = world.role()
    world.iam.attach_role_policy(RoleName=role.rsplit("/", 1)[1], PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    s3 = world.client("s3", world.run(role).role_keys())
    assert s3.get_object(Bucket=world.bucket, Key="open/a")["Body"].read() == b"a"
    assert refusal(s3.put_object, Bucket=world.bucket, Key="x", Body=b"")[:2] == (403, "AccessDenied")


def test_a_changed_policy_holds_at_once(world):
    role = world.role(allow("s3:*"))
    s3 = world.client("s3", world.run(role).role_keys())
    s3.get_object(Bucket=world.bucket, Key="open/a")
    world.iam.delete_role_policy(RoleName=role.rsplit("/", 1)[1], PolicyName="p")
    assert refusal(s3.get_object, Bucket=world.bucket, Key="open/a")[:2] == (403, "AccessDenied")


def test_keys_end_with_their_microvm(world):
    door = world.run(world.role(allow("*")))
    keys = door.role_keys()
    s3, sts = world.client("s3", keys), world.client("sts", keys)
    url = s3.generate_presigned_url("get_object", Params={"Bucket": world.bucket, "Key": "open/a"})
    assert urllib.request.urlopen(url).read() == b"a"
    world.terminate(door)
    assert refusal(s3.get_object, Bucket=world.bucket, Key="open/a")[1] == "ExpiredToken"
    assert refusal(sts.get_caller_identity)[1] == "ExpiredToken"
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(url)


def test_halves_of_keys_are_worth_nothing(world):
    one, other = (world.run(world.role(allow("*"))).role_keys() for _ in range(2))
    mixed = [
        {**one, "Token": other["Token"]},
        {**one, "SecretAccessKey": other["SecretAccessKey"]},
        {**one, "AccessKeyId": other["AccessKeyId"]},
        {**one, "Token": one["Token"][:-2] + "AA"},
        {**one, "AccessKeyId": world.server.keys[0]["id"], "SecretAccessKey": world.server.keys[0]["secret"]},
    ]
    for keys in mixed:
        for attempt in (lambda: world.client("s3", keys).list_buckets(), lambda: world.client("sts", keys).get_caller_identity()):
            assert refusal(attempt)[0] == 403
    # Without its token the key does not exist.
    plain = account_credentials(world.server)
    plain.access_key, plain.secret_key = one["AccessKeyId"], one["SecretAccessKey"]
    door = world.run()
    assert door.signed(plain, "s3", "GET", "/")[0] == 403
    assert door.identity(plain)[0] == 403


def test_presigned_by_a_role(world):
    s3 = world.with_role("s3", allow("s3:GetObject", f"arn:aws:s3:::{world.bucket}/open/*"))
    sign = lambda key: s3.generate_presigned_url("get_object", Params={"Bucket": world.bucket, "Key": key})
    assert urllib.request.urlopen(sign("open/a")).read() == b"a"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(sign("closed/b"))


def test_the_door_of_a_guest(world):
    door = world.run(world.role(allow("*")))
    role, account = as_credentials(door.role_keys()), account_credentials(world.server)
    for keys in (role, account):
        path = f"/{world.bucket}/open/door"
        assert door.signed(keys, "s3", "PUT", path, b"through the door")[0] == 200
        assert door.signed(keys, "s3", "GET", path) == (200, b"through the door")
        assert door.signed(keys, "s3", "DELETE", path)[0] == 204
        assert door.logs(keys, "DescribeLogGroups")[0] == 200
        assert door.identity(keys)[0] == 200
        # Nothing that administers.
        assert door.signed(keys, "s3", "PUT", "/new-bucket")[0] == 403
        assert door.signed(keys, "s3", "DELETE", f"/{world.bucket}")[0] == 403
        assert door.logs(keys, "DeleteLogGroup", logGroupName="/x")[0] == 403
        assert door.signed(keys, "lambda", "GET", "/2025-09-09/microvms")[0] == 403
        assert door.signed(keys, "lambda", "GET", "/hearth/v1/accounts")[0] == 403
        assert door.signed(keys, "iam", "POST", "/", b"Action=ListRoles&Version=2010-05-08")[0] == 403
    assert door.request("aws", "GET", "/metrics")[0] == 403
    assert door.request("aws", "GET", f"/{world.bucket}/open/a")[0] == 403


def test_the_door_leads_to_no_other_account(world):
    """A key of the attacker's own account would otherwise carry data out of a microVM without a network."""
    door, foreign = world.run(), account_credentials(world.server, key=1)
    assert door.signed(foreign, "s3", "GET", "/")[0] == 403
    assert door.logs(foreign, "DescribeLogGroups")[0] == 403
    assert door.identity(foreign)[0] == 403
    # The same key through the listener.
    world.server.client("s3", key=1).list_buckets()


def test_the_door_has_a_rate(tmp_path):
    server = Server(tmp_path, "--throttle")
    try:
        door = Door(server, "microvm-00000000-0000-3000-8000-000000000000")
        ask = lambda: door.metadata("GET", "/latest")[0]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            statuses = list(pool.map(lambda _: ask(), range(1500)))
        assert 503 in statuses and 401 in statuses
        time.sleep(1)
        assert ask() == 401
    finally:
        server.stop()
