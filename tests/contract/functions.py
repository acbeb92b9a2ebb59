"""Functions for tests: zips, a role, names, and what AWS was recorded to answer."""

import io
import json
import uuid
import zipfile

TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
CODE = "def handler(event, context):\n    return event\n"
ROLE = "functions-of-tests"
ACCOUNT = "000000000000"
ARN = f"arn:aws:lambda:us-east-1:{ACCOUNT}"


def zipped(files=None, **members):
    """The bytes of a zip of texts."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {**(files or {}), **members}.items():
            # With a date of its own: the same files are the same bytes.
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
    return data.getvalue()


def code(text=CODE):
    return zipped({"index.py": text})


def role(server):
    """A role that the service may assume, made once."""
    iam = server.client("iam")
    try:
        return iam.get_role(RoleName=ROLE)["Role"]["Arn"]
    except iam.exceptions.NoSuchEntityException:
        return iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]


def new_name(prefix="f"):
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


class Deployer:
    """Creates functions, and waits as clients of AWS do."""

    def __init__(self, client, server):
        self.client, self.server, self.role = client, server, role(server)

    def create(self, name=None, wait=True, **members):
        defaults = {"Runtime": "python3.13", "Handler": "index.handler", "Role": self.role, "Code": {"ZipFile": code()}}
        name = name or new_name()
        created = self.client.create_function(FunctionName=name, **{**defaults, **members})
        if wait:
            self.wait(name)
        return created

    def name(self, **members):
        return self.create(**members)["FunctionName"]

    def wait(self, name):
        self.client.get_waiter("function_active_v2").wait(FunctionName=name)
        self.client.get_waiter("function_updated_v2").wait(FunctionName=name)

    def update_code(self, name, text, **members):
        updated = self.client.update_function_code(FunctionName=name, ZipFile=code(text), **members)
        self.wait(name)
        return updated

    def configure(self, name, **members):
        updated = self.client.update_function_configuration(FunctionName=name, **members)
        self.wait(name)
        return updated
