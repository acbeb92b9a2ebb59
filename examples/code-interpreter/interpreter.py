"""A code interpreter: POST code to /execute, get back what it printed, its value and the files it wrote.

One microVM is one session: variables stay from one call to the next, also over a suspend, and no other session sees them.
"""

import ast
import base64
import contextlib
import io
import json
import os
import tempfile
import traceback
from http.server import BaseHTTPRequestHandler, HTTPServer

# Imported here, they are in the snapshot: no session waits for them.
import matplotlib.pyplot
import numpy
import pandas

MAX_CODE_BYTES = 1 << 20
MAX_FILE_BYTES = 8 << 20

variables = {"__name__": "__main__", "np": numpy, "pd": pandas, "plt": matplotlib.pyplot}
work = tempfile.mkdtemp(prefix="session-")
os.chdir(work)


def run(code):
    """Runs statements; answers the value of the last one when it is an expression."""
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<code>", "exec"), variables)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), "<code>", "eval"), variables)


def files():
    """The files in the working directory, by name, with their modification times."""
    return {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(work) if entry.is_file()}


def execute(code):
    before = files()
    out, err, result, failed = io.StringIO(), io.StringIO(), None, False
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            result = run(code)
        except BaseException:
            traceback.print_exc()
            failed = True
    written = {name for name, time in files().items() if before.get(name) != time}
    return {
        "stdout": out.getvalue(),
        "stderr": err.getvalue(),
        "result": None if result is None else repr(result),
        "failed": failed,
        "files": {name: content(name) for name in sorted(written)},
    }


def content(name):
    with open(os.path.join(work, name), "rb") as file:
        return base64.b64encode(file.read(MAX_FILE_BYTES)).decode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(200, {"variables": sorted(name for name in variables if not name.startswith("__"))})

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if self.path.startswith("/aws/lambda-microvms/runtime/v1/"):
            self.rfile.read(length)
            self.answer(200, {})
        elif self.path != "/execute" or length > MAX_CODE_BYTES:
            self.close_connection = True
            self.answer(400, {"message": "POST JSON with a member code to /execute"})
        else:
            self.answer(200, execute(json.loads(self.rfile.read(length))["code"]))

    def answer(self, status, answer):
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Logs nothing: a line for each request would be noise."""


# Fonts are looked for at the first plot: better now than in every session.
figure = matplotlib.pyplot.figure()
figure.text(0, 0, "warm")
figure.savefig(io.BytesIO(), format="png")
matplotlib.pyplot.close(figure)
print("ready for code")
HTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
