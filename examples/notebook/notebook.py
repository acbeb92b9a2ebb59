"""A notebook: cells that share their variables, their output and plots, and the whole as an .ipynb file.

    POST /cells       {"source": "..."}   runs a new cell at the end; answers it with its outputs
    POST /cells/N     {"source": "..."}   runs cell N anew
    POST /interrupt                       stops the cell that runs
    GET  /notebook.ipynb                  the notebook, format 4, for Jupyter

One microVM is one notebook: it sleeps when nobody reads it, and wakes with all its variables.
"""

import ast
import base64
import contextlib
import io
import json
import pathlib
import re
import signal
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue

# Imported here, they are in the snapshot.
import matplotlib.pyplot as plt
import numpy
import pandas

MAX_SOURCE_BYTES = 1 << 20
MAX_OUTPUT_CHARACTERS = 1 << 20

PAGE = pathlib.Path(__file__).with_name("page.html").read_bytes()

variables = {"__name__": "__main__", "np": numpy, "pd": pandas, "plt": plt}
cells = []
runs = 0
# Cells run in the main thread, since only that one can be interrupted; requests wait for it.
waiting = SimpleQueue()
running = threading.Event()


def evaluate(source):
    """Runs statements; answers the value of the last one when it is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), variables)
    return None if last is None else eval(compile(ast.Expression(last.value), "<cell>", "eval"), variables)


def outputs_of(source, number):
    """The output, plots and value of a cell, in the notebook format."""
    printed, outputs, value = io.StringIO(), [], None
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            value = evaluate(source)
        except BaseException as error:
            told = traceback.format_exc().splitlines()
            outputs.append({"output_type": "error", "ename": type(error).__name__, "evalue": str(error), "traceback": told})
    if text := printed.getvalue()[:MAX_OUTPUT_CHARACTERS]:
        outputs.insert(0, {"output_type": "stream", "name": "stdout", "text": text})
    for figure in map(plt.figure, plt.get_fignums()):
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
        data = {"image/png": base64.b64encode(picture.getvalue()).decode()}
        outputs.append({"output_type": "display_data", "data": data, "metadata": {}})
    plt.close("all")
    if value is not None:
        data = {"text/plain": repr(value)[:MAX_OUTPUT_CHARACTERS]}
        if html := getattr(value, "_repr_html_", lambda: None)():
            data["text/html"] = html
        outputs.append({"output_type": "execute_result", "execution_count": number, "data": data, "metadata": {}})
    return outputs


def run_cells():
    """Runs cells in the main thread, one after the other."""
    global runs
    while True:
        source, index, done = waiting.get()
        runs += 1
        running.set()
        try:
            outputs = outputs_of(source, runs)
        except KeyboardInterrupt:
            # It came when the cell had ended.
            outputs = []
        running.clear()
        cell = {"cell_type": "code", "execution_count": runs, "metadata": {}, "source": source, "outputs": outputs}
        cells[index:] = [cell, *cells[index + 1 :]]
        done.put(cell)


def notebook():
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"nbformat": 4, "nbformat_minor": 4, "metadata": {"kernelspec": kernel}, "cells": cells}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/":
            self.answer(200, PAGE, "text/html; charset=utf-8")
        elif self.path == "/notebook.ipynb":
            self.answer(200, notebook())
        else:
            self.answer(404, {"message": "there are / and /notebook.ipynb"})

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_SOURCE_BYTES:
            self.close_connection = True
            return self.answer(413, {"message": f"at most {MAX_SOURCE_BYTES} bytes"})
        body = self.rfile.read(length)
        if self.path == "/interrupt":
            if is_running := running.is_set():
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            return self.answer(200, {"interrupted": is_running})
        place = re.fullmatch(r"/cells(?:/(\d{1,6}))?", self.path)
        index = len(cells) if place and place[1] is None else int(place[1]) if place else -1
        if not 0 <= index <= len(cells):
            return self.answer(404, {"message": "there is no such cell"})
        try:
            source = json.loads(body)["source"]
        except (ValueError, KeyError, TypeError):
            return self.answer(400, {"message": "send JSON with a member source"})
        done = SimpleQueue()
        waiting.put((source, index, done))
        self.answer(200, done.get())

    def answer(self, status, content, kind="application/json"):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Logs nothing: a line for each request would be noise."""


# Fonts are looked for at the first plot: better now than in every notebook.
outputs_of("plt.plot([0, 1])", 0)
threading.Thread(target=ThreadingHTTPServer(("127.0.0.1", 8080), Handler).serve_forever, daemon=True).start()
print("the notebook is open")
run_cells()
