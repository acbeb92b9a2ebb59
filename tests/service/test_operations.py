"""Hearth's own operations on real guests: processes, files, output."""

import base64
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"


class Operator:
    """Calls the operations on one microVM."""

    def __init__(self, hearth, session):
        self.settings, self.session = hearth.settings, session

    def open(self, method, operation, body=b"", headers=None, **parameters):
        query = urllib.parse.urlencode(parameters, quote_via=urllib.parse.quote)
        url = f"{self.settings['endpoint_url']}/hearth/v1/microvms/{self.session.id}/{operation}?{query}"
        request = AWSRequest(method, url, data=body, headers=headers or {})
        credentials = Credentials(self.settings["access_key_id"], self.settings["secret_access_key"])
        SigV4Auth(credentials, "lambda", self.settings["region"]).add_auth(request)
        raw = urllib.request.Request(url, body or None, dict(request.headers.items()), method=method)
        return urllib.request.urlopen(raw, timeout=300)

    def call(self, *arguments, **parameters):
        try:
            with self.open(*arguments, **parameters) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def execute(self, *command, **members):
        """Standard output, standard error, and the last line."""
        status, body = self.call("POST", "exec", json.dumps({"command": command, **members}).encode())
        assert status == 200, body
        *said, last = [json.loads(line) for line in body.splitlines()]
        outputs = (b"".join(base64.b64decode(line.get(name, "")) for line in said) for name in ("stdout", "stderr"))
        return *outputs, last


@pytest.fixture(scope="module")
def operator(hearth, hello):
    session = hearth.run(hello)
    yield Operator(hearth, session)
    session.terminate()


def test_a_process_says_what_it_says(operator):
    script = "echo out; echo err >&2; pwd; echo $GREETING $MORE; exit 7"
    out, err, last = operator.execute("sh", "-c", script, cwd="/tmp", env={"MORE": "more"}, user="0:0")
    assert (out, err, last) == (b"out\n/tmp\nhello more\n", b"err\n", {"exitCode": 7})
    assert operator.execute("sh", "-c", "kill -9 $$")[2] == {"exitCode": 137, "signal": 9}
    status, body = operator.call("POST", "exec", b'{"command": ["/no/such/program"]}')
    assert status == 404, body


def test_input_goes_in_and_large_output_comes_out(operator):
    data = os.urandom(1 << 20)
    out, _, last = operator.execute("cat", stdin=base64.b64encode(data).decode(), timeoutInSeconds=300)
    assert (out == data, last) == (True, {"exitCode": 0})


def test_time_is_over(operator):
    begun = time.monotonic()
    out, _, last = operator.execute("sh", "-c", "echo begun; exec sleep 3333", timeoutInSeconds=5)
    assert (out, last["error"]["code"]) == (b"begun\n", "TimeoutException")
    assert time.monotonic() - begun < 60


def sleepers(operator, mark):
    script = f"for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null; echo; done | grep -c '^sleep {mark}'"
    return int(operator.execute("sh", "-c", script)[0])


def gone(operator, mark):
    deadline = time.monotonic() + 60
    while sleepers(operator, mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def test_a_process_ends_with_its_time_and_with_its_client(operator):
    assert operator.execute("sleep", "4444", timeoutInSeconds=2)[2]["error"]["code"] == "TimeoutException"
    assert gone(operator, "4444")
    answer = operator.open("POST", "exec", b'{"command": ["sh", "-c", "echo begun; exec sleep 5555"]}')
    assert json.loads(answer.readline()) == {"stdout": base64.b64encode(b"begun\n").decode()}
    assert sleepers(operator, "5555") == 1
    answer.close()
    assert gone(operator, "5555")


def test_files_come_back_as_they_went(operator):
    data = os.urandom(1 << 20)
    hashed = {"X-Amz-Content-SHA256": hashlib.sha256(data).hexdigest()}
    for headers in ({}, hashed):
        status, body = operator.call("PUT", "files", data, headers, path="/tmp/data", mode="0640")
        assert (status, json.loads(body)) == (200, {"path": "/tmp/data", "sizeInBytes": len(data)})
    status, body = operator.call("GET", "files", path="/tmp/data")
    assert (status, body == data) == (200, True)
    assert operator.execute("stat", "-c", "%a %s", "/tmp/data")[0] == b"640 1048576\n"
    assert operator.execute("sha256sum", "/tmp/data")[0].split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_what_is_no_file_is_refused(operator):
    assert operator.call("GET", "files", path="/no/such/file")[0] == 404
    assert operator.call("PUT", "files", b"x", path="/no/such/directory/file")[0] == 404
    status, body = operator.call("GET", "files", path="/tmp")
    assert status == 400 and b"not a regular file" in body
    # Another body than the signed one leaves nothing behind.
    claim = {"X-Amz-Content-SHA256": hashlib.sha256(b"another").hexdigest()}
    assert operator.call("PUT", "files", b"content", claim, path="/srv/never")[0] == 403
    assert operator.execute("ls", "-A", "/srv")[0] == b""


def test_output_is_shown(hearth, operator):
    operator.session.get()
    deadline = time.monotonic() + 60
    while not (lines := operator.call("GET", "logs", limit="5")[1]):
        assert time.monotonic() < deadline, "no output"
        time.sleep(0.5)
    assert 1 <= lines.count(b"\n") <= 5


def test_the_guide_does_what_it_says(operator):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "hearth-api.md").read_text(), re.DOTALL)
    assert len(blocks) >= 5
    program = [sys.executable, "-c", "\n".join(blocks), os.environ["HEARTH_DATA"], operator.session.id]
    ran = subprocess.run(program, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    for said in ("HELLO", "exit code 0", "PRETTY_NAME", "'sizeInBytes': 1048576", "501"):
        assert said in ran.stdout, ran.stdout


def test_a_suspended_microvm_is_left_alone(hearth, operator):
    microvm = operator.session.id
    hearth.microvms.suspend_microvm(microvmIdentifier=microvm)
    hearth.wait_microvm(microvm, "SUSPENDED")
    for arguments in [("POST", "exec", b'{"command": ["true"]}'), ("GET", "files"), ("PUT", "files", b"x")]:
        status, body = operator.call(*arguments, **({} if "exec" in arguments else {"path": "/tmp/x"}))
        assert status == 409 and b"SUSPENDED" in body, body
    assert operator.call("GET", "logs")[0] == 200
    hearth.microvms.resume_microvm(microvmIdentifier=microvm)
    hearth.wait_microvm(microvm, "RUNNING")
    assert operator.execute("true")[2] == {"exitCode": 0}
