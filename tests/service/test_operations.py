"""Hearth's own operations on real guests: processes, files, output."""

import base64
import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from .conftest import Session

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

    def fork(self, **members):
        """The child as a session, once it runs."""
        status, body = self.call("POST", "fork", json.dumps(members).encode())
        assert status == 200, body
        child = json.loads(body)
        assert child["parentMicrovmId"] == self.session.id
        hearth = self.session.hearth
        hearth.wait_microvm(child["microvmId"], "RUNNING")
        return Session(hearth, child["microvmId"], child["endpoint"])

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


# The shortest idle time there is.
IDLE_S = 60


class AtWork:
    """A microVM without traffic, with a process that runs for an hour."""

    def __init__(self, hearth, image, counts):
        idle = {"maxIdleDurationSeconds": IDLE_S, "suspendedDurationSeconds": 600, "autoResumeEnabled": True}
        self.session = hearth.run(image, idlePolicy=idle)
        self.operator = Operator(hearth, self.session)
        if counts:
            status, body = self.operator.call("PUT", "activity", json.dumps(counts).encode())
            assert status == 200, body
        request = {"command": ["sh", "-c", "echo begun; exec sleep 3600"], "timeoutInSeconds": 3600}
        self.output = self.operator.open("POST", "exec", json.dumps(request).encode())
        assert json.loads(self.output.readline()) == {"stdout": base64.b64encode(b"begun\n").decode()}
        self.begun = time.monotonic()


@pytest.fixture(scope="module")
def at_work(hearth, hello):
    """One where processes count, and one as on AWS. Their idle time passes while other tests run."""
    working = [AtWork(hearth, hello, counts) for counts in ({"execs": True}, {})]
    yield working
    for one in working:
        one.output.close()
        one.session.terminate()


def test_activity_is_as_it_was_said(at_work):
    answers = [json.loads(one.operator.call("GET", "activity")[1]) for one in at_work]
    assert answers == [{"execs": True, "guestCpu": False}, {"execs": False, "guestCpu": False}]


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


def test_a_terminal(operator):
    script = "test -t 0 && test -t 1 && stty size && echo on stderr >&2"
    out, err, last = operator.execute("sh", "-c", script, tty={"columns": 100, "rows": 30})
    assert (out, err, last) == (b"30 100\r\non stderr\r\n", b"", {"exitCode": 0})


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


def test_a_tree_comes_back_as_it_went(operator):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, mode, content in [("bin/run", 0o755, b"#!/bin/sh\necho ran\n"), ("data/" + "x" * 150, 0o600, os.urandom(200_000))]:
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size, entry.mtime, entry.uid = mode, len(content), 1_700_000_000, 1234
            tar.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("run")
        link.type, link.linkname = tarfile.SYMTYPE, "bin/run"
        tar.addfile(link)
    sent = archive.getvalue()
    operator.execute("mkdir", "/srv/tree")
    status, body = operator.call("PUT", "files", sent, path="/srv/tree", format="tar")
    assert (status, json.loads(body)) == (200, {"path": "/srv/tree", "sizeInBytes": len(sent)})
    assert operator.execute("/srv/tree/run")[0] == b"ran\n"
    assert operator.execute("stat", "-c", "%u %a %Y", "/srv/tree/bin/run")[0] == b"0 755 1700000000\n"
    status, received = operator.call("GET", "files", path="/srv/tree", format="tar")
    assert status == 200
    read = lambda data: {
        entry.name: (entry.mode, entry.mtime, entry.linkname, tar.extractfile(entry).read() if entry.isfile() else None)
        for tar in [tarfile.open(fileobj=io.BytesIO(data))] for entry in tar if not entry.isdir()
    }
    came, went = read(received), read(sent)
    assert {name: came[name][:3] for name in came if name != "run"} == {name: went[name][:3] for name in went if name != "run"}
    assert {name: came[name][2:] for name in came} == {name: went[name][2:] for name in went}
    operator.execute("rm", "-r", "/srv/tree")


def test_an_archive_stays_in_its_directory(operator):
    operator.execute("mkdir", "/srv/tree")
    operator.execute("ln", "-s", "/etc", "/srv/tree/etc")
    for name in ("../escaped", "etc/escaped"):
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.addfile(tarfile.TarInfo(name))
        status, body = operator.call("PUT", "files", archive.getvalue(), path="/srv/tree", format="tar")
        assert status == 400, body
    assert operator.execute("ls", "/etc/escaped", "/srv/escaped")[0] == b""
    # Neither devices nor what is mounted below.
    operator.execute("touch", "/dev/shm/mounted", "/dev/plain")
    status, received = operator.call("GET", "files", path="/dev", format="tar")
    names = {entry.name for entry in tarfile.open(fileobj=io.BytesIO(received))}
    assert status == 200 and {"plain", "shm"} <= names and not {"null", "shm/mounted"} & names, names
    assert operator.call("GET", "files", path="/etc/passwd", format="tar")[0] == 400
    operator.execute("rm", "-r", "/srv/tree")


def test_what_is_no_file_is_refused(operator):
    assert operator.call("GET", "files", path="/no/such/file")[0] == 404
    # Missing directories are made; a file is none.
    assert operator.call("PUT", "files", b"x", path="/tmp/made/on/the/way")[0] == 200
    assert operator.call("PUT", "files", b"x", path="/tmp/made/on/the/way/file")[0] >= 400
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


# Writes to the output of the application, as it would itself.
BURST = """
import glob, os
[application] = [at for at in glob.glob("/proc/[0-9]*") if at != f"/proc/{os.getpid()}" and b"app.py" in open(f"{at}/cmdline", "rb").read()]
output = open(f"{application}/fd/1", "wb", 0)
output.write(b'{"level": "FULL", "text": "' + b"a" * 100_000 + b'"}\\n')
for first in range(0, 30_000, 100):
    output.write(b"".join(b"burst %015d\\n" % number for number in range(first, first + 100)))
output.write(b"burst is over\\n")
"""


def test_a_line_is_one_event_and_a_burst_is_whole_or_marked(hearth, hello, operator):
    """Cases 26 and 27: a line of 40 KB was three events, and of a burst some 250 KB were left, with nothing that said so."""
    _, stderr, last = operator.execute("python3", "-c", BURST)
    assert last == {"exitCode": 0}, (stderr, last)
    group = f"/aws/lambda-microvms/{hello.rpartition(':')[2]}"
    deadline = time.monotonic() + 120
    while not hearth.logs.filter_log_events(logGroupName=group, filterPattern='"burst is over"')["events"]:
        assert time.monotonic() < deadline, "the output does not come"
        time.sleep(1)
    [full] = hearth.logs.filter_log_events(logGroupName=group, filterPattern='{ $.level = "FULL" }')["events"]
    assert len(json.loads(full["message"])["text"]) == 100_000
    stream = {"logGroupName": group, "logStreamNames": [full["logStreamName"]], "filterPattern": "?burst ?hearth:"}
    pages = hearth.logs.get_paginator("filter_log_events").paginate(**stream)
    expected = 0
    for event in (event for page in pages for event in page["events"]):
        if lost := re.match(r"hearth: (\d+) lines of output \((\d+) bytes\) were lost here", event["message"]):
            assert int(lost[2]) == 21 * int(lost[1])
            expected += int(lost[1])
        elif event["message"] != "burst is over":
            assert event["message"] == f"burst {expected:015d}"
            expected += 1
    assert expected == 30_000


def test_the_guide_does_what_it_says(hearth, operator):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "hearth-api.md").read_text(), re.DOTALL)
    assert len(blocks) >= 5
    program = [sys.executable, "-c", "\n".join(blocks), os.environ["HEARTH_DATA"], operator.session.id]
    ran = subprocess.run(program, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    for said in ("HELLO", "exit code 0", "'execs': True", "PRETTY_NAME", "'sizeInBytes': 1048576", "forked microvm-", "first of five:", "['main.py']",
                 "echoes: b'typed", '"signal":15'):
        assert said in ran.stdout, ran.stdout
    child = re.search(r"forked (microvm-\S+)", ran.stdout)[1]
    hearth.wait_microvm(child, "RUNNING")
    hearth.microvms.terminate_microvm(microvmIdentifier=child)
    hearth.wait_microvm(child, "TERMINATED")


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


def test_a_fork_goes_its_own_way(hearth, hello):
    parent = hearth.run(hello, runHookPayload="for the parent")
    assert [parent.get()["count"] for _ in range(2)] == [1, 2]
    operator = Operator(hearth, parent)
    operator.call("PUT", "files", b"before", path="/srv/said")
    child = operator.fork()
    offspring = Operator(hearth, child)

    # The counter in memory goes on in both, and neither sees what the other does.
    answers = [session.get() for session in (parent, child)]
    assert [answer["count"] for answer in answers] == [3, 3]
    assert answers[0]["random"] != answers[1]["random"]
    assert [answer["hooks"] for answer in answers] == [["ready", "run"], ["ready", "run", "resume"]]
    operator.call("PUT", "files", b"of the parent", path="/srv/said")
    assert offspring.call("GET", "files", path="/srv/said") == (200, b"before")
    assert child.get()["count"] == 4 and parent.get()["count"] == 4
    # A token opens its own microVM alone, and each writes to a stream of its own.
    assert child.request(token=parent.token())[0] == 403
    names = [of.execute("cat", "/proc/sys/kernel/hostname")[0].decode().strip() for of in (operator, offspring)]
    assert names == [parent.id, child.id]

    # Both sleep and wake, on a layer that they share.
    for session in (parent, child):
        hearth.microvms.suspend_microvm(microvmIdentifier=session.id)
    for session in (parent, child):
        hearth.wait_microvm(session.id, "SUSPENDED")
    # From one that sleeps: it sleeps on.
    grandchild = offspring.fork()
    assert hearth.microvms.get_microvm(microvmIdentifier=child.id)["state"] == "SUSPENDED"
    assert grandchild.get()["count"] == 5
    for session in (parent, child):
        hearth.microvms.resume_microvm(microvmIdentifier=session.id)
    for session in (parent, child):
        hearth.wait_microvm(session.id, "RUNNING")
        assert session.get()["count"] == 5

    # None needs the others to live.
    parent.terminate()
    assert child.get()["count"] == 6
    child.terminate()
    assert grandchild.get()["count"] == 6
    grandchild.terminate()


def test_a_client_notices_nothing_of_a_fork(hearth, hello):
    parent = hearth.run(hello)
    token, counts, failures, stop = parent.token(), [], [], threading.Event()

    def ask():
        while not stop.is_set():
            status, body = parent.request(token=token)
            (counts if status == 200 else failures).append(body)

    asking = threading.Thread(target=ask)
    asking.start()
    child = Operator(hearth, parent).fork()
    answered = len(counts)
    deadline = time.monotonic() + 120
    while len(counts) < answered + 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    stop.set()
    asking.join()
    assert not failures and len(counts) >= answered + 3
    assert [json.loads(body)["count"] for body in counts] == list(range(1, len(counts) + 1))
    for session in (parent, child):
        session.terminate()
    # How long it stood still is measured; on the emulated host that is a fraction of a second.
    text = urllib.request.urlopen(hearth.settings["endpoint_url"] + "/metrics").read().decode()
    found = {family.name: family for family in text_string_to_metric_families(text)}["hearth_fork_pause_seconds"]
    total, count = (next(s.value for s in found.samples if s.name.endswith(end)) for end in ("_sum", "_count"))
    print("mean pause of a parent:", total / count, "s")
    assert count >= 1 and 0 < total / count < 5


def test_output_is_followed(hearth, hello):
    session = hearth.run(hello)
    answer = Operator(hearth, session).open("GET", "logs", follow="true")
    session.get()
    assert answer.readline().strip()
    session.terminate()
    answer.read()


def test_a_process_that_counts_keeps_its_microvm_awake(hearth, at_work):
    counted, uncounted = at_work
    hearth.wait_microvm(uncounted.session.id, "SUSPENDED")
    # The other one has been alone for as long, and for longer than it may be idle.
    time.sleep(max(0, counted.begun + 1.5 * IDLE_S - time.monotonic()))
    assert hearth.microvms.get_microvm(microvmIdentifier=counted.session.id)["state"] == "RUNNING"
    assert sleepers(counted.operator, "3600") == 1
    last = json.loads(uncounted.output.read().splitlines()[-1])
    assert "error" in last, last
