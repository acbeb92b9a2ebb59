"""curl and Python's requests through the endpoint."""

import json
import subprocess
import threading
import time

import pytest
import requests

from .http_app import serving
from .pattern import BLOCK_BYTES, blocks, digest, read_all

# What the endpoint may take for a body that it passes on, whatever the body's size.
MAX_MEMORY_MIB = 32
LARGE_MIB = 1024


@pytest.fixture(scope="module")
def port():
    with serving() as port:
        yield port


def curl(endpoint, port, version, path, *more, **options):
    headers = [word for name, value in endpoint.headers(port).items() for word in ("-H", f"{name}: {value}")]
    command = ["curl", version, "-sS", "--fail", "--cacert", endpoint.bundle, *headers, *more, f"https://{endpoint.address}{path}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


VERSIONS = pytest.mark.parametrize("version", ["--http1.1", "--http2"])


@VERSIONS
def test_curl(endpoint, port, version):
    spoken = ["-w", "%{stderr}%{http_version}"]
    out, said = curl(endpoint, port, version, "/", "--data", "hello", *spoken).communicate(timeout=60)
    assert (out, said) == (b"hello", version.removeprefix("--http").encode())
    out, _ = curl(endpoint, port, version, "/seen").communicate(timeout=60)
    seen = json.loads(out)
    assert seen["peer"] == "127.0.0.1"
    headers = {name.lower(): value for name, value in seen["headers"].items()}
    assert headers["host"] == endpoint.address and not [name for name in headers if name.startswith("x-aws-proxy")]
    out, _ = curl(endpoint, port, version, "/events").communicate(timeout=60)
    assert out == b"".join(b"data: %d\n\n" % number for number in range(5))


@VERSIONS
def test_a_gibibyte_comes_down(fresh_endpoint, port, version):
    begun = time.monotonic()
    process = curl(fresh_endpoint, port, version, f"/source/{LARGE_MIB}", bufsize=BLOCK_BYTES)
    received = digest(read_all(process.stdout))
    report(fresh_endpoint, f"down {version}", begun)
    assert process.wait(timeout=60) == 0, process.stderr.read()
    assert received == digest(blocks(LARGE_MIB))


@VERSIONS
def test_a_gibibyte_goes_up(fresh_endpoint, port, version):
    begun = time.monotonic()
    # Without a length: chunked in HTTP/1.1, frames in HTTP/2.
    upload = ["-T", "-", "-X", "POST", "-H", "Expect:"]
    process = curl(fresh_endpoint, port, version, "/sink", *upload, stdin=subprocess.PIPE)

    def feed():
        with process.stdin as pipe:
            for block in blocks(LARGE_MIB):
                pipe.write(block)

    feeding = threading.Thread(target=feed)
    feeding.start()
    out = process.stdout.read()
    feeding.join()
    report(fresh_endpoint, f"up {version}", begun)
    assert process.wait(timeout=60) == 0, process.stderr.read()
    received = json.loads(out)
    assert (received["count"], received["hash"]) == digest(blocks(LARGE_MIB))


def report(endpoint, what, begun):
    peak = endpoint.memory_mib("VmHWM")
    print(f"{what}: {LARGE_MIB / (time.monotonic() - begun):.0f} MiB/s, endpoint at most {peak:.1f} MiB")
    assert peak < MAX_MEMORY_MIB


def test_requests(endpoint, port):
    url = f"https://{endpoint.address}"
    with requests.Session() as session:
        # Not what the environment says, which would go before what is said here.
        session.trust_env = False
        session.verify = endpoint.bundle
        session.headers.update(endpoint.headers(port))
        for size in (0, 1, 5_000_000):
            answer = session.post(url, data=b"x" * size)
            assert (answer.status_code, answer.content) == (200, b"x" * size)
        # A body that is made while it is sent, and an answer that is read while it comes.
        answer = session.post(f"{url}/sink", data=blocks(8))
        assert (answer.json()["count"], answer.json()["hash"]) == digest(blocks(8))
        with session.get(f"{url}/source/8", stream=True) as answer:
            assert digest(answer.iter_content(100_000)) == digest(blocks(8))
        with session.get(f"{url}/events", stream=True) as answer:
            assert [line for line in answer.iter_lines() if line] == [b"data: %d" % number for number in range(5)]
        assert session.get(f"{url}/nowhere").status_code == 404
        # Somebody without a token, and with a port where nobody listens.
        assert session.get(url, headers={"X-aws-proxy-auth": None}).status_code == 403
        nobody = session.get(url, headers={"X-aws-proxy-port": "1"})
        assert nobody.status_code == 502 and b"port 1 " in nobody.content
