"""grpcio on both sides of the endpoint. `tests/service` tells the same story with the server in a guest."""

import pathlib

import grpc
import pytest

from . import grpc_app


@pytest.fixture(scope="module")
def port():
    server, port = grpc_app.start("127.0.0.1:0")
    yield port
    server.stop(None).wait()


@pytest.fixture(scope="module")
def channel(endpoint):
    with grpc_app.channel(endpoint.address, pathlib.Path(endpoint.bundle).read_bytes()) as channel:
        yield channel


def test_every_kind_of_call(endpoint, channel, port):
    # The application speaks HTTP/2 without TLS.
    grpc_app.tell_story(channel, endpoint.headers(port, **{"X-aws-proxy-force-h2": "true"}), timeout_s=60)


def test_a_call_without_a_token_is_denied(channel):
    call = lambda: channel.unary_unary(f"/{grpc_app.SERVICE}/Echo")(b"", timeout=60)
    assert grpc_app.status_of(call)[0] == grpc.StatusCode.PERMISSION_DENIED
