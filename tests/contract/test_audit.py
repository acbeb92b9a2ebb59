"""The audit log: it has a line for each call, without the content of requests and answers."""

import base64
import json
import time
import urllib.error
import urllib.request
import uuid

import pytest
from conftest import Server

from .test_bad_clients import send
from .test_story import create, run, wait_for

# Each of these goes through the API once, in a place where a secret may stand.
SECRETS = {
    place: f"secret-{place}-{uuid.uuid4().hex}"
    for place in ("payload", "variable", "argument", "input", "path", "content", "object", "policy", "message", "token", "query")
}


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("audited"))
    speak(server)
    time.sleep(0.5)
    yield server, (server.directory / "audit.log").read_text(), (server.directory / "audit-unverified.log").read_text()
    server.stop()


def speak(server):
    microvms, s3, logs, iam = (server.client(name) for name in ("lambda-microvms", "s3", "logs", "iam"))
    hooks = {"port": 80, "microvmImageHooks": {"ready": "ENABLED"}, "microvmHooks": {"run": "ENABLED"}}
    arn, _ = create(microvms, hooks=hooks, environmentVariables={"PASSWORD": SECRETS["variable"]})
    wait_for(lambda: microvms.get_microvm_image(imageIdentifier=arn), "state", {"CREATED"})
    microvm = run(microvms, arn, runHookPayload=SECRETS["payload"], clientToken=SECRETS["token"])
    target = f"/hearth/v1/microvms/{microvm}"
    command = {"command": ["cat", SECRETS["argument"]], "env": {"A": SECRETS["variable"]},
               "stdin": base64.b64encode(SECRETS["input"].encode()).decode()}
    assert send(server, "POST", target + "/exec", json.dumps(command).encode())[0] == 200
    assert send(server, "PUT", f"{target}/files?path=%2F{SECRETS['path']}", SECRETS["content"].encode())[0] == 200
    assert send(server, "GET", f"{target}/files?path=%2F{SECRETS['path']}")[0] == 200
    microvms.create_microvm_auth_token(microvmIdentifier=microvm, expirationInMinutes=5, allowedPorts=[{"allPorts": {}}])
    s3.create_bucket(Bucket="audited")
    s3.put_object(Bucket="audited", Key="key", Body=SECRETS["object"].encode())
    presigned = s3.generate_presigned_url("get_object", Params={"Bucket": "audited", "Key": "key"})
    assert urllib.request.urlopen(presigned).read() == SECRETS["object"].encode()
    SECRETS["signature"] = presigned.rsplit("Signature=", 1)[1]
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{server.url}/2025-09-09/microvms?authorization={SECRETS['query']}")
    for service in ("lambda", "s3"):
        assert send(server, "GET", "/forged", secret="wrong", service=service)[0] == 403
    # The signature is right; what it asks is not the caller's.
    other = server.keys[1]
    assert send(server, "GET", "/hearth/v1/accounts", key=other["id"], secret=other["secret"])[0] == 403
    assert send(server, "GET", "/2025-09-09/microvm-images", region="eu-west-1")[0] == 403
    logs.create_log_group(logGroupName="/audited")
    logs.create_log_stream(logGroupName="/audited", logStreamName="s")
    now = int(time.time() * 1000)
    logs.put_log_events(
        logGroupName="/audited", logStreamName="s", logEvents=[{"timestamp": now, "message": SECRETS["message"]}]
    )
    policy = {"Version": "2012-10-17", "Statement": [], "Id": SECRETS["policy"]}
    iam.create_role(RoleName="audited", AssumeRolePolicyDocument=json.dumps(policy))


def test_no_secret_lands_there(audited):
    server, *texts = audited
    text = "".join(texts)
    keys = {key["id"]: key["secret"] for key in server.keys}
    for place, secret in [*SECRETS.items(), *keys.items()]:
        assert secret not in text, place
        assert base64.b64encode(secret.encode()).decode().rstrip("=")[:-2] not in text, place
    # The endpoint's tokens, and whatever else is signed or sealed. Codes of errors name signatures.
    said = text.replace("InvalidSignatureException", "").replace("SignatureDoesNotMatch", "")
    assert "no.endpoint.here" not in said and "Signature" not in said and "Authorization" not in said


def test_every_call_is_a_line_that_says_who_what_and_how(audited):
    server, text, _ = audited
    entries = [json.loads(line) for line in text.splitlines()]
    said = {entry["operation"] for entry in entries}
    assert {"CreateMicrovmImage", "RunMicrovm", "ExecMicrovm", "PutMicrovmFile", "CreateMicrovmAuthToken",
            "PutLogEvents", "CreateRole", "PutObject", "GetObject"} <= said, said
    assert len({entry["requestId"] for entry in entries}) == len(entries)
    for entry in entries:
        assert set(entry) == {"time", "requestId", "source", "account", "accessKey", "service", "operation", "method",
                              "path", "status", "error", "elapsedMs"}
        assert entry["source"] == "127.0.0.1" and "?" not in entry["path"]
        if entry["status"] == 200:
            assert (entry["account"], entry["accessKey"]) == (server.account, server.keys[0]["id"]), entry
    refused = [(entry["account"], entry["service"]) for entry in entries if entry["status"] == 403]
    assert refused == [(server.keys[1]["account"], "hearth"), (server.account, "lambda")]


def test_strangers_leave_no_line_among_those_of_accounts(audited):
    """Finding M18: unauthenticated requests overwrote the log, and those to S3 were logged for the account that they named."""
    server, text, unverified = audited
    assert all(json.loads(line)["account"] for line in text.splitlines())
    entries = [json.loads(line) for line in unverified.splitlines()]
    assert [(entry["account"], entry["accessKey"], entry["service"], entry["status"]) for entry in entries] == [
        (None, None, "lambda", 403),
        (None, server.keys[0]["id"], "lambda", 403),
        (None, server.keys[0]["id"], "s3", 403),
    ]


def test_nobody_else_reads_it(audited):
    server, *_ = audited
    for name in ("audit.log", "audit-unverified.log"):
        assert (server.directory / name).stat().st_mode & 0o777 == 0o600
