"""Chromium loads a page through the endpoint, and the page talks over a WebSocket."""

import json
import os

import pytest

from . import http_app, websocket_app
from .browser import PROGRAM, Browser

pytestmark = pytest.mark.skipif(not os.path.exists(PROGRAM), reason="the distribution has no chromium")

PAGE = b"""<!doctype html>
<title>not yet</title>
<script src="/script.js"></script>
"""

SCRIPT = b"""
document.title = "it runs";

// Sends the messages one after another, each when the one before has come back.
function talk(protocols, messages) {
    return new Promise((done, failed) => {
        const socket = new WebSocket(`wss://${location.host}/socket`, protocols);
        const heard = [];
        const next = () => heard.length < messages.length ? socket.send(messages[heard.length]) : socket.close(1000, "enough");
        socket.onopen = next;
        socket.onmessage = event => { heard.push(event.data); next(); };
        socket.onclose = event => done({heard, protocol: socket.protocol, code: event.code, clean: event.wasClean});
        socket.onerror = () => failed(new Error("the socket failed"));
    });
}

async function post(text) {
    return await (await fetch("/", {method: "POST", body: text})).text();
}
"""

FILES = {"/": ("text/html", PAGE), "/script.js": ("text/javascript", SCRIPT)}


class Handler(http_app.Handler):
    def do_GET(self):
        if self.path not in FILES:
            return super().do_GET()
        kind, content = FILES[self.path]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture(scope="module")
def page_port():
    with http_app.serving(Handler) as port:
        yield port


@pytest.fixture(scope="module")
def socket_port():
    with websocket_app.serving() as port:
        yield port


@pytest.fixture(scope="module")
def browser(endpoint, tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("browser"), endpoint.bundle)
    yield browser
    browser.stop()


def test_a_page_with_a_websocket(endpoint, browser, page_port, socket_port):
    browser.visit(f"https://{endpoint.address}/", endpoint.headers(page_port))
    assert browser.evaluate("document.title") == "it runs"
    assert browser.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
    assert browser.evaluate("post('λ'.repeat(100000))") == "λ" * 100_000

    # A page cannot set headers on a WebSocket: token and port go as subprotocols. DevTools can.
    browser.add_headers({})
    ours = ["lambda-microvms", f"lambda-microvms.authentication.{endpoint.token}", f"lambda-microvms.port.{socket_port}"]
    messages = ["hello", "λ" * 50_000, ""]
    for protocols, chosen in (ours, "lambda-microvms"), ([*ours, "chat"], "chat"):
        said = browser.evaluate(f"talk({json.dumps(protocols)}, {json.dumps(messages)})")
        assert said == {"heard": messages, "protocol": chosen, "code": 1000, "clean": True}
    refused = f"talk({json.dumps(ours[:1] + ours[2:])}, []).catch(error => error.message)"
    assert browser.evaluate(refused) == "the socket failed"
