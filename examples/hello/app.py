"""A counter that survives suspension, and the lifecycle hooks of Lambda MicroVMs. Standard library only."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOOKS = "/aws/lambda-microvms/runtime/v1/"

# Lives in memory alone: it is there after a suspend because the whole microVM is.
state = {"count": 0, "microvm": None, "payload": None, "hooks": []}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        state["count"] += 1
        self.answer(
            200,
            {
                "greeting": os.environ["GREETING"],
                "image": os.environ["AWS_LAMBDA_MICROVM_IMAGE_NAME"],
                "random": os.urandom(16).hex(),
                **state,
            },
        )

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.path.startswith(HOOKS):
            self.answer(200, {"bytes": len(body)})
            return
        hook = self.path.removeprefix(HOOKS)
        state["hooks"].append(hook)
        print("hook", hook)
        if hook == "run":
            told = json.loads(body)
            state["microvm"], state["payload"] = told["microvmId"], told["runHookPayload"]
        self.answer(200, {})

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Logs calls of hooks only."""


print("serving")
ThreadingHTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
