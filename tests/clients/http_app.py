"""An application of HTTP/1.1 as users write it, with Python's standard library."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .pattern import blocks, digest, read_all


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.startswith("/source/"):
            mib = int(self.path.removeprefix("/source/"))
            self.begin(200, mib << 20)
            for block in blocks(mib):
                self.wfile.write(block)
        elif self.path == "/seen":
            self.answer({"peer": self.client_address[0], "headers": dict(self.headers.items())})
        elif self.path == "/events":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            for number in range(5):
                self.wfile.write(f"data: {number}\n\n".encode())
        else:
            self.begin(404, 0)

    def do_POST(self):
        if self.path == "/sink":
            count, hashed = digest(self.body())
            self.answer({"count": count, "hash": hashed})
        else:
            body = b"".join(self.body())
            self.begin(200, len(body))
            self.wfile.write(body)

    do_PUT = do_POST

    def body(self):
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            yield from read_all(self.rfile, int(self.headers.get("Content-Length") or 0))
            return
        while size := int(self.rfile.readline(), 16):
            yield from read_all(self.rfile, size)
            self.rfile.readline()
        self.rfile.readline()

    def answer(self, content):
        body = json.dumps(content).encode()
        self.begin(200, len(body))
        self.wfile.write(body)

    def begin(self, status, length):
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_):
        """Logs nothing."""


@contextlib.contextmanager
def serving(handler=Handler):
    """Serves in this process. Returns the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
