"""An application that keeps connections, believes a length before it looks for chunks, and says on its output what it was asked for."""

import http.server


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if "Content-Length" in self.headers:
            self.rfile.read(int(self.headers["Content-Length"].split(",")[0]))
        elif "Transfer-Encoding" in self.headers:
            self.read_chunks()
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def read_chunks(self):
        while size := int(self.rfile.readline().split(b";")[0], 16):
            self.rfile.read(size + 2)
        while self.rfile.readline().strip():
            pass

    do_POST = do_GET


http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
