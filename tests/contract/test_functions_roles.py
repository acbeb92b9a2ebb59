"""What policies of a role allow with functions: the action is held against the function's ARN."""

import json
import uuid

import boto3
import pytest
from botocore.config import Config

from .checked import refusal
from .functions import ACCOUNT, ARN, Deployer, code, new_name

TRUST_ACCOUNT = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}]}


@pytest.fixture
def deployer(functions, server):
    return Deployer(functions, server)


def with_policy(server, *statements):
    """A client of a role with these statements."""
    iam, name = server.client("iam"), f"caller-{uuid.uuid4().hex[:8]}"
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST_ACCOUNT))["Role"]["Arn"]
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource} for action, resource in statements]}
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(document))
    keys = server.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    return boto3.client(
        "lambda",
        endpoint_url=server.url,
        region_name=server.region,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
        config=Config(retries={"max_attempts": 1}),
    )


def test_an_action_on_a_function_is_allowed_on_its_arn(deployer, server):
    name, other = deployer.name(), deployer.name()
    client = with_policy(server, ("lambda:GetFunction", f"{ARN}:function:{name}"))
    assert client.get_function(FunctionName=name)["Configuration"]["FunctionName"] == name
    assert client.get_function(FunctionName=f"{ARN}:function:{name}")["Configuration"]["FunctionName"] == name
    for call, parameters in [
        (client.get_function, {"FunctionName": other}),
        (client.get_function, {"FunctionName": name, "Qualifier": "$LATEST"}),
        (client.delete_function, {"FunctionName": name}),
        (client.list_functions, {}),
    ]:
        assert refusal(call, **parameters)[:2] == (403, "AccessDeniedException")


def test_roles_layers_and_objects_that_a_function_uses_have_to_be_allowed(deployer, server):
    name, anything = new_name(), f"{ARN}:function:*"
    request = {"FunctionName": name, "Runtime": "python3.13", "Handler": "index.handler", "Role": deployer.role, "Code": {"ZipFile": code()}}
    alone = with_policy(server, ("lambda:CreateFunction", anything))
    assert refusal(alone.create_function, **request)[:2] == (403, "AccessDeniedException")
    passing = with_policy(server, ("lambda:CreateFunction", anything), ("iam:PassRole", deployer.role))
    assert passing.create_function(**request)["FunctionName"] == name
    layered = {**request, "FunctionName": new_name(), "Layers": [f"{ARN}:layer:l:1"]}
    error = refusal(passing.create_function, **layered)
    assert error[0] == 403 and "lambda:GetLayerVersion" in error[2]
    from_s3 = {**request, "FunctionName": new_name(), "Code": {"S3Bucket": "bucket", "S3Key": "key"}}
    error = refusal(passing.create_function, **from_s3)
    assert error[0] == 403 and "s3:GetObject" in error[2]
