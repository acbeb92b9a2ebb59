"""Python's websockets on both sides of the endpoint."""

import os
import ssl

import pytest
from websockets.exceptions import InvalidStatus

from websocket_client import connect

from .websocket_app import serving


@pytest.fixture(scope="module")
def port():
    with serving() as port:
        yield port


def opened(endpoint, **options):
    tls = ssl.create_default_context(cafile=endpoint.bundle)
    return connect(f"wss://{endpoint.address}/", ssl=tls, **options)


def test_the_token_in_a_header(endpoint, port):
    with opened(endpoint, additional_headers=endpoint.headers(port)) as socket:
        assert socket.subprotocol is None
        for message in ("text", b"bytes", "λ" * 100_000, os.urandom(1_000_000)):
            socket.send(message)
            assert socket.recv(timeout=60) == message
        socket.ping(timeout=60)


def test_the_token_among_the_subprotocols(endpoint, port):
    ours = ["lambda-microvms", f"lambda-microvms.authentication.{endpoint.token}", f"lambda-microvms.port.{port}"]
    for more, chosen in ([], "lambda-microvms"), (["chat"], "chat"):
        with opened(endpoint, subprotocols=[*ours, *more]) as socket:
            assert socket.subprotocol == chosen
            socket.send("hello")
            assert socket.recv(timeout=60) == "hello"


def test_nobody_comes_in_without_a_token(endpoint):
    with pytest.raises(InvalidStatus) as refused, opened(endpoint):
        pass
    assert refused.value.response.status_code == 403
