"""The shell of a real guest, through an independent WebSocket client."""

import contextlib
import json
import time

import pytest
from websockets.exceptions import ConnectionClosedOK, InvalidStatus

from websocket_client import connect

CONNECTOR_ARN = "arn:aws:lambda:{}:aws:network-connector:aws-network-connector:{}"

# On the emulated host a shell takes seconds to start.
PATIENCE_S = 120


@pytest.fixture(scope="module")
def session(hearth, hello):
    ingress = [CONNECTOR_ARN.format(hearth.settings["region"], "ALL_INGRESS")]
    session = hearth.run(hello, ingressNetworkConnectors=ingress)
    yield session
    session.terminate()


def protocols(token):
    return ["lambda-microvms", f"lambda-microvms.authentication.{token}"]


def shell_token(hearth, session):
    answer = hearth.microvms.create_microvm_shell_auth_token(microvmIdentifier=session.id, expirationInMinutes=5)
    [token] = answer["authToken"].values()
    return token


@contextlib.contextmanager
def opened(hearth, session):
    """A shell that has begun."""
    offered = protocols(shell_token(hearth, session))
    url = f"wss://{session.endpoint}/shell"
    with connect(url, ssl=hearth.tls, subprotocols=offered, open_timeout=PATIENCE_S) as socket:
        begun = json.loads(socket.recv(timeout=PATIENCE_S))
        assert begun["type"] == "session_init" and begun["session_id"]
        yield Shell(socket)


class Shell:
    """A shell's terminal: its output, and input to it."""

    def __init__(self, socket):
        self.socket, self.shown = socket, b""

    def type(self, text):
        self.socket.send(text.encode())

    def resize(self, columns, rows):
        self.socket.send(json.dumps({"type": "resize", "cols": columns, "rows": rows}))

    def until(self, awaited):
        """Reads until the terminal shows this text, after the text of the call before."""
        deadline = time.monotonic() + PATIENCE_S
        while awaited not in self.shown:
            message = self.socket.recv(timeout=max(0, deadline - time.monotonic()))
            assert isinstance(message, bytes), message
            self.shown += message
        before, _, self.shown = self.shown.partition(awaited)
        return before


def test_a_shell_from_its_prompt_to_its_exit(hearth, session):
    with opened(hearth, session) as shell:
        shell.type("stty -echo; tty; echo in $((6*7)) shell\r")
        assert b"/dev/pts/" in shell.until(b"in 42 shell")

        for columns, rows in (101, 33), (77, 22):
            shell.resize(columns, rows)
            shell.type("stty size\r")
            shell.until(f"{rows} {columns}".encode())

        # Ctrl-C ends what runs and not the shell. What runs says so itself: between its fork and its exec a shell's child loses the signal.
        shell.type("sh -c 'echo it $((1+1)) runs; exec sleep 3456'; echo status $?\r")
        shell.until(b"it 2 runs")
        shell.type("\x03")
        shell.type("echo after $((40+2))\r")
        assert b"status 0" not in shell.until(b"after 42")

        shell.type("exit\r")
        with pytest.raises(ConnectionClosedOK) as closed:
            while True:
                shell.socket.recv(timeout=PATIENCE_S)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1000, "shell exited")


def test_who_leaves_hangs_up(hearth, session):
    with opened(hearth, session) as shell:
        shell.type("exec sh -c 'echo begun; exec sleep 3457'\r")
        shell.until(b"begun\r\n")
    # Nothing but the terminal's hang-up ends it.
    with opened(hearth, session) as again:
        deadline = time.monotonic() + PATIENCE_S
        again.type("stty -echo\r")
        while True:
            again.type("echo left $(grep -ls '^sleep.3457' /proc/[0-9]*/cmdline | wc -l) over\r")
            again.until(b"left ")
            if again.until(b" over").strip() == b"0":
                break
            assert time.monotonic() < deadline
            time.sleep(0.5)


def test_the_kind_of_the_token_decides(hearth, session):
    # With a token for the application the path is the application's, and this one knows no WebSocket.
    [token] = session.token().values()
    url = f"wss://{session.endpoint}/shell"
    with pytest.raises(InvalidStatus) as refused:
        with connect(url, ssl=hearth.tls, subprotocols=protocols(token), open_timeout=PATIENCE_S):
            pass
    assert refused.value.response.status_code == 200 and json.loads(refused.value.response.body)["count"] == 1
    # With one for the shell there is nothing but the shell, which speaks WebSocket alone.
    status, body = session.request("/shell", token={"X-aws-proxy-auth": shell_token(hearth, session)})
    assert status == 502 and b"WebSockets" in body
