"""`AssumeRole`: who may take which role, for how long, and what the session may do; and managed policies in force."""

import datetime
import json
import urllib.request
import uuid

import boto3
import pytest
from botocore.config import Config
from botocore.credentials import Credentials

from .checked import refusal
from .guest import as_credentials
from .test_roles import World, allow, deny, policy

LAMBDA = {"Service": "lambda.amazonaws.com"}


def trusting(principal, effect="Allow", **more):
    return {"Effect": effect, "Principal": principal, "Action": "sts:AssumeRole", **more}


class Roles(World):
    def __init__(self, server):
        super().__init__(server)
        self.root = {"AWS": server.account}
        self.sts = server.client("sts")

    def trusted_by(self, *trust, statements=(), **more):
        name = f"role-{uuid.uuid4().hex[:8]}"
        document = json.dumps({"Statement": [one if "Effect" in one else trusting(one) for one in trust]})
        arn = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document, **more)["Role"]["Arn"]
        if statements:
            self.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(*statements))
        return arn

    def assume(self, role, sts=None, **more):
        found = (sts or self.sts).assume_role(RoleArn=role, RoleSessionName="tests", **more)["Credentials"]
        return {**found, "Token": found["SessionToken"]}

    def as_(self, role, service, sts=None, **more):
        return self.client(service, self.assume(role, sts, **more))

    def guest(self, *statements):
        """STS with the keys of a microVM, and the ARN of its role."""
        arn = self.role(*statements)
        return self.client("sts", self.run(arn).role_keys()), arn


@pytest.fixture(scope="module")
def roles(server):
    return Roles(server)


DENIED = (403, "AccessDenied")


def denied(roles, role, sts=None, **more):
    status, code, text = refusal(lambda: roles.assume(role, sts, **more))
    assert f"is not authorized to perform: sts:AssumeRole on resource: {role}" in text
    return status, code


def test_a_session_has_the_rights_of_its_role_in_all_services(roles):
    bucket, group = f"arn:aws:s3:::{roles.bucket}/open/*", f"/assumed/{uuid.uuid4().hex[:8]}"
    role = roles.trusted_by(roles.root, statements=(allow("s3:GetObject", bucket), allow(["logs:CreateLogGroup", "logs:DescribeLogGroups"]), allow("lambda:GetMicrovmImage")))
    answer = roles.sts.assume_role(RoleArn=role, RoleSessionName="a-name@x")
    name = role.rsplit("/", 1)[1]
    user, keys = answer["AssumedRoleUser"], answer["Credentials"]
    assert user["Arn"] == f"arn:aws:sts::{roles.server.account}:assumed-role/{name}/a-name@x"
    assert user["AssumedRoleId"] == roles.iam.get_role(RoleName=name)["Role"]["RoleId"] + ":a-name@x"
    left = keys["Expiration"] - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(minutes=59) < left <= datetime.timedelta(minutes=60)
    assert (keys["AccessKeyId"][:4], len(keys["AccessKeyId"]), len(keys["SecretAccessKey"])) == ("ASIA", 20, 40)
    keys["Token"] = keys["SessionToken"]
    identity = roles.client("sts", keys).get_caller_identity()
    assert (identity["Arn"], identity["UserId"], identity["Account"]) == (user["Arn"], user["AssumedRoleId"], roles.server.account)
    s3 = roles.client("s3", keys)
    assert s3.get_object(Bucket=roles.bucket, Key="open/a")["Body"].read() == b"a"
    assert refusal(s3.get_object, Bucket=roles.bucket, Key="closed/b")[:2] == DENIED
    url = s3.generate_presigned_url("get_object", Params={"Bucket": roles.bucket, "Key": "open/a"})
    assert urllib.request.urlopen(url).read() == b"a"
    logs = roles.client("logs", keys)
    logs.create_log_group(logGroupName=group)
    assert refusal(logs.delete_log_group, logGroupName=group)[:2] == (403, "AccessDeniedException")
    microvms = roles.client("lambda-microvms", keys)
    assert microvms.get_microvm_image(imageIdentifier=roles.image)["imageArn"] == roles.image
    assert refusal(microvms.list_microvm_images)[:2] == (403, "AccessDeniedException")
    # As for execution roles.
    assert refusal(roles.client("iam", keys).list_roles)[:2] == (403, "AccessDeniedException")


def test_the_trust_policy_decides(roles):
    account = roles.server.account
    for principal in (roles.root, {"AWS": f"arn:aws:iam::{account}:root"}, {"AWS": "*"}, "*"):
        roles.assume(roles.trusted_by(principal))
    for principal in (LAMBDA, {"AWS": "111111111111"}, {"AWS": f"arn:aws:iam::{account}:user/alice"}, {"Federated": "accounts.google.com"}):
        assert denied(roles, roles.trusted_by(principal)) == DENIED, principal
    assert denied(roles, roles.trusted_by({"AWS": "*"}, trusting(roles.root, "Deny"))) == DENIED
    assert denied(roles, f"arn:aws:iam::{account}:role/none") == DENIED
    assert denied(roles, roles.trusted_by(roles.root).replace(":role/", ":role/other/")) == DENIED
    assert denied(roles, roles.trusted_by(roles.root).replace(account, "111111111111")) == DENIED
    # A role of another account, as that account sees it.
    foreign = roles.server.client("sts", key=1)
    assert denied(roles, roles.trusted_by({"AWS": "111111111111"}), foreign) == DENIED


def test_conditions_of_trust(roles):
    wanting = lambda operator, key, value: roles.trusted_by(trusting(roles.root, Condition={operator: {key: value}}))
    role = wanting("StringEquals", "sts:ExternalId", "a/secret:of+us")
    roles.assume(role, ExternalId="a/secret:of+us")
    assert denied(roles, role) == denied(roles, role, ExternalId="another") == DENIED
    named = wanting("StringLike", "sts:RoleSessionName", "test*")
    roles.assume(named)
    assert denied(roles, wanting("StringEquals", "sts:RoleSessionName", "other")) == DENIED
    roles.assume(wanting("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:root"))
    roles.assume(wanting("StringEquals", "aws:PrincipalAccount", roles.server.account))
    # What is not understood closes.
    assert denied(roles, wanting("Bool", "aws:MultiFactorAuthPresent", "true")) == DENIED
    assert denied(roles, wanting("StringEquals", "aws:SourceAccount", roles.server.account)) == DENIED


def test_a_guest_takes_a_role_of_its_account(roles):
    target = roles.trusted_by(roles.root, statements=(allow("s3:GetObject"),))
    sts, _ = roles.guest(allow("s3:PutObject"))
    # The account is trusted, so the guest's role must allow it.
    assert denied(roles, target, sts) == DENIED
    sts, own = roles.guest(allow("sts:AssumeRole", target), allow("s3:PutObject"))
    s3 = roles.as_(target, "s3", sts)
    assert s3.get_object(Bucket=roles.bucket, Key="open/a")["Body"].read() == b"a"
    # The session has the rights of the role that it took, and no others.
    assert refusal(s3.put_object, Bucket=roles.bucket, Key="open/x", Body=b"")[:2] == DENIED
    assert denied(roles, roles.trusted_by(roles.root), sts) == DENIED
    # A role that is named needs no policy of its own, unless one denies.
    sts, own = roles.guest()
    roles.assume(roles.trusted_by({"AWS": own}), sts)
    sts, own = roles.guest(deny("sts:*"))
    assert denied(roles, roles.trusted_by({"AWS": own}), sts) == DENIED
    assert denied(roles, roles.trusted_by({"AWS": own})) == DENIED


def test_through_the_door_of_a_guest(roles):
    target = roles.trusted_by(roles.root, statements=(allow("s3:GetObject"),))
    door = roles.run(roles.role(allow("sts:AssumeRole")))
    ask = lambda role, keys: door.signed(
        keys, "sts", "POST", "/", f"Action=AssumeRole&Version=2011-06-15&RoleArn={role}&RoleSessionName=door".encode(),
        {"Content-Type": "application/x-www-form-urlencoded"},
    )
    status, body = ask(target, as_credentials(door.role_keys()))
    assert status == 200, body
    take = lambda name: body.decode().split(f"<{name}>")[1].split(f"</{name}>")[0]
    keys = Credentials(take("AccessKeyId"), take("SecretAccessKey"), take("SessionToken"))
    assert door.signed(keys, "s3", "GET", f"/{roles.bucket}/open/a") == (200, b"a")
    assert door.signed(keys, "iam", "POST", "/", b"Action=ListRoles&Version=2010-05-08")[0] == 403
    # What began in a microVM ends with it.
    elsewhere = roles.client("s3", {"AccessKeyId": keys.access_key, "SecretAccessKey": keys.secret_key, "Token": keys.token})
    assert elsewhere.get_object(Bucket=roles.bucket, Key="open/a")["Body"].read() == b"a"
    chained = roles.assume(roles.trusted_by({"AWS": target}), roles.client("sts", {"AccessKeyId": keys.access_key, "SecretAccessKey": keys.secret_key, "Token": keys.token}))
    roles.client("sts", chained).get_caller_identity()
    roles.terminate(door)
    assert refusal(elsewhere.get_object, Bucket=roles.bucket, Key="open/a")[1] == "ExpiredToken"
    assert refusal(roles.client("sts", chained).get_caller_identity)[1] == "ExpiredToken"


def test_durations(roles):
    role = roles.trusted_by(roles.root, MaxSessionDuration=7200)
    seconds = lambda **more: (roles.assume(role, **more)["Expiration"] - datetime.datetime.now(datetime.UTC)).total_seconds()
    for asked in (900, 7200):
        assert asked - 60 < seconds(DurationSeconds=asked) <= asked
    longer = refusal(lambda: roles.assume(role, DurationSeconds=7201))
    assert longer == (400, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    chained = roles.as_(roles.trusted_by(roles.root, statements=(allow("sts:AssumeRole"),)), "sts")
    roles.assume(role, chained, DurationSeconds=3600)
    longer = refusal(lambda: roles.assume(role, chained, DurationSeconds=3601))
    assert longer == (400, "ValidationError", "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
    sts = roles.server.client("sts", parameter_validation=False)
    for wrong, rule in ((899, "greater than or equal to 900"), (43201, "less than or equal to 43200")):
        text = refusal(sts.assume_role, RoleArn=role, RoleSessionName="ab", DurationSeconds=wrong)[2]
        assert f"'durationSeconds' failed to satisfy constraint: Member must have value {rule}" in text


def test_a_session_policy_limits(roles):
    role = roles.trusted_by(roles.root, statements=(allow("s3:*"),))
    limited = roles.as_(role, "s3", Policy=policy(allow(["s3:GetObject", "logs:*"], f"arn:aws:s3:::{roles.bucket}/open/*")))
    assert limited.get_object(Bucket=roles.bucket, Key="open/a")["Body"].read() == b"a"
    with pytest.raises(Exception, match="because no session policy allows the s3:GetObject action"):
        limited.get_object(Bucket=roles.bucket, Key="closed/b")
    assert refusal(limited.put_object, Bucket=roles.bucket, Key="open/x", Body=b"")[:2] == DENIED
    with pytest.raises(Exception, match="with an explicit deny in a session policy"):
        roles.as_(role, "s3", Policy=policy(allow("*"), deny("s3:GetObject"))).get_object(Bucket=roles.bucket, Key="open/a")
    # It gives nothing that the role has not, and it limits what the session may take on.
    assert refusal(roles.as_(role, "logs", Policy=policy(allow("*"))).describe_log_groups)[:2] == (403, "AccessDeniedException")
    target = roles.trusted_by({"AWS": role})
    roles.assume(target, roles.as_(role, "sts"))
    assert denied(roles, target, roles.as_(role, "sts", Policy=policy(allow("s3:*")))) == DENIED
    for broken in ("{", json.dumps({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}})):
        assert refusal(lambda: roles.assume(role, Policy=broken))[:2] == (400, "MalformedPolicyDocument")
    roles.as_(role, "sts", Policy=policy(allow("s3:*")).ljust(2048)).get_caller_identity()
    status, code, text = refusal(lambda: roles.assume(role, Policy=policy(allow("s3:*")).ljust(2049)))
    assert (status, code) == (400, "PackedPolicyTooLarge") and "100%" in text


def test_what_a_session_cannot_have_is_refused_by_name(roles):
    role = roles.trusted_by(roles.root)
    for member, value in (
        ("PolicyArns", [{"arn": "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"}]),
        ("Tags", [{"Key": "a", "Value": "b"}]),
        ("TransitiveTagKeys", ["a"]),
        ("SourceIdentity", "alice"),
        ("SerialNumber", "arn:aws:iam::000000000000:mfa/alice"),
        ("TokenCode", "123456"),
    ):
        status, code, text = refusal(lambda: roles.assume(role, **{member: value}))
        assert (status, code) == (400, "ValidationError") and member in text
    sts = roles.server.client("sts", parameter_validation=False)
    for wrong in ("nothing-valid-in-here", "arn:aws:iam::000000000000:user/a", "arn:aws:s3:::bucket/role/a"):
        assert refusal(sts.assume_role, RoleArn=wrong, RoleSessionName="ab") == (400, "ValidationError", f"{wrong} is invalid")
    for name, rule in (("Session1:2", r"regular expression pattern: [\w+=,.@-]*"), ("s" * 65, "less than or equal to 64"), ("s", "greater than or equal to 2")):
        text = refusal(sts.assume_role, RoleArn=role, RoleSessionName=name)[2]
        assert text.startswith(f"1 validation error detected: Value '{name}' at 'roleSessionName'") and text.endswith(rule)


def test_halves_of_a_session_are_worth_nothing(roles):
    role = roles.trusted_by(roles.root, statements=(allow("*"),))
    one = roles.assume(role)
    other = roles.assume(roles.trusted_by(roles.root, statements=(allow("*"),)))
    of_a_microvm = roles.run(roles.role(allow("*"))).role_keys()
    for keys in (
        {**one, "Token": other["Token"]},
        {**one, "SecretAccessKey": other["SecretAccessKey"]},
        {**one, "AccessKeyId": other["AccessKeyId"]},
        {**one, "Token": of_a_microvm["Token"]},
        {**of_a_microvm, "Token": one["Token"]},
        {**one, "Token": one["Token"][:-4] + "AAAA"},
    ):
        for attempt in (lambda: roles.client("s3", keys).list_buckets(), lambda: roles.client("sts", keys).get_caller_identity()):
            assert refusal(attempt)[0] == 403


def test_what_ends_a_session(roles):
    role = roles.trusted_by(roles.root, statements=(allow("s3:*"),))
    name = role.rsplit("/", 1)[1]
    s3 = roles.as_(role, "s3")
    # A session outlives the trust that began it, as on AWS.
    roles.iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps({"Statement": [trusting(LAMBDA)]}))
    assert denied(roles, role) == DENIED
    s3.get_object(Bucket=roles.bucket, Key="open/a")
    # Its policies are those of now.
    roles.iam.delete_role_policy(RoleName=name, PolicyName="p")
    assert refusal(s3.get_object, Bucket=roles.bucket, Key="open/a")[:2] == DENIED
    # A role that is made again under the same name is another role.
    roles.iam.delete_role(RoleName=name)
    assert refusal(s3.list_buckets)[0] == 403
    roles.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trusting(roles.root)]}))
    roles.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(allow("*")))
    assert refusal(s3.list_buckets)[:2] == (403, "InvalidAccessKeyId")


def managed(roles, *statements):
    document = policy(*statements)
    return roles.iam.create_policy(PolicyName=f"policy-{uuid.uuid4().hex[:8]}", PolicyDocument=document)["Policy"]["Arn"]


def test_managed_policies_are_in_force_in_their_default_version(roles):
    role = roles.role()
    name = role.rsplit("/", 1)[1]
    s3 = roles.client("s3", roles.run(role).role_keys())
    get = lambda: s3.get_object(Bucket=roles.bucket, Key="open/a")["Body"].read()
    assert refusal(get)[:2] == DENIED
    arn = managed(roles, allow("s3:GetObject"))
    roles.iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    assert get() == b"a"
    # A version counts once it is the default.
    roles.iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy(allow("s3:PutObject")))
    assert get() == b"a"
    roles.iam.set_default_policy_version(PolicyArn=arn, VersionId="v2")
    assert refusal(get)[:2] == DENIED
    s3.put_object(Bucket=roles.bucket, Key="open/managed", Body=b"")
    roles.iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    assert get() == b"a"
    # A denial in one wins over what another allows.
    closed = managed(roles, deny("s3:GetObject", f"arn:aws:s3:::{roles.bucket}/open/*"))
    roles.iam.attach_role_policy(RoleName=name, PolicyArn=closed)
    with pytest.raises(Exception, match="with an explicit deny in an identity-based policy"):
        get()
    roles.iam.detach_role_policy(RoleName=name, PolicyArn=closed)
    roles.iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    assert refusal(get)[:2] == DENIED


def test_a_managed_policy_of_the_build_role_and_of_a_session(roles):
    arn = managed(roles, allow("s3:GetObject"))
    role = roles.trusted_by(roles.root, LAMBDA)
    roles.iam.attach_role_policy(RoleName=role.rsplit("/", 1)[1], PolicyArn=arn)
    assert roles.as_(role, "s3").get_object(Bucket=roles.bucket, Key="open/a")["Body"].read() == b"a"
    image = roles.microvms.create_microvm_image(
        name=f"managed-{uuid.uuid4().hex[:8]}", baseImageArn="arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1",
        buildRoleArn=role, codeArtifact={"uri": f"s3://{roles.bucket}/code.zip"},
    )["imageArn"]
    roles.wait(lambda: roles.microvms.get_microvm_image(imageIdentifier=image)["state"], "CREATED")


def test_keys_of_a_profile_with_a_role(roles, tmp_path, monkeypatch):
    """As tools do it: `role_arn` and `source_profile` in AWS's configuration file."""
    role = roles.trusted_by(roles.root, statements=(allow("s3:GetObject"),))
    key = roles.server.keys[0]
    (tmp_path / "config").write_text(
        f"[profile base]\naws_access_key_id = {key['id']}\naws_secret_access_key = {key['secret']}\n"
        f"[profile app]\nrole_arn = {role}\nsource_profile = base\nexternal_id = unasked\nrole_session_name = from-a-profile\n"
    )
    for name, value in (("AWS_CONFIG_FILE", str(tmp_path / "config")), ("AWS_ENDPOINT_URL", roles.server.url), ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")):
        monkeypatch.setenv(name, value)
    session = boto3.Session(profile_name="app", region_name=roles.server.region)
    assert session.client("sts").get_caller_identity()["Arn"].endswith("/from-a-profile")
    s3 = session.client("s3", config=Config(s3={"addressing_style": "path"}))
    assert s3.get_object(Bucket=roles.bucket, Key="open/a")["Body"].read() == b"a"
