"""Hearth's own operations: who may call them, what they refuse, and how they stream."""

import base64
import hashlib
import http.client
import json
import os
import time
import urllib.parse
import uuid

import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from .test_bad_clients import families, send, stream, value
from .test_story import create, run, state, wait_for


@pytest.fixture(scope="module")
def running(server):
    microvms = server.client("lambda-microvms")
    arn, _ = create(microvms)
    wait_for(lambda: microvms.get_microvm_image(imageIdentifier=arn), "state", {"CREATED"})
    return arn, run(microvms, arn)


def path(microvm, operation, **parameters):
    query = "?" + urllib.parse.urlencode(parameters, quote_via=urllib.parse.quote) if parameters else ""
    return f"/hearth/v1/microvms/{microvm}/{operation}{query}"


def execute(server, microvm, **members):
    status, headers, body = send(server, "POST", path(microvm, "exec"), json.dumps(members).encode())
    if status != 200:
        return status, headers["x-amzn-errortype"], json.loads(body)["message"]
    assert headers["content-type"] == "application/x-ndjson" and headers["x-amzn-requestid"]
    return [json.loads(line) for line in body.splitlines()]


OPERATIONS = [
    ("POST", "exec", {}, b'{"command": ["cat"]}'),
    ("GET", "files", {"path": "/x"}, b""),
    ("PUT", "files", {"path": "/x"}, b"x"),
    ("POST", "fork", {}, b""),
    ("GET", "logs", {}, b""),
    ("GET", "activity", {}, b""),
    ("PUT", "activity", {}, b"{}"),
    ("GET", "times", {}, b""),
]


@pytest.mark.parametrize("method, operation, parameters, body", OPERATIONS)
def test_only_for_the_owner(server, running, method, operation, parameters, body):
    target = path(running[1], operation, **parameters)
    hashed = {"X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()}
    other = {"key": server.keys[1]["id"], "secret": server.keys[1]["secret"]}
    for headers in ({}, hashed):
        refused = lambda path=target, **how: send(server, method, path, body, headers=headers, **how)
        status, answer, text = refused(**other)
        assert (status, answer["x-amzn-errortype"]) == (404, "ResourceNotFoundException")
        assert json.loads(text)["message"] == f"MicroVM not found: {running[1]}"
        for unknown in (f"microvm-{uuid.uuid4()}", "nonsense"):
            assert refused(path(unknown, operation, **parameters))[0] == 404
        for how, code in [
            ({"secret": "wrong"}, "InvalidSignatureException"),
            ({"key": "AKIANOBODY"}, "UnrecognizedClientException"),
            ({"service": "logs"}, None),
            ({"region": "eu-west-1"}, "AccessDeniedException"),
        ]:
            status, answer, _ = refused(**how)
            assert status in (400, 403) and code in (None, answer["x-amzn-errortype"]), how


def cancel(server, name, **how):
    status, headers, body = send(server, "POST", f"/hearth/v1/images/{name}/cancel-build", b"", **how)
    return status, json.loads(body) if status == 200 else headers["x-amzn-errortype"]


def test_a_build_is_cancelled_and_its_image_deleted(server):
    microvms = server.client("lambda-microvms")
    arn, _ = create(microvms)
    name = arn.rsplit(":", 1)[1]
    # AWS's way stays closed.
    with pytest.raises(microvms.exceptions.ValidationException, match="CREATING"):
        microvms.delete_microvm_image(imageIdentifier=arn)
    other = {"key": server.keys[1]["id"], "secret": server.keys[1]["secret"]}
    assert cancel(server, name, **other) == (404, "ResourceNotFoundException")
    assert cancel(server, name) == (200, {"imageIdentifier": arn, "state": "CREATE_FAILED"})
    version = {"imageIdentifier": arn, "imageVersion": "1.0"}
    [build] = microvms.list_microvm_image_builds(**version)["items"]
    assert (build["buildState"], build["stateReason"]) == ("FAILED", "The build was cancelled.")
    assert cancel(server, name) == (409, "ConflictException")
    assert cancel(server, "no-such-image") == (404, "ResourceNotFoundException")
    assert cancel(server, "not%20a%20name") == (404, "ResourceNotFoundException")
    assert microvms.delete_microvm_image(imageIdentifier=arn)["state"] == "DELETING"


def test_an_artifact_that_is_not_there_is_refused(server):
    microvms = server.client("lambda-microvms")
    with pytest.raises(microvms.exceptions.ValidationException) as refused:
        create(microvms, "missing.zip")
    message = refused.value.response["Error"]["Message"]
    assert "s3://bucket/missing.zip" in message and "The specified key does not exist." in message and "NoSuchKey" in message


CONNECTOR = "arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:{}"


def test_a_connector_of_hearths_own_lets_preflights_in(server, running):
    microvms = server.client("lambda-microvms")
    cors, shell, all_ingress = (CONNECTOR.format(f"{name}_INGRESS") for name in ("CORS", "SHELL", "ALL"))
    open_shell = lambda microvm: microvms.create_microvm_shell_auth_token(microvmIdentifier=microvm, expirationInMinutes=1)
    one = run(microvms, running[0], ingressNetworkConnectors=[cors, shell])
    assert microvms.get_microvm(microvmIdentifier=one)["ingressNetworkConnectors"] == [cors, shell]
    assert open_shell(one)["authToken"]
    # As every other one, it does not go with ALL_INGRESS, and is none for egress.
    two = run(microvms, running[0], ingressNetworkConnectors=[all_ingress, cors])
    with pytest.raises(microvms.exceptions.ValidationException, match="ALL_INGRESS"):
        open_shell(two)
    with pytest.raises(microvms.exceptions.ValidationException):
        microvms.run_microvm(imageIdentifier=running[0], egressNetworkConnectors=[cors])
    for microvm in (one, two):
        microvms.terminate_microvm(microvmIdentifier=microvm)


def test_unknown_paths_are_the_gateways_business(server, running):
    for method, target in [("GET", path(running[1], "exec")), ("POST", path(running[1], "dance"))]:
        assert send(server, method, target)[0] == 404


def test_a_process_streams(server, running):
    data = os.urandom(100_000)
    said = execute(server, running[1], command=["cat"], stdin=base64.b64encode(data).decode())
    assert b"".join(base64.b64decode(line.get("stdout", "")) for line in said) == data
    assert said[-1] == {"exitCode": 0}
    assert execute(server, running[1], command=["fail"]) == [
        {"stderr": base64.b64encode(b"failed\n").decode()}, {"exitCode": 3}
    ]
    assert execute(server, running[1], command=["die"]) == [{"exitCode": 137, "signal": 9}]
    assert execute(server, running[1], command=["nothing"])[:2] == (404, "ResourceNotFoundException")


def test_a_process_has_its_time(server, running):
    begun = time.monotonic()
    [last] = execute(server, running[1], command=["sleep"], timeoutInSeconds=1)
    assert last["error"]["code"] == "TimeoutException" and time.monotonic() - begun < 10


class Conversation:
    """An exec that gets input while it runs."""

    def __init__(self, server, microvm, claim="UNSIGNED-PAYLOAD", **members):
        target = path(microvm, "exec")
        headers = {"Content-Type": "application/x-ndjson", "X-Amz-Content-SHA256": claim}
        request = AWSRequest("POST", server.url + target, headers=headers)
        credentials = Credentials(server.keys[0]["id"], server.keys[0]["secret"])
        SigV4Auth(credentials, "lambda", server.region).add_auth(request)
        host = urllib.parse.urlsplit(server.url).netloc
        self.connection = http.client.HTTPConnection(host, timeout=60)
        self.connection.putrequest("POST", target, skip_host=True)
        for name, value in {**dict(request.headers), "Host": host, "Transfer-Encoding": "chunked"}.items():
            self.connection.putheader(name, value)
        self.connection.endheaders()
        self.say(**members)
        self.answer = self.connection.getresponse()

    def send(self, data):
        self.connection.send(b"%x\r\n%s\r\n" % (len(data), data))

    def say(self, **members):
        self.send(json.dumps(members).encode() + b"\n")

    def hear(self):
        said = json.loads(self.answer.readline())
        return base64.b64decode(said["stdout"]) if "stdout" in said else said


def encoded(data):
    return base64.b64encode(data).decode()


def test_a_process_is_told_more_while_it_runs(server, running):
    size = {"columns": 80, "rows": 24}
    talk = Conversation(server, running[1], command=["cat"], tty=size, stdin=encoded(b"first"))
    assert (talk.hear(), talk.hear()) == (b"80x24\n", b"first")
    for number in range(3):
        talk.say(stdin=encoded(b"%d" % number))
        assert talk.hear() == b"%d" % number
    talk.say(resize={"columns": 132, "rows": 50})
    assert talk.hear() == b"132x50\n"
    talk.say(signal=15)
    assert talk.hear() == {"exitCode": 143, "signal": 15}
    assert talk.answer.read() == b""

    # The end of the body is the end of the input, and a piece of a line is no line.
    talk = Conversation(server, running[1], command=["cat"])
    talk.send(b'{"stdin": "aG')
    talk.send(b'k="}\n')
    assert talk.hear() == b"hi"
    talk.connection.send(b"0\r\n\r\n")
    assert talk.hear() == {"exitCode": 0}


def test_input_that_makes_no_sense_ends_the_process(server, running):
    for line in (b"{\n", b'{"signal": 99}\n', b'{"stdin": "*"}\n'):
        talk = Conversation(server, running[1], command=["cat"], stdin=encoded(b"begun"))
        assert talk.hear() == b"begun"
        talk.send(line)
        assert talk.hear()["error"]["code"] == "ValidationException"
    # A hash of what has not been said yet cannot be held against it.
    refused = Conversation(server, running[1], claim=hashlib.sha256(b"").hexdigest(), command=["cat"]).answer
    assert (refused.status, refused.getheader("x-amzn-errortype")) == (400, "ValidationException")
    refused = Conversation(server, running[1], command=[]).answer
    assert (refused.status, refused.getheader("x-amzn-errortype")) == (400, "ValidationException")


@pytest.mark.parametrize("members", [
    {"command": ["cat"], "tty": {"columns": 80}}, {"command": ["cat"], "tty": {"columns": 0, "rows": 1}},
    {}, {"command": []}, {"command": [""]}, {"command": "cat"}, {"command": ["cat"], "timeoutInSeconds": 0},
    {"command": ["cat"], "timeoutInSeconds": 3601}, {"command": ["cat"], "stdin": "*"}, {"command": ["cat"], "tty": True},
    {"command": ["cat"], "env": ["A=b"]},
])
def test_bad_requests_of_exec(server, running, members):
    assert execute(server, running[1], **members)[:2] == (400, "ValidationException")


def test_files_come_back_as_they_went(server, running):
    data = os.urandom(8 << 20)
    target = path(running[1], "files", path="/tmp/ä b", mode="0600")
    for claim in (hashlib.sha256(data).hexdigest(), "UNSIGNED-PAYLOAD"):
        status, _, body = send(server, "PUT", target, data, headers={"X-Amz-Content-SHA256": claim})
        assert (status, json.loads(body)) == (200, {"path": "/tmp/ä b", "sizeInBytes": len(data)})
    status, headers, body = send(server, "GET", path(running[1], "files", path="/tmp/ä b"))
    assert (status, headers["content-type"], body == data) == (200, "application/octet-stream", True)
    assert send(server, "PUT", target, b"small")[0] == 200
    assert send(server, "PUT", target, data)[0] == 413, "a large body whose hash is not stated"
    assert send(server, "GET", path(running[1], "files", path="/tmp/ä b"))[2] == b"small"


def test_a_directory_is_an_archive(server, running):
    data = os.urandom(3 << 20)
    for name in ("/srv", "/srv/"):
        target = path(running[1], "files", path=name, format="tar")
        status, _, body = send(server, "PUT", target, data)
        assert (status, json.loads(body)) == (200, {"path": name, "sizeInBytes": len(data)})
        status, headers, body = send(server, "GET", target)
        assert (status, headers["content-type"], body == data) == (200, "application/x-tar", True)
    assert send(server, "GET", path(running[1], "files", path="/none", format="tar"))[0] == 404


def test_a_body_that_was_not_signed_is_not_written(server, running):
    target = path(running[1], "files", path="/signed")
    claim = {"X-Amz-Content-SHA256": hashlib.sha256(b"another").hexdigest()}
    status, headers, _ = send(server, "PUT", target, b"content", headers=claim)
    assert (status, headers["x-amzn-errortype"]) == (403, "InvalidSignatureException")
    assert send(server, "GET", target)[0] == 404


@pytest.mark.parametrize("method, parameters", [
    ("GET", {}), ("GET", {"path": "relative"}), ("GET", {"path": "/directory/"}), ("GET", {"path": "/a\0b"}),
    ("GET", {"path": "/a", "mode": "0644"}), ("PUT", {"path": "/a", "mode": "rw"}), ("PUT", {"path": "/a", "mode": "17777"}),
    ("GET", {"path": "/a", "format": "zip"}), ("PUT", {"path": "/a", "format": "tar", "mode": "0644"}), ("GET", {"format": "tar"}),
])
def test_bad_requests_of_files(server, running, method, parameters):
    status, headers, _ = send(server, method, path(running[1], "files", **parameters))
    assert (status, headers["x-amzn-errortype"]) == (400, "ValidationException")


def test_logs_are_the_newest_lines(server, running):
    target = path(running[1], "logs")
    assert send(server, "GET", target)[::2] == (200, b"")
    logs = server.client("logs")
    logs.create_log_group(logGroupName="/microvms")
    logs.create_log_stream(logGroupName="/microvms", logStreamName=running[1])
    now = int(time.time() * 1000)
    events = [{"timestamp": now + number, "message": f"line {number}"} for number in range(5)]
    logs.put_log_events(logGroupName="/microvms", logStreamName=running[1], logEvents=events)
    assert send(server, "GET", target + "?limit=2&follow=false")[2] == b"line 3\nline 4\n"
    assert send(server, "GET", target)[2].count(b"\n") == 5
    for query, status in [("limit=0", 400), ("limit=10001", 400), ("lines=5", 400), ("follow=yes", 400)]:
        assert send(server, "GET", f"{target}?{query}")[0] == status, query


def test_logs_are_followed_to_the_end(server, running):
    microvms, logs = server.client("lambda-microvms"), server.client("logs")
    microvm = run(microvms, running[0])
    logs.create_log_stream(logGroupName="/microvms", logStreamName=microvm)
    now = int(time.time() * 1000)

    def write(*numbers, at=now):
        events = [{"timestamp": at, "message": f"line {number}"} for number in numbers]
        logs.put_log_events(logGroupName="/microvms", logStreamName=microvm, logEvents=events)

    write(1, 2, 3)
    answers = [stream(server, "GET", path(microvm, "logs") + "?follow=true&limit=2") for _ in range(3)]
    for answer in answers:
        assert answer.getheader("content-type") == "text/plain; charset=utf-8"
        assert [answer.readline() for _ in range(2)] == [b"line 2\n", b"line 3\n"]
    answers.pop().close()
    write(4)
    # Later events may be older, and more than one page.
    write(5, at=now - 1000)
    write(*range(6, 2500), at=now + 1000)
    for answer in answers:
        assert [answer.readline() for _ in range(4, 2500)] == [b"line %d\n" % number for number in range(4, 2500)]
    microvms.suspend_microvm(microvmIdentifier=microvm)
    wait_for(state(microvms, microvm), "state", {"SUSPENDED"})
    microvms.terminate_microvm(microvmIdentifier=microvm)
    wait_for(state(microvms, microvm), "state", {"TERMINATED"})
    write(2500, at=now + 1000)
    for answer in answers:
        assert answer.read() == b"line 2500\n"
    # Of one that has ended, what there is.
    assert stream(server, "GET", path(microvm, "logs") + "?follow=true&limit=1").read() == b"line 2500\n"


def test_followers_are_bounded_and_leave_room(server, running):
    target = path(running[1], "logs") + "?follow=true"
    # The test's server takes 200 connections, fewer than may follow: those that left must not count.
    for _ in range(6):
        answers = [stream(server, "GET", target) for _ in range(50)]
        for answer in answers:
            assert answer.status == 200
            answer.close()


def test_what_does_not_run_is_not_woken(server, running):
    microvms = server.client("lambda-microvms")
    microvm = run(microvms, running[0])
    microvms.suspend_microvm(microvmIdentifier=microvm)
    wait_for(state(microvms, microvm), "state", {"SUSPENDED"})
    guest = OPERATIONS[:3]
    for method, operation, parameters, body in guest:
        status, headers, text = send(server, method, path(microvm, operation, **parameters), body)
        assert (status, headers["x-amzn-errortype"]) == (409, "ConflictException")
        assert "SUSPENDED" in json.loads(text)["message"] and "ResumeMicrovm" in json.loads(text)["message"]
    assert state(microvms, microvm)()["state"] == "SUSPENDED"
    microvms.terminate_microvm(microvmIdentifier=microvm)
    wait_for(state(microvms, microvm), "state", {"TERMINATED"})
    for method, operation, parameters, body in guest:
        status, headers, _ = send(server, method, path(microvm, operation, **parameters), body)
        assert (status, headers["x-amzn-errortype"]) == (400, "ValidationException")
    assert send(server, "GET", path(microvm, "logs"))[0] == 200


def fork(server, microvm, **members):
    body = json.dumps(members).encode() if members else b""
    status, headers, text = send(server, "POST", path(microvm, "fork"), body)
    return status, headers.get("x-amzn-errortype"), json.loads(text)


def test_a_child_is_answered_like_a_run(server, running):
    microvms = server.client("lambda-microvms")
    status, _, child = fork(server, running[1], maximumDurationInSeconds=600)
    assert status == 200, child
    assert child.pop("parentMicrovmId") == running[1]
    assert (child["imageArn"], child["imageVersion"], child["maximumDurationInSeconds"]) == (running[0], "1.0", 600)
    run_members = botocore.session.get_session().get_service_model("lambda-microvms").shape_for("RunMicrovmResponse")
    # With what AWS sends beyond its model.
    assert set(child) == {*run_members.members, "terminationReasonCode"}
    wait_for(state(microvms, child["microvmId"]), "state", {"RUNNING"})
    parent = state(microvms, running[1])()
    assert parent["state"] == "RUNNING" and parent["endpoint"] != child["endpoint"]
    # Nothing in the body: as long as the parent, and another one each time.
    _, _, second = fork(server, running[1])
    assert second["maximumDurationInSeconds"] == parent["maximumDurationInSeconds"]
    assert second["microvmId"] != child["microvmId"]
    for made in (child, second):
        microvms.terminate_microvm(microvmIdentifier=made["microvmId"])


def test_a_token_makes_one_child(server, running):
    token = str(uuid.uuid4())
    first, again = (fork(server, running[1], clientToken=token)[2] for _ in range(2))
    assert first["microvmId"] == again["microvmId"]
    assert fork(server, running[1], clientToken=token, maximumDurationInSeconds=9)[:2] == (409, "ConflictException")


@pytest.mark.parametrize("members", [
    {"maximumDurationInSeconds": 0}, {"maximumDurationInSeconds": 28801}, {"clientToken": ""}, {"clientToken": "x" * 129},
    {"imageVersion": "2.0"}, {"maximumDurationInSeconds": "60"},
])
def test_bad_requests_of_fork(server, running, members):
    assert fork(server, running[1], **members)[:2] == (400, "ValidationException")


def test_what_is_suspended_is_forked_and_what_has_ended_is_not(server, running):
    microvms = server.client("lambda-microvms")
    microvm = run(microvms, running[0])
    microvms.suspend_microvm(microvmIdentifier=microvm)
    wait_for(state(microvms, microvm), "state", {"SUSPENDED"})
    child = fork(server, microvm)[2]["microvmId"]
    wait_for(state(microvms, child), "state", {"RUNNING"})
    assert state(microvms, microvm)()["state"] == "SUSPENDED"
    microvms.terminate_microvm(microvmIdentifier=microvm)
    wait_for(state(microvms, microvm), "state", {"TERMINATED"})
    assert fork(server, microvm)[:2] == (400, "ValidationException")
    assert state(microvms, child)()["state"] == "RUNNING"
    pending = microvms.run_microvm(imageIdentifier=running[0])["microvmId"]
    assert fork(server, pending)[:2] == (409, "ConflictException")


def test_where_the_time_of_a_start_went(server, running):
    microvms = server.client("lambda-microvms")

    def times(microvm):
        status, _, text = send(server, "GET", path(microvm, "times"))
        assert status == 200, text
        answer = json.loads(text)
        assert answer["totalMicroseconds"] >= sum(step["microseconds"] for step in answer["steps"]) - len(answer["steps"])
        return answer["kind"], [step["name"] for step in answer["steps"]]

    microvm = run(microvms, running[0])
    assert times(microvm) == ("LAUNCH", ["asked the host", "written down"])
    child = fork(server, microvm)[2]["microvmId"]
    wait_for(state(microvms, child), "state", {"RUNNING"})
    assert times(child) == ("FORK", ["parent sealed", "asked the host", "written down"])
    microvms.suspend_microvm(microvmIdentifier=microvm)
    wait_for(state(microvms, microvm), "state", {"SUSPENDED"})
    microvms.resume_microvm(microvmIdentifier=microvm)
    wait_for(state(microvms, microvm), "state", {"RUNNING"})
    assert times(microvm) == ("RESUME", ["written down", "asked the host", "written down"])
    microvms.terminate_microvm(microvmIdentifier=microvm)
    wait_for(state(microvms, microvm), "state", {"TERMINATED"})
    assert times(microvm) == (None, [])


def activity(server, microvm, **members):
    """What is asked for when there are members, else what is so."""
    method, body = ("PUT", json.dumps(members).encode()) if members else ("GET", b"")
    status, headers, text = send(server, method, path(microvm, "activity"), body)
    return (status, json.loads(text)) if status == 200 else (status, headers["x-amzn-errortype"])


def test_what_counts_as_activity(server, running):
    microvms = server.client("lambda-microvms")
    microvm = run(microvms, running[0])
    answers = lambda execs, cpu: (200, {"execs": execs, "guestCpu": cpu})
    assert activity(server, microvm) == answers(False, False)
    assert activity(server, microvm, execs=True) == answers(True, False)
    child = fork(server, microvm)[2]["microvmId"]
    # What is not named does not count.
    assert activity(server, microvm, guestCpu=True) == answers(False, True)
    assert activity(server, microvm) == answers(False, True) and activity(server, child) == answers(True, False)
    microvms.suspend_microvm(microvmIdentifier=microvm)
    wait_for(state(microvms, microvm), "state", {"SUSPENDED"})
    assert activity(server, microvm, execs=True, guestCpu=True) == answers(True, True)
    microvms.terminate_microvm(microvmIdentifier=microvm)
    wait_for(state(microvms, microvm), "state", {"TERMINATED"})
    assert activity(server, microvm, execs=False) == (400, "ValidationException")
    assert activity(server, microvm) == answers(True, True)
    for members in ({"exec": True}, {"execs": 1}, {"execs": None}):
        assert activity(server, running[1], **members) == (400, "ValidationException")
    assert send(server, "PUT", path(running[1], "activity"), b"")[0] == 400
    assert activity(server, running[1]) == answers(False, False)


def test_they_are_recorded(server, running):
    send(server, "GET", path(running[1], "files", path="/private-name"))
    time.sleep(0.2)
    entries = [json.loads(line) for line in (server.directory / "audit.log").read_text().splitlines()]
    last = [entry for entry in entries if entry["operation"] == "GetMicrovmFile"][-1]
    assert (last["service"], last["account"], last["status"]) == ("hearth", server.account, 404)
    assert last["path"] == path(running[1], "files")


def test_lives_are_counted(server, running):
    microvms = server.client("lambda-microvms")
    before = families(server.url)
    counts = lambda found, name: value(found[name], name + "_count")
    microvm = run(microvms, running[0])
    child = fork(server, microvm)[2]["microvmId"]
    wait_for(state(microvms, child), "state", {"RUNNING"})
    for id in (microvm, child):
        microvms.suspend_microvm(microvmIdentifier=id)
        wait_for(state(microvms, id), "state", {"SUSPENDED"})
    microvms.resume_microvm(microvmIdentifier=microvm)
    wait_for(state(microvms, microvm), "state", {"RUNNING"})
    during = families(server.url)
    for name, count in [("launch", 1), ("fork", 1), ("seal", 1), ("fork_pause", 1), ("suspend", 2), ("resume", 1)]:
        name = f"hearth_{name}_seconds"
        assert counts(during, name) - counts(before, name) == count, name
        assert value(during[name], name + "_sum") > value(before[name], name + "_sum")
        # What took a step of the test's node took longer than a millisecond.
        assert value(during[name], name + "_bucket", le="0.001") == value(before[name], name + "_bucket", le="0.001")
    assert counts(during, "hearth_journal_commit_seconds") > counts(before, "hearth_journal_commit_seconds")
    living = {sample.labels["state"]: sample.value for sample in during["hearth_microvms"].samples}
    assert set(living) == {"PENDING", "RUNNING", "SUSPENDING", "SUSPENDED", "TERMINATING"}
    assert living["RUNNING"] >= 2 and living["SUSPENDED"] >= 1
    resident, allocated = (value(during[f"hearth_memory_{kind}_bytes"]) for kind in ("resident", "allocated"))
    assert 0 < resident < allocated
    ended = lambda found: value(found["hearth_microvm_ends"], reason="asked")
    for id in (microvm, child):
        microvms.terminate_microvm(microvmIdentifier=id)
        wait_for(state(microvms, id), "state", {"TERMINATED"})
    assert ended(families(server.url)) - ended(before) == 2
    assert value(during["hearth_failures"], operation="launch") == 0
