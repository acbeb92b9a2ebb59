"""Headless Chromium, driven through its DevTools protocol."""

import contextlib
import itertools
import json
import os
import pathlib
import subprocess
import time

from websockets.sync.client import connect

PROGRAM = "/usr/bin/chromium"

# As root there is no sandbox; the rest keeps it from talking to anybody but the page under test.
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
]

# A browser that starts for the first time, beside other tests.
PATIENCE_S = 60


class Browser:
    """A browser with one page, whose user trusts `bundle`."""

    def __init__(self, home, bundle):
        trust(home, bundle)
        profile = home / "profile"
        self.log = (home / "chromium.log").open("wb")
        environment = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home)}
        environment.pop("DBUS_SESSION_BUS_ADDRESS", None)
        self.process = subprocess.Popen(
            [PROGRAM, *ARGUMENTS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=environment,
        )
        try:
            port, path = self.announced(profile / "DevToolsActivePort")
            address = f"ws://127.0.0.1:{port}{path}"
            self.stack = contextlib.ExitStack()
            self.socket = self.stack.enter_context(connect(address, max_size=None, compression=None))
            self.numbers = itertools.count(1)
            [page] = [target for target in self.command("Target.getTargets")["targetInfos"] if target["type"] == "page"]
            attached = self.command("Target.attachToTarget", targetId=page["targetId"], flatten=True)
            self.session = attached["sessionId"]
        except BaseException:
            self.process.kill()
            raise

    def announced(self, path):
        """Port and path of its DevTools protocol, which it writes to a file once it listens."""
        deadline = time.monotonic() + PATIENCE_S
        while not path.exists() or len(lines := path.read_text().split()) < 2:
            assert self.process.poll() is None and time.monotonic() < deadline, pathlib.Path(self.log.name).read_text()
            time.sleep(0.05)
        return lines

    def command(self, method, **parameters):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if session := getattr(self, "session", None):
            message["sessionId"] = session
        self.socket.send(json.dumps(message))
        while True:
            answer = json.loads(self.socket.recv(timeout=PATIENCE_S))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def visit(self, url, headers):
        """Loads a page to its end, with these headers on every request from here on."""
        self.command("Network.enable")
        self.add_headers(headers)
        loaded = self.command("Page.navigate", url=url)
        assert not loaded.get("errorText"), loaded
        deadline = time.monotonic() + PATIENCE_S
        while self.evaluate("document.readyState") != "complete":
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def add_headers(self, headers):
        """Sets the headers that are added to every request, and replaces earlier ones."""
        self.command("Network.setExtraHTTPHeaders", headers=headers)

    def evaluate(self, expression):
        """Waits until an expression in the page has a value, and returns it."""
        answer = self.command("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def stop(self):
        self.session = None
        self.command("Browser.close")
        self.stack.close()
        self.process.wait(timeout=PATIENCE_S)
        self.log.close()


def trust(home, bundle):
    """Adds a certificate authority to the browser's trusted ones, as a user does."""
    database = home / ".pki/nssdb"
    database.mkdir(parents=True)
    for words in (["-N", "--empty-password"], ["-A", "-t", "C,,", "-n", "hearth", "-i", bundle]):
        subprocess.run(["certutil", "-d", f"sql:{database}", *words], check=True, timeout=60)
