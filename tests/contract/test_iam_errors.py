"""Errors of IAM in AWS's words, as recorded (localstack/localstack, tests/aws/services/iam, validated against AWS)."""

import json
import uuid

import pytest

from .checked import refusal

TRUST = json.dumps({"Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]})
POLICY = json.dumps({"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]})


@pytest.fixture
def iam(server):
    return server.client("iam", parameter_validation=False)


@pytest.fixture
def role(iam):
    name = f"role-{uuid.uuid4().hex[:8]}"
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    return name


@pytest.fixture
def policy(iam):
    return iam.create_policy(PolicyName=f"policy-{uuid.uuid4().hex[:8]}", PolicyDocument=POLICY)["Policy"]["Arn"]


def tags(*keys):
    return [{"Key": key, "Value": "v"} for key in keys]


def test_what_is_not_there(server, iam, role, policy):
    missing = (404, "NoSuchEntity", "The role with name none cannot be found.")
    for call, more in (
        (iam.get_role, {}),
        (iam.delete_role, {}),
        (iam.update_role, {"Description": "d"}),
        (iam.update_role_description, {"Description": "d"}),
        (iam.update_assume_role_policy, {"PolicyDocument": TRUST}),
        (iam.tag_role, {"Tags": tags("a")}),
        (iam.untag_role, {"TagKeys": ["a"]}),
        (iam.list_role_tags, {}),
        (iam.list_instance_profiles_for_role, {}),
        (iam.list_role_policies, {}),
        (iam.list_attached_role_policies, {}),
        (iam.attach_role_policy, {"PolicyArn": policy}),
        (iam.put_role_policy, {"PolicyName": "p", "PolicyDocument": POLICY}),
    ):
        assert refusal(call, RoleName="none", **more) == missing, call
    assert refusal(iam.get_role_policy, RoleName=role, PolicyName="p") == (404, "NoSuchEntity", "The role policy with name p cannot be found.")
    none = f"arn:aws:iam::{server.account}:policy/none"
    for call, more in (
        (iam.get_policy, {}),
        (iam.delete_policy, {}),
        (iam.tag_policy, {"Tags": tags("a")}),
        (iam.untag_policy, {"TagKeys": ["a"]}),
        (iam.list_policy_tags, {}),
        (iam.list_policy_versions, {}),
        (iam.list_entities_for_policy, {}),
        (iam.create_policy_version, {"PolicyDocument": POLICY}),
        (iam.detach_role_policy, {"RoleName": role}),
    ):
        assert refusal(call, PolicyArn=none, **more) == (404, "NoSuchEntity", f"Policy {none} was not found."), call
    # Another path is another policy, and so is another account's.
    for other in (policy.replace(":policy/", ":policy/a/"), policy.replace(server.account, "111111111111"), "arn:aws:iam::aws:policy/AdministratorAccess"):
        assert refusal(iam.get_policy, PolicyArn=other) == (404, "NoSuchEntity", f"Policy {other} was not found.")
    for arn, version in ((none, "v1"), (policy, "v9"), (policy, "v2.x")):
        text = f"Policy {arn} version {version} does not exist or is not attachable."
        for call in (iam.get_policy_version, iam.set_default_policy_version, iam.delete_policy_version):
            assert refusal(call, PolicyArn=arn, VersionId=version) == (404, "NoSuchEntity", text), call
    for arn in (none, policy.replace(server.account, "111111111111")):
        text = f"Policy {arn} does not exist or is not attachable."
        assert refusal(iam.attach_role_policy, RoleName=role, PolicyArn=arn) == (404, "NoSuchEntity", text)
    assert refusal(iam.detach_role_policy, RoleName=role, PolicyArn=policy) == (404, "NoSuchEntity", f"Policy {policy} was not found.")


def test_what_is_there_already(iam, role, policy):
    name = policy.rsplit("/", 1)[1]
    again = refusal(iam.create_role, RoleName=role, AssumeRolePolicyDocument=TRUST)
    assert again == (409, "EntityAlreadyExists", f"Role with name {role} already exists.")
    for path in ("/", "/another/"):
        again = refusal(iam.create_policy, PolicyName=name, Path=path, PolicyDocument=POLICY)
        assert again == (409, "EntityAlreadyExists", f"A policy called {name} already exists. Duplicate names are not allowed.")


def test_what_cannot_be_deleted(iam, role, policy):
    iam.attach_role_policy(RoleName=role, PolicyArn=policy)
    iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=POLICY)
    conflict = lambda call, **named: refusal(call, **named)[:3]
    assert conflict(iam.delete_policy, PolicyArn=policy) == (409, "DeleteConflict", "Cannot delete a policy attached to entities.")
    assert conflict(iam.delete_role, RoleName=role) == (409, "DeleteConflict", "Cannot delete entity, must detach all policies first.")
    iam.detach_role_policy(RoleName=role, PolicyArn=policy)
    assert conflict(iam.delete_role, RoleName=role) == (409, "DeleteConflict", "Cannot delete entity, must delete policies first.")
    default = conflict(iam.delete_policy_version, PolicyArn=policy, VersionId="v1")
    assert default == (409, "DeleteConflict", "Cannot delete the default version of a policy.")
    iam.create_policy_version(PolicyArn=policy, PolicyDocument=POLICY)
    assert conflict(iam.delete_policy, PolicyArn=policy) == (
        409,
        "DeleteConflict",
        "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. "
        "The default version is deleted with the policy.",
    )


def test_documents_that_are_none(iam, role, policy):
    malformed = lambda call, **named: refusal(call, **named)[:3]
    code = (400, "MalformedPolicyDocument")
    for call in (iam.update_assume_role_policy, lambda **named: iam.create_role(AssumeRolePolicyDocument=named.pop("PolicyDocument"), **named)):
        named = {"RoleName": role if call == iam.update_assume_role_policy else "never"}
        assert malformed(call, **named, PolicyDocument="{") == (*code, "This policy contains invalid Json")
        with_resource = TRUST.replace('"Action"', '"Resource": "*", "Action"')
        assert malformed(call, **named, PolicyDocument=with_resource) == (*code, "Has prohibited field Resource")
    for call, named in (
        (iam.put_role_policy, {"RoleName": role, "PolicyName": "p"}),
        (iam.create_policy, {"PolicyName": "never"}),
        (iam.create_policy_version, {"PolicyArn": policy}),
    ):
        for document in ("{", "[]", TRUST, '{"Statement": {"Effect": "Maybe", "Action": "*", "Resource": "*"}}'):
            status, error, text = malformed(call, **named, PolicyDocument=document)
            assert (status, error) == code and text.startswith("Syntax errors in policy"), document
    assert iam.list_policy_versions(PolicyArn=policy)["Versions"][0]["VersionId"] == "v1"


def long_policy(characters):
    """A policy of so many characters as IAM counts them: without blanks."""
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": ""}
    text = json.dumps({"Statement": [statement]})
    counted = len("".join(text.split()))
    statement["Resource"] = "a" * (characters - counted)
    return json.dumps({"Statement": [statement]}, indent=4)


def test_limits(iam, role, policy):
    beyond = lambda call, **named: refusal(call, **named)[:3]
    limit = (409, "LimitExceeded")
    iam.create_policy_version(PolicyArn=policy, PolicyDocument=long_policy(6144))
    size = (*limit, "Cannot exceed quota for PolicySize: 6144")
    assert beyond(iam.create_policy_version, PolicyArn=policy, PolicyDocument=long_policy(6145)) == size
    assert beyond(iam.create_policy, PolicyName="never", PolicyDocument=long_policy(6145)) == size
    iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=long_policy(10240))
    full = (*limit, f"Maximum policy size of 10240 bytes exceeded for role {role}")
    assert beyond(iam.put_role_policy, RoleName=role, PolicyName="q", PolicyDocument=POLICY) == full
    for _ in range(3):
        iam.create_policy_version(PolicyArn=policy, PolicyDocument=POLICY)
    versions = "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version."
    assert beyond(iam.create_policy_version, PolicyArn=policy, PolicyDocument=POLICY) == (*limit, versions)
    for at in range(9):
        iam.attach_role_policy(RoleName=role, PolicyArn=f"arn:aws:iam::aws:policy/P{at}")
    iam.attach_role_policy(RoleName=role, PolicyArn=policy)
    attached = (*limit, "Cannot exceed quota for PoliciesPerRole: 10")
    assert beyond(iam.attach_role_policy, RoleName=role, PolicyArn="arn:aws:iam::aws:policy/P9") == attached
    # One that is attached already is attached.
    iam.attach_role_policy(RoleName=role, PolicyArn=policy)


def test_tags(iam, role, policy):
    wrong = lambda call, **named: refusal(call, **named)[:3]
    resources = ((iam.tag_role, {"RoleName": role}), (iam.tag_policy, {"PolicyArn": policy}))
    constraint = lambda place, rule: (400, "ValidationError", f"1 validation error detected: Value at '{place}' failed to satisfy constraint: Member must {rule}")
    many = [{"Key": f"k{at}", "Value": ""} for at in range(51)]
    for call, named in (*resources, (iam.create_role, {"RoleName": "never", "AssumeRolePolicyDocument": TRUST})):
        assert wrong(call, **named, Tags=many) == constraint("tags", "have length less than or equal to 50")
        assert wrong(call, **named, Tags=tags("k" * 129)) == constraint("tags.1.member.key", "have length less than or equal to 128")
        value = [{"Key": "k", "Value": "v" * 257}]
        assert wrong(call, **named, Tags=value) == constraint("tags.1.member.value", "have length less than or equal to 256")
        pattern = r"satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+"
        assert wrong(call, **named, Tags=tags("a&b")) == constraint("tags.1.member.key", pattern)
        assert wrong(call, **named, Tags=tags("aws:x"))[:2] == (400, "InvalidInput")
    text = "Duplicate tag keys found. Please note that Tag keys are case insensitive."
    for keys in (("a", "a"), ("a", "A")):
        assert wrong(iam.tag_role, RoleName=role, Tags=tags(*keys)) == (400, "InvalidInput", text)
    assert wrong(iam.tag_policy, PolicyArn=policy, Tags=tags("a", "a")) == (400, "InvalidInput", "Duplicate tag keys found.")
    listed = {"RoleName": lambda: iam.list_role_tags(RoleName=role)["Tags"], "PolicyArn": lambda: iam.list_policy_tags(PolicyArn=policy)["Tags"]}
    for call, named in resources:
        [(kind, _)] = named.items()
        call(**named, Tags=many[:50])
        call(**named, Tags=[{"Key": "k1", "Value": "again"}])
        assert len(listed[kind]()) == 50
        assert wrong(call, **named, Tags=tags("one more"))[:2] == (409, "LimitExceeded")
    iam.untag_role(RoleName=role, TagKeys=["K1", "none"])
    assert len(listed["RoleName"]()) == 49
    # Keys of policies differ by case.
    iam.untag_policy(PolicyArn=policy, TagKeys=["K1"])
    assert len(listed["PolicyArn"]()) == 50


def test_members_that_are_none(iam, role, policy):
    for arn in ("longpolicynamebutnoarn", "arn:aws:s3:::a-bucket-and-no-policy", f"{policy.rsplit('/', 1)[0]}/"):
        for call, named in ((iam.attach_role_policy, {"RoleName": role}), (iam.get_policy, {})):
            assert refusal(call, PolicyArn=arn, **named) == (400, "ValidationError", f"ARN {arn} is not valid.")
    pattern = r"Value at 'versionId' failed to satisfy constraint: Member must satisfy regular expression pattern: v[1-9][0-9]*(\.[A-Za-z0-9-]*)?"
    for version in ("1", "v0", "v2-does-not-exist"):
        text = f"1 validation error detected: {pattern}"
        assert refusal(iam.get_policy_version, PolicyArn=policy, VersionId=version) == (400, "ValidationError", text)
    session = lambda seconds: refusal(iam.update_role, RoleName=role, MaxSessionDuration=seconds)[2]
    assert session(3599).endswith("Member must have value greater than or equal to 3600")
    assert session(43201).endswith("Member must have value less than or equal to 43200")
    for path in ("x", "/x", "x/", "/a b/"):
        assert refusal(iam.create_policy, PolicyName="never", Path=path, PolicyDocument=POLICY)[:2] == (400, "ValidationError")
        assert refusal(iam.create_role, RoleName="never", Path=path, AssumeRolePolicyDocument=TRUST)[:2] == (400, "ValidationError")
    assert refusal(iam.create_policy, PolicyName="a b", PolicyDocument=POLICY)[:2] == (400, "ValidationError")
    assert refusal(iam.list_policies, Scope="Mine")[2].endswith("Member must satisfy enum value set: [All, AWS, Local]")


def test_what_would_be_ignored_is_refused(iam, policy):
    boundary = refusal(iam.create_role, RoleName="never", AssumeRolePolicyDocument=TRUST, PermissionsBoundary=policy)
    assert boundary[:2] == (400, "ValidationError") and "PermissionsBoundary" in boundary[2]
    assert "PolicyUsageFilter" in refusal(iam.list_policies, PolicyUsageFilter="PermissionsBoundary")[2]
    assert refusal(iam.put_role_permissions_boundary, RoleName="r", PermissionsBoundary=policy)[:2] == (400, "InvalidAction")


def test_another_account_sees_nothing(server, iam, role, policy):
    other = server.client("iam", key=1)
    assert refusal(other.get_role, RoleName=role)[:2] == (404, "NoSuchEntity")
    for call in (other.get_policy, other.delete_policy, other.list_entities_for_policy, other.list_policy_versions):
        assert refusal(call, PolicyArn=policy)[:2] == (404, "NoSuchEntity"), call
    assert refusal(other.set_default_policy_version, PolicyArn=policy, VersionId="v1")[:2] == (404, "NoSuchEntity")
    assert other.list_policies()["Policies"] == []
    iam.get_policy(PolicyArn=policy)
