"""Faulty and hostile clients: they get a clear error or a bounded refusal, and the service goes on."""

import hashlib
import json
import socket
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from conftest import Server

from .checked import refusal

IMAGES = "/2025-09-09/microvm-images"


def stream(server, method, path, body=b"", headers=(), key=None, secret=None, service="lambda", region=None):
    """Sends one signed request unchanged. Returns the answer as a stream."""
    credentials = Credentials(key or server.keys[0]["id"], secret or server.keys[0]["secret"])
    request = AWSRequest(method=method, url=server.url + path, data=body, headers=dict(headers))
    # S3 wants the body's hash among the headers.
    auth = S3SigV4Auth if service == "s3" else SigV4Auth
    auth(credentials, service, region or server.region).add_auth(request)
    raw = urllib.request.Request(server.url + path, data=body or None, method=method, headers=dict(request.headers.items()))
    return urllib.request.urlopen(raw, timeout=60)


def send(*arguments, **how):
    """Sends one signed request unchanged. Returns status, headers and body."""
    try:
        with stream(*arguments, **how) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def families(url):
    """The metric families of `/metrics` by name, parsed strictly."""
    with urllib.request.urlopen(url + "/metrics") as answer:
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        return {family.name: family for family in text_string_to_metric_families(answer.read().decode())}


def value(family, name=None, **labels):
    """The sample of a family with these labels."""
    [found] = [sample.value for sample in family.samples if sample.labels == labels and name in (None, sample.name)]
    return found


def connect(server):
    parts = urlsplit(server.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=60)


@pytest.mark.parametrize("changes, code", [
    ({"secret": "wrong"}, "InvalidSignatureException"),
    ({"key": "AKIANOBODY"}, "UnrecognizedClientException"),
    ({"region": "eu-west-1"}, "AccessDeniedException"),
])
def test_wrong_signatures(server, changes, code):
    status, headers, _ = send(server, "GET", IMAGES, **changes)
    assert (status, headers["x-amzn-errortype"]) == (403, code)


def test_unsigned(server):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(server.url + IMAGES)
    assert refused.value.code == 403
    assert refused.value.headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"[" * 5000, b'{"imageIdentifier": 5}', b"\xff"])
def test_malformed_json(server, body):
    status, _, answer = send(server, "POST", "/2025-09-09/microvms", body)
    assert (status, json.loads(answer)) == (400, {"message": None})


def test_raw_slash_in_an_arn_is_the_gateways_business(server):
    status, headers, body = send(server, "GET", f"{IMAGES}/arn:aws:lambda:us-east-1:000000000000:microvm-image/x")
    assert (status, headers["content-type"]) == (404, "text/html") and b"404 Not Found" in body


def test_unencoded_token(server):
    assert send(server, "GET", f"{IMAGES}?nextToken=abc==")[::2] == (400, b'{"message":null}')


def test_large_body(server):
    status, headers, _ = send(server, "POST", "/2025-09-09/microvms", b"x" * (6 * 1024 * 1024 + 1))
    assert (status, headers["x-amzn-errortype"]) == (413, "RequestEntityTooLargeException")


@pytest.mark.parametrize("path, code", [
    ("/bucket/key", b"InvalidAccessKeyId"),
    ("/2025-09-09/microvms", b"InvalidSignatureException"),
])
def test_who_sends_on_after_a_refusal_hears_it(server, path, code):
    """And not of a broken connection, which clients try again."""
    length = 16 << 20
    service = "s3" if path.startswith("/bucket") else "lambda"
    scope = f"{time.strftime('%Y%m%d', time.gmtime())}/{server.region}/{service}/aws4_request"
    # Of the second, that the hash of the body is not signed is what is wrong.
    signed = "host;x-amz-content-sha256;x-amz-date" if service == "s3" else "host;x-amz-date"
    head = (
        f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n"
        f"X-Amz-Date: {time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}\r\nX-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\n"
        f"Authorization: AWS4-HMAC-SHA256 Credential=AKIANOBODY/{scope}, SignedHeaders={signed}, Signature={'0' * 64}\r\n\r\n"
    )
    with connect(server) as client:
        client.sendall(head.encode() + b"x" * length)
        answer = b"".join(iter(lambda: client.recv(1 << 16), b""))
    assert answer.startswith(b"HTTP/1.1 403 ") and code in answer, answer


def test_slow_head_is_cut_off(server):
    with connect(server) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n")
        begun = time.monotonic()
        assert b"408" in slow.recv(1000)[:20] or slow.recv(1000) == b""
        assert time.monotonic() - begun < 40


def test_too_many_connections_are_refused_and_the_service_goes_on(server):
    held = [connect(server) for _ in range(200)]
    time.sleep(0.2)
    with connect(server) as refused:
        assert b"503 Service Unavailable" in refused.recv(1000)
    for connection in held:
        connection.close()
    time.sleep(0.5)
    assert send(server, "GET", IMAGES)[0] == 200


def test_metrics_and_health(server):
    assert urllib.request.urlopen(server.url + "/health").read() == b"ok\n"
    found = families(server.url)
    assert found["hearth_front_requests"].type == "counter" and found["hearth_front_request_seconds"].type == "histogram"


def ask_as(server, host, path="/metrics"):
    """Sends a request with this host name, as a browser would for a web page. Returns the status."""
    request = urllib.request.Request(server.url + path, headers={"Host": host})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_pages_of_others_see_no_metrics(server):
    """Finding M13: a web page whose host name resolves to 127.0.0.1 could read them (DNS rebinding)."""
    port = urlsplit(server.url).port
    assert {ask_as(server, f"{host}:{port}") for host in ("127.0.0.1", "localhost", "[::1]")} == {200}
    assert {ask_as(server, host) for host in (f"attacker.example:{port}", "attacker.example", "")} == {421}
    assert ask_as(server, "attacker.example", "/health") == 200


def test_metrics_with_a_signature_are_the_first_accounts(server):
    status, headers, body = send(server, "GET", "/hearth/v1/metrics")
    assert (status, headers["content-type"].split(";")[0]) == (200, "application/openmetrics-text")
    names = {family.name for family in text_string_to_metric_families(body.decode())}
    assert "hearth_front_requests" in names
    stranger = server.keys[1]
    assert send(server, "GET", "/hearth/v1/metrics", key=stranger["id"], secret=stranger["secret"])[0] == 403


def test_a_head_is_verified_before_its_body_comes(server):
    """Finding M3: a body was read and kept in memory before the request was authenticated."""
    body_hash = "0" * 64
    scope = f"{time.strftime('%Y%m%d', time.gmtime())}/{server.region}/logs/aws4_request"
    head = (
        f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {6 << 20}\r\nX-Amz-Target: Logs_20140328.DescribeLogGroups\r\n"
        f"X-Amz-Date: {time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}\r\nX-Amz-Content-Sha256: {body_hash}\r\n"
        f"Authorization: AWS4-HMAC-SHA256 Credential={server.keys[0]['id']}/{scope}, "
        f"SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-target, Signature={'0' * 64}\r\n\r\n"
    )
    with connect(server) as client:
        client.settimeout(10)
        client.sendall(head.encode())
        answer = client.recv(1 << 16)
    assert b" 403 " in answer.split(b"\r\n")[0], answer
    # One that is signed is read, and is the body that was signed or none.
    status, _, answer = send(server, "POST", "/", b"{}", {
        "X-Amz-Target": "Logs_20140328.DescribeLogGroups", "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Content-Sha256": hashlib.sha256(b"{}").hexdigest(),
    }, service="logs")
    assert status == 200, answer
    status, _, answer = send(server, "POST", "/", b"{}", {
        "X-Amz-Target": "Logs_20140328.DescribeLogGroups", "X-Amz-Content-Sha256": body_hash,
    }, service="logs")
    assert status == 403 and b"InvalidSignature" in answer, answer


@pytest.mark.parametrize("service, operation, status, code", [
    ("s3", "list_buckets", 503, "SlowDown"),
    ("logs", "describe_log_groups", 400, "ThrottlingException"),
    ("iam", "list_roles", 400, "Throttling"),
    ("sts", "get_caller_identity", 400, "Throttling"),
    ("lambda-microvms", "list_microvm_images", 429, "ThrottlingException"),
])
def test_every_service_has_a_rate(tmp_path, service, operation, status, code):
    """Finding M10: only the operations of Lambda and Hearth had one."""
    server = Server(tmp_path, "--few-requests")
    try:
        ask = getattr(server.client(service), operation)
        # Whoever has no valid signature uses up nobody's rate.
        for _ in range(20):
            assert send(server, "GET", "/", secret="wrong", service=service.split("-")[0])[0] == 403
        ask()
        with ThreadPoolExecutor(16) as callers:
            answers = list(callers.map(lambda _: outcome(ask), range(64)))
        assert (status, code) in answers and answers.count("taken") < 32, answers
        # Each account has its own.
        getattr(server.client(service, key=1), operation)()
    finally:
        server.stop()


def test_a_large_body_counts_as_several_requests(tmp_path):
    server = Server(tmp_path, "--few-requests")
    try:
        target = {"X-Amz-Target": "Logs_20140328.DescribeLogGroups"}
        large = b"{}" + b" " * (600 << 10)
        assert send(server, "POST", "/", large, target, service="logs")[0] == 200
        # Ten of the five that may come at once: what is owed is told to wait for.
        status, headers, answer = send(server, "POST", "/", b"{}", target, service="logs")
        assert status == 400 and b"ThrottlingException" in answer, answer
        assert int(dict(headers)["retry-after"]) >= 3, headers
        other = server.keys[1]
        assert send(server, "POST", "/", b"{}", target, service="logs", key=other["id"], secret=other["secret"])[0] == 200
    finally:
        server.stop()


def test_log_events_have_a_rate(tmp_path):
    """One account stored 200,000 events a second, and the calls of all others took up to sixty times as long."""
    server = Server(tmp_path, "--few-requests")
    try:
        logs = server.client("logs")
        group = {"logGroupName": "/flood", "logStreamName": "s"}
        logs.create_log_group(logGroupName="/flood")
        logs.create_log_stream(**group)
        now = int(time.time() * 1000)
        # One batch is taken whole, and owed for.
        logs.put_log_events(**group, logEvents=[{"timestamp": now, "message": "x"}] * 1000)
        status, code, _ = refusal(logs.put_log_events, **group, logEvents=[{"timestamp": now, "message": "y"}])
        assert (status, code) == (400, "ThrottlingException")
        # What reads is not kept waiting for it.
        assert logs.get_log_events(**group, limit=1)["events"][0]["message"] == "x"
    finally:
        server.stop()


def outcome(call):
    try:
        call()
        return "taken"
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]


def test_throttling(tmp_path):
    server = Server(tmp_path, "--throttle")
    try:
        client = server.client("lambda-microvms")

        def suspend(_):
            return refusal(client.suspend_microvm, microvmIdentifier="m")[:2]

        # Side by side, so that a slow machine cannot spread the calls over more seconds than their rate needs.
        with ThreadPoolExecutor(16) as callers:
            codes = set(callers.map(suspend, range(64)))
        assert (429, "ThrottlingException") in codes
    finally:
        server.stop()


def test_the_audit_log_tells_every_call_and_no_secret(server):
    client = server.client("lambda-microvms")
    client.list_microvm_images()
    time.sleep(0.2)
    lines = (server.directory / "audit.log").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    last = [entry for entry in entries if entry["operation"] == "ListMicrovmImages"][-1]
    assert (last["account"], last["status"], last["service"]) == (server.account, 200, "lambda")
    assert server.keys[0]["secret"] not in "\n".join(lines)
