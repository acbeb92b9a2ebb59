"""An application of WebSockets that sends back what it gets. It supports the subprotocol `chat`, which is optional."""

import contextlib
import threading

from websockets.sync.server import serve


def echo(socket):
    for message in socket:
        socket.send(message)


def choose(_, offered):
    return "chat" if "chat" in offered else None


@contextlib.contextmanager
def serving():
    """Serves in this process. Returns the port."""
    with serve(echo, "127.0.0.1", 0, select_subprotocol=choose) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()
