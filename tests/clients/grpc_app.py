"""A gRPC server as a program of its own, `grpc_app.py PORT`, and what clients do with it. Messages are plain bytes: what is
looked at is how calls travel and not how messages are written down.
"""

import queue
import sys
import time
from concurrent import futures

import grpc

SERVICE = "hearth.Test"


def echo(request, context):
    context.set_trailing_metadata((("said-last", "goodbye"),))
    return request


def count(request, context):
    for number in range(int(request)):
        yield str(number).encode()


def add(requests, context):
    return str(sum(map(int, requests))).encode()


def converse(requests, context):
    for request in requests:
        yield b"to " + request


def refuse(request, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as was asked for")


def wait(request, context):
    while context.is_active():
        time.sleep(0.05)
    return b""


METHODS = {
    "Echo": grpc.unary_unary_rpc_method_handler(echo),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Add": grpc.stream_unary_rpc_method_handler(add),
    "Converse": grpc.stream_stream_rpc_method_handler(converse),
    "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
    "Wait": grpc.unary_unary_rpc_method_handler(wait),
}


def start(address):
    """Starts a server. Returns it with its port."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, METHODS)])
    port = server.add_insecure_port(address)
    server.start()
    return server, port


def channel(endpoint, bundle_pem):
    """A channel through the endpoint, over TLS that trusts the bundle alone."""
    return grpc.secure_channel(endpoint, grpc.ssl_channel_credentials(bundle_pem))


def tell_story(channel, headers, timeout_s):
    """All four kinds of calls, trailers, statuses, deadlines and a client that leaves."""
    metadata = tuple((name.lower(), value) for name, value in headers.items())
    options = {"metadata": metadata, "timeout": timeout_s}
    path = f"/{SERVICE}/"

    answer, call = channel.unary_unary(path + "Echo").with_call(b"x" * 100_000, **options)
    assert answer == b"x" * 100_000
    assert ("said-last", "goodbye") in [(key, value) for key, value in call.trailing_metadata()]

    assert list(channel.unary_stream(path + "Count")(b"100", **options)) == [b"%d" % number for number in range(100)]
    assert channel.stream_unary(path + "Add")(iter([b"%d" % number for number in range(100)]), **options) == b"4950"

    # Each message is answered before the next one is sent: nothing waits for a buffer to fill.
    messages = queue.SimpleQueue()
    answers = channel.stream_stream(path + "Converse")(iter(messages.get, None), **options)
    for number in range(5):
        messages.put(b"%d" % number)
        assert next(answers) == b"to %d" % number
    messages.put(None)
    assert list(answers) == []

    assert status_of(lambda: channel.unary_unary(path + "Refuse")(b"", **options)) == (
        grpc.StatusCode.FAILED_PRECONDITION, "as was asked for"
    )
    assert status_of(lambda: channel.unary_unary(path + "Unknown")(b"", **options))[0] == grpc.StatusCode.UNIMPLEMENTED
    late = {**options, "timeout": 1}
    assert status_of(lambda: channel.unary_unary(path + "Wait")(b"", **late))[0] == grpc.StatusCode.DEADLINE_EXCEEDED
    leaving = channel.unary_unary(path + "Wait").future(b"", **options)
    leaving.cancel()
    assert leaving.cancelled()
    # What was left and what was late stands in nobody's way.
    assert channel.unary_unary(path + "Echo")(b"still here", **options) == b"still here"


def status_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError("it was answered")


if __name__ == "__main__":
    served, _ = start(f"127.0.0.1:{sys.argv[1]}")
    print("serving", flush=True)
    served.wait_for_termination()
