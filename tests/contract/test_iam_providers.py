"""IAM in the order in which infrastructure tools call it: create, read, plan without a difference, update, destroy.

Terraform: hashicorp/terraform-provider-aws, internal/service/iam (role.go, role_policy.go, role_policy_attachment.go,
policy.go, and the generated tags). CloudFormation, which CDK deploys by: the calls that `handlers` of the resource schemas
AWS::IAM::Role and AWS::IAM::ManagedPolicy name.
"""

import json
import uuid

import pytest

from .checked import refusal

AWS_POLICY = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"


def name():
    return f"tf-{uuid.uuid4().hex[:8]}"


def trust(service="lambda.amazonaws.com"):
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]}


def policy(action):
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}


def normalized(document):
    return json.dumps(document, separators=(",", ":"), sort_keys=True)


def as_list(tags):
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def as_map(tags):
    return {tag["Key"]: tag["Value"] for tag in tags}


def exists(call, **parameters):
    """The provider's `NotFound`: `NoSuchEntity` removes a resource from the state."""
    try:
        return call(**parameters)
    except call.__self__.exceptions.NoSuchEntityException:
        return None


class Role:
    """aws_iam_role."""

    def __init__(self, iam, config):
        self.iam, self.config = iam, config

    def create(self):
        config = self.config
        self.iam.create_role(
            AssumeRolePolicyDocument=normalized(config["trust"]),
            Path=config["path"],
            RoleName=config["name"],
            Tags=as_list(config["tags"]),
            Description=config["description"],
            MaxSessionDuration=config["session"],
        )
        return self.read()

    def read(self):
        found = exists(self.iam.get_role, RoleName=self.config["name"])
        if found is None:
            return None
        role = found["Role"]
        inline = {
            policy: self.iam.get_role_policy(RoleName=role["RoleName"], PolicyName=policy)["PolicyDocument"]
            for page in self.iam.get_paginator("list_role_policies").paginate(RoleName=role["RoleName"])
            for policy in page["PolicyNames"]
        }
        attached = [
            policy["PolicyArn"]
            for page in self.iam.get_paginator("list_attached_role_policies").paginate(RoleName=role["RoleName"])
            for policy in page["AttachedPolicies"]
        ]
        return {
            "arn": role["Arn"], "id": role["RoleId"], "created": role["CreateDate"], "trust": role["AssumeRolePolicyDocument"],
            "name": role["RoleName"], "path": role["Path"], "description": role.get("Description", ""),
            "session": role["MaxSessionDuration"], "tags": as_map(role.get("Tags", [])), "inline": inline, "attached": attached,
        }

    def update(self, **changes):
        old, self.config = self.config, {**self.config, **changes}
        role = {"RoleName": self.config["name"]}
        if "tags" in changes:
            update_tags(old["tags"], changes["tags"], self.iam.untag_role, self.iam.tag_role, role)
        if "trust" in changes:
            self.iam.update_assume_role_policy(**role, PolicyDocument=normalized(changes["trust"]))
        if "description" in changes:
            self.iam.update_role_description(**role, Description=changes["description"])
        if "session" in changes:
            self.iam.update_role(**role, MaxSessionDuration=changes["session"])
        return self.read()

    def destroy(self, force_detach=False):
        role = {"RoleName": self.config["name"]}
        profiles = self.iam.get_paginator("list_instance_profiles_for_role").paginate(**role)
        assert [profile for page in profiles for profile in page["InstanceProfiles"]] == []
        if force_detach:
            for attached in self.iam.list_attached_role_policies(**role)["AttachedPolicies"]:
                self.iam.detach_role_policy(**role, PolicyArn=attached["PolicyArn"])
            for inline in self.iam.list_role_policies(**role)["PolicyNames"]:
                self.iam.delete_role_policy(**role, PolicyName=inline)
        self.iam.delete_role(**role)


def update_tags(old, new, untag, tag, resource):
    if removed := [key for key in old if key not in new]:
        untag(**resource, TagKeys=removed)
    if updated := {key: value for key, value in new.items() if old.get(key) != value}:
        tag(**resource, Tags=as_list(updated))


class Policy:
    """aws_iam_policy."""

    def __init__(self, iam, config):
        self.iam, self.config, self.arn = iam, config, None

    def create(self):
        config = self.config
        # The provider sends a description that nobody wrote as an empty one.
        made = self.iam.create_policy(
            Description=config["description"], Path=config["path"], PolicyDocument=normalized(config["policy"]),
            PolicyName=config["name"], Tags=as_list(config["tags"]),
        )
        self.arn = made["Policy"]["Arn"]
        return self.read()

    def read(self):
        found = exists(self.iam.get_policy, PolicyArn=self.arn)
        if found is None:
            return None
        policy = found["Policy"]
        version = self.iam.get_policy_version(PolicyArn=self.arn, VersionId=policy["DefaultVersionId"])["PolicyVersion"]
        assert version["IsDefaultVersion"]
        return {
            "arn": policy["Arn"], "id": policy["PolicyId"], "name": policy["PolicyName"], "path": policy["Path"],
            "description": policy.get("Description", ""), "tags": as_map(policy["Tags"]), "policy": version["Document"],
            "attachments": policy["AttachmentCount"],
        }

    def versions(self):
        pages = self.iam.get_paginator("list_policy_versions").paginate(PolicyArn=self.arn)
        return [version for page in pages for version in page["Versions"]]

    def update(self, **changes):
        old, self.config = self.config, {**self.config, **changes}
        if "tags" in changes:
            update_tags(old["tags"], changes["tags"], self.iam.untag_policy, self.iam.tag_policy, {"PolicyArn": self.arn})
        if "policy" in changes:
            versions = self.versions()
            if len(versions) >= 5:
                oldest = min((version for version in versions if not version["IsDefaultVersion"]), key=lambda version: version["CreateDate"])
                self.iam.delete_policy_version(PolicyArn=self.arn, VersionId=oldest["VersionId"])
            made = self.iam.create_policy_version(PolicyArn=self.arn, PolicyDocument=normalized(changes["policy"]), SetAsDefault=False)
            self.iam.set_default_policy_version(PolicyArn=self.arn, VersionId=made["PolicyVersion"]["VersionId"])
        return self.read()

    def destroy(self):
        for version in self.versions():
            if not version["IsDefaultVersion"]:
                self.iam.delete_policy_version(PolicyArn=self.arn, VersionId=version["VersionId"])
        self.iam.delete_policy(PolicyArn=self.arn)


def no_difference(resource, state, keys):
    """Plans: what is read again is what was read, and what the configuration says."""
    assert resource.read() == state
    assert {key: state[key] for key in keys} == {key: resource.config[key] for key in keys}


ROLE = ("trust", "path", "name", "tags", "description", "session")
POLICY = ("policy", "path", "name", "tags", "description")


@pytest.fixture
def iam(server):
    return server.client("iam")


def test_a_role_of_terraform(server, iam):
    role = Role(iam, {"name": name(), "path": "/app/", "trust": trust(), "tags": {"team": "a", "Empty": ""}, "description": "ours", "session": 7200})
    state = role.create()
    assert state["arn"] == f"arn:aws:iam::{server.account}:role/app/{role.config['name']}"
    no_difference(role, state, ROLE)
    updated = role.update(tags={"team": "b", "new": "tag"}, trust=trust("ec2.amazonaws.com"), description="changed", session=3600)
    no_difference(role, updated, ROLE)
    assert (updated["id"], updated["created"]) == (state["id"], state["created"])
    assert as_map(iam.list_role_tags(RoleName=role.config["name"])["Tags"]) == {"team": "b", "new": "tag"}
    # A description that is taken away, and all tags.
    no_difference(role, role.update(tags={}, description=""), ROLE)
    role.destroy()
    assert role.read() is None
    # A state that is destroyed once more.
    assert refusal(iam.list_instance_profiles_for_role, RoleName=role.config["name"])[:2] == (404, "NoSuchEntity")


def test_a_policy_of_terraform_with_more_updates_than_versions(server, iam):
    config = {"name": name(), "path": "/", "policy": policy("s3:GetObject"), "tags": {"a": "1"}, "description": ""}
    resource = Policy(iam, config)
    state = resource.create()
    assert state["arn"] == f"arn:aws:iam::{server.account}:policy/{config['name']}"
    no_difference(resource, state, POLICY)
    for at in range(7):
        no_difference(resource, resource.update(policy=policy(f"s3:Get{at}")), POLICY)
    # Which ones are left depends on times of creation, which are whole seconds.
    versions = [(version["VersionId"], version["IsDefaultVersion"]) for version in resource.versions()]
    assert len(versions) == 5 and versions[0] == ("v8", True) and not any(default for _, default in versions[1:])
    no_difference(resource, resource.update(tags={"b": "2"}), POLICY)
    resource.destroy()
    assert resource.read() is None


def test_role_policies_and_attachments_of_terraform(iam):
    role = Role(iam, {"name": name(), "path": "/", "trust": trust(), "tags": {}, "description": "", "session": 3600})
    policy_ = Policy(iam, {"name": name(), "path": "/", "policy": policy("logs:PutLogEvents"), "tags": {}, "description": "d"})
    role_name = role.create()["name"]
    arn = policy_.create()["arn"]
    # aws_iam_role_policy: put, read until it is there; an update is another put.
    for action in ("s3:GetObject", "s3:PutObject"):
        iam.put_role_policy(RoleName=role_name, PolicyName="data", PolicyDocument=json.dumps(policy(action)))
        for _ in range(2):
            assert iam.get_role_policy(RoleName=role_name, PolicyName="data")["PolicyDocument"] == policy(action)
    # aws_iam_role_policy_attachment: attach, look through the pages.
    for attached in (arn, AWS_POLICY):
        iam.attach_role_policy(RoleName=role_name, PolicyArn=attached)
        assert attached in role.read()["attached"]
    assert policy_.read()["attachments"] == 1
    state = role.read()
    assert sorted(state["attached"]) == sorted([arn, AWS_POLICY]) and list(state["inline"]) == ["data"]
    assert role.read() == state
    # Destroyed from the leaves on; then once more with `force_detach_policies`.
    iam.detach_role_policy(RoleName=role_name, PolicyArn=AWS_POLICY)
    assert refusal(role.destroy)[:2] == (409, "DeleteConflict")
    role.destroy(force_detach=True)
    assert role.read() is None and policy_.read()["attachments"] == 0
    policy_.destroy()


def test_data_sources_of_terraform(iam):
    """`aws_iam_roles` and `aws_iam_policy` go through the pages of lists."""
    path = f"/{uuid.uuid4().hex[:8]}/"
    names = [name() for _ in range(3)]
    for made in names:
        iam.create_role(RoleName=made, Path=path, AssumeRolePolicyDocument=json.dumps(trust()), Tags=as_list({"a": "b"}), Description="d")
        iam.create_policy(PolicyName=made, Path=path, PolicyDocument=json.dumps(policy("s3:*")), Tags=as_list({"a": "b"}), Description="d")
    pages = lambda operation, **more: iam.get_paginator(operation).paginate(PaginationConfig={"PageSize": 2}, **more)
    roles = [role for page in pages("list_roles", PathPrefix=path) for role in page["Roles"]]
    assert [role["RoleName"] for role in roles] == sorted(names)
    # As on AWS, lists have no tags.
    assert all("Tags" not in role and role["Description"] == "d" for role in roles)
    policies = [policy for page in pages("list_policies", PathPrefix=path, Scope="Local") for policy in page["Policies"]]
    assert [policy["PolicyName"] for policy in policies] == sorted(names)
    assert all("Tags" not in policy and "Description" not in policy for policy in policies)
    assert iam.list_policies(Scope="AWS")["Policies"] == []
    for role in names[:2]:
        iam.attach_role_policy(RoleName=role, PolicyArn=policies[0]["Arn"])
    attached = [policy for page in pages("list_policies", PathPrefix=path, OnlyAttached=True) for policy in page["Policies"]]
    assert [(policy["PolicyName"], policy["AttachmentCount"]) for policy in attached] == [(sorted(names)[0], 2)]
    entities = list(pages("list_entities_for_policy", PolicyArn=policies[0]["Arn"]))
    assert [role["RoleName"] for page in entities for role in page["PolicyRoles"]] == sorted(names[:2])
    assert (entities[0]["PolicyGroups"], entities[0]["PolicyUsers"]) == ([], [])
    others = iam.list_entities_for_policy(PolicyArn=policies[0]["Arn"], EntityFilter="User")
    assert others["PolicyRoles"] == []
    within = lambda prefix: iam.list_attached_role_policies(RoleName=names[0], PathPrefix=prefix)["AttachedPolicies"]
    assert (len(within(path)), within("/other/")) == (1, [])


def test_a_stack_of_cloudformation(server, iam):
    """CDK: a role with inline and managed policies, a managed policy for it, an update of both, and the deletion."""
    role_name, policy_name = name(), name()
    role = {"RoleName": role_name}
    # AWS::IAM::Role, create and read.
    made = iam.create_role(**role, AssumeRolePolicyDocument=json.dumps(trust()), Tags=as_list({"aws-cdk": "x", "Team": "y"}), MaxSessionDuration=3600)
    assert as_map(made["Role"]["Tags"]) == {"aws-cdk": "x", "Team": "y"}
    iam.put_role_policy(**role, PolicyName="DefaultPolicy", PolicyDocument=json.dumps(policy("s3:GetObject")))
    iam.attach_role_policy(**role, PolicyArn=AWS_POLICY)
    read = lambda: (
        iam.get_role(**role)["Role"],
        iam.list_attached_role_policies(**role)["AttachedPolicies"],
        {inline: iam.get_role_policy(**role, PolicyName=inline)["PolicyDocument"] for inline in iam.list_role_policies(**role)["PolicyNames"]},
    )
    before = read()
    assert before == read() and before[0]["Arn"] == made["Role"]["Arn"]
    # AWS::IAM::ManagedPolicy with `Roles`.
    arn = iam.create_policy(PolicyName=policy_name, PolicyDocument=json.dumps(policy("logs:*")), Path="/")["Policy"]["Arn"]
    iam.attach_role_policy(**role, PolicyArn=arn)
    # Updates.
    iam.update_role(**role, Description="a stack's", MaxSessionDuration=7200)
    iam.update_assume_role_policy(**role, PolicyDocument=json.dumps(trust("ec2.amazonaws.com")))
    iam.detach_role_policy(**role, PolicyArn=AWS_POLICY)
    iam.put_role_policy(**role, PolicyName="DefaultPolicy", PolicyDocument=json.dumps(policy("s3:*")))
    iam.untag_role(**role, TagKeys=["aws-cdk"])
    iam.tag_role(**role, Tags=as_list({"Team": "z"}))
    made = iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(policy("logs:Put*")), SetAsDefault=True)
    assert (made["PolicyVersion"]["VersionId"], made["PolicyVersion"]["IsDefaultVersion"]) == ("v2", True)
    iam.delete_policy_version(PolicyArn=arn, VersionId="v1")
    found, attached, inline = read()
    assert (found["Description"], found["MaxSessionDuration"], as_map(found["Tags"])) == ("a stack's", 7200, {"Team": "z"})
    assert ([policy["PolicyArn"] for policy in attached], inline) == ([arn], {"DefaultPolicy": policy("s3:*")})
    assert iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"] == "v2"
    # The deletion, in the order of the stack's dependencies.
    iam.detach_role_policy(**role, PolicyArn=arn)
    assert [version["VersionId"] for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]] == ["v2"]
    iam.delete_policy(PolicyArn=arn)
    for inline in iam.list_role_policies(**role)["PolicyNames"]:
        iam.delete_role_policy(**role, PolicyName=inline)
    assert iam.list_attached_role_policies(**role)["AttachedPolicies"] == []
    iam.delete_role(**role)
    assert exists(iam.get_role, **role) is None and exists(iam.get_policy, PolicyArn=arn) is None
