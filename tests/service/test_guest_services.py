"""S3 and the execution role, from inside a microVM without network access."""

import json
import pathlib
import uuid

import pytest

from .test_operations import Operator

CLIENT = (pathlib.Path(__file__).parent / "guest_client.py").read_text()
TRUST = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
NO_EGRESS = "arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:NO_EGRESS"


class Guest(Operator):
    """A microVM whose application has a role."""

    def ask(self, expression):
        out, err, last = self.execute("python3", "-c", CLIENT, expression, timeoutInSeconds=300)
        assert last == {"exitCode": 0}, err
        return json.loads(out)


@pytest.fixture(scope="module")
def bucket(hearth):
    name = f"guest-{uuid.uuid4().hex[:8]}"
    hearth.s3.create_bucket(Bucket=name)
    hearth.s3.put_object(Bucket=name, Key="mine/in", Body=b"from outside")
    hearth.s3.put_object(Bucket=name, Key="closed", Body=b"closed")
    return name


@pytest.fixture(scope="module")
def role(hearth, bucket):
    iam, name = hearth.client("iam"), f"guest-{uuid.uuid4().hex[:8]}"
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    statement = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"arn:aws:s3:::{bucket}/mine/*"}
    iam.put_role_policy(RoleName=name, PolicyName="mine", PolicyDocument=json.dumps({"Statement": statement}))
    return arn


@pytest.fixture(scope="module")
def guest(hearth, hello, role):
    session = hearth.run(hello, executionRoleArn=role, egressNetworkConnectors=[NO_EGRESS])
    yield Guest(hearth, session)
    session.terminate()


def test_an_application_without_a_way_out_reaches_its_objects(hearth, guest, bucket):
    assert guest.ask(f"s3(keys(), 'GET', '/{bucket}/mine/in')") == [200, "from outside"]
    large = 8 << 20
    assert guest.ask(f"s3(keys(), 'PUT', '/{bucket}/mine/out', bytes({large}))[0]") == 200
    assert hearth.s3.get_object(Bucket=bucket, Key="mine/out")["Body"].read() == bytes(large)
    assert guest.ask(f"len(s3(keys(), 'GET', '/{bucket}/mine/out')[1])") == large
    assert guest.ask(f"s3(keys(), 'GET', '/{bucket}/closed')[0]") == 403


def test_port_80_is_the_applications(guest):
    """The services have addresses in a network of their own."""
    script = "import socket; s = socket.socket(); s.bind(('0.0.0.0', 80)); s.listen(); print('bound')"
    assert guest.execute("python3", "-c", script)[0] == b"bound\n"


def test_services_outlive_a_suspend(hearth, guest, bucket):
    before = guest.ask("keys()")
    hearth.microvms.suspend_microvm(microvmIdentifier=guest.session.id)
    hearth.wait_microvm(guest.session.id, "SUSPENDED")
    hearth.microvms.resume_microvm(microvmIdentifier=guest.session.id)
    hearth.wait_microvm(guest.session.id, "RUNNING")
    assert guest.ask("keys()") == before
    assert guest.ask(f"s3(keys(), 'GET', '/{bucket}/mine/in')") == [200, "from outside"]


def test_a_fork_has_keys_of_its_own(hearth, guest, bucket):
    child = guest.fork()
    try:
        fork = Guest(hearth, child)
        assert fork.ask(f"s3(keys(), 'GET', '/{bucket}/mine/in')") == [200, "from outside"]
        assert fork.ask("keys()")["AccessKeyId"] != guest.ask("keys()")["AccessKeyId"]
        kept = fork.ask("keys()")
    finally:
        child.terminate()
    # They end with their microVM, wherever they have got to.
    assert guest.ask(f"s3(json.loads({json.dumps(json.dumps(kept))}), 'GET', '/{bucket}/mine/in')[0]") == 403


def test_without_a_role_there_are_no_keys(hearth, hello):
    session = hearth.run(hello)
    try:
        assert Guest(hearth, session).ask("metadata(ROLE)[0]") == 404
    finally:
        session.terminate()
