"""Functions that misbehave: each fails alone, with the service's error."""

import json
import os
import time

import pytest

from .invocations import Functions, wait


@pytest.fixture(scope="module")
def functions(server):
    return Functions(server)


@pytest.fixture(scope="module")
def innocent(functions):
    return functions.create("def handler(event, headers): return 'fine'")


@pytest.fixture(autouse=True)
def others_are_served(functions, innocent):
    yield
    assert functions.invoke(innocent).json == "fine"


def test_garbage_to_the_runtime_api(functions):
    name = functions.create(
        """
        import socket
        host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
        def send(bytes):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(bytes)
                connection.settimeout(0.2)
                try:
                    return connection.recv(1000).decode("latin-1")
                except OSError:
                    return ""
        def handler(event, headers):
            answers = [send(garbage) for garbage in (
                b"\\x00\\xff\\xfe" * 1000,
                b"GET / HTTP/1.1\\r\\n\\r\\n",
                b"POST /2018-06-01/runtime/invocation/x/response HTTP/1.1\\r\\nContent-Length: 99999999999\\r\\n\\r\\n",
                b"POST /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 0\\r\\n\\r\\n",
                b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n",
                b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nX: " + b"x" * 1000000,
            )]
            return [answer[:12] for answer in answers]
        """
    )
    answers = functions.invoke(name).json
    assert answers[1:4] == ["HTTP/1.1 404", "HTTP/1.1 400", "HTTP/1.1 405"]


def test_answers_twice_and_for_others(functions):
    name = functions.create(
        "",
        """
        while True:
            id, headers, event = next_event()
            results = [
                respond("00000000-0000-0000-0000-000000000000", "stolen")[::2],
                respond(event["other"], "stolen")[::2],
                respond(id, "first")[::2],
                respond(id, "second")[::2],
            ]
            print(json.dumps([[status, json.loads(body)] for status, body in results]), flush=True)
        """,
    )
    victim = functions.create("def handler(event, headers): time.sleep(1); return 'mine'")
    started = functions.invoke(victim, InvocationType="Event")
    answer = functions.invoke(name, {"other": started.request_id}, LogType="Tail")
    assert answer.json == "first"
    line = next(line for line in answer.log.split("\n") if line.startswith("[["))
    results = json.loads(line)
    unknown = [400, {"errorMessage": "Invalid request ID", "errorType": "InvalidRequestID"}]
    assert results[0] == results[1] == unknown
    assert results[2] == [202, {"status": "OK"}]
    assert results[3][0] == 403 and results[3][1]["errorType"] == "InvalidStateTransition"
    assert functions.invoke(name, {"other": "x"}).json == "first"


def test_never_calls_next(functions):
    name = functions.create("", "id, headers, event = next_event(); respond(id, 'done'); time.sleep(60)", Timeout=1)
    assert functions.invoke(name).json == "done"
    functions.wait_for_line(name, "Status: timeout")
    assert functions.invoke(name).json == "done"
    never = functions.create("", "time.sleep(60)", Timeout=1)
    begun = time.monotonic()
    answer = functions.invoke(never)
    assert answer.json["errorType"] == "Sandbox.Timedout"
    # The first init has ten seconds; the second has the function's timeout.
    assert 10 <= time.monotonic() - begun < 15


def test_next_without_an_answer(functions):
    name = functions.create(
        "",
        """
        while True:
            id, headers, event = next_event()
            status, _, body = call("GET", "invocation/next")
            respond(id, [status, json.loads(body)["errorType"]])
        """,
    )
    assert functions.invoke(name).json == [403, "InvalidStateTransition"]


def test_forks_that_go_on(functions, tmp_path):
    beat = tmp_path / "beat"
    name = functions.create(
        f"""
        beat = {str(beat)!r}
        def handler(event, headers):
            if os.fork() == 0:
                while True:
                    open(beat, "a").write("x")
                    time.sleep(0.01)
            time.sleep(0.2)
            if event.get("die"):
                os._exit(1)
            return 1
        """
    )
    assert functions.invoke(name).json == 1
    # The environment stands still between invocations.
    time.sleep(0.3)
    size = beat.stat().st_size
    time.sleep(0.3)
    assert beat.stat().st_size == size
    # When the runtime ends, what it has forked ends with it.
    assert functions.invoke(name, {"die": True}).json["errorType"] == "Runtime.ExitError"
    time.sleep(0.3)
    size = beat.stat().st_size
    time.sleep(0.3)
    assert beat.stat().st_size == size


def test_a_flood_of_output(functions):
    name = functions.create(
        """
        def handler(event, headers):
            if event.get("flood"):
                while True:
                    sys.stdout.write("x" * 100000)
            return 1
        """,
        Timeout=3,
        MemorySize=512,
    )
    assert functions.invoke(name).json == 1
    begun = time.monotonic()
    answer = functions.invoke(name, {"flood": True})
    assert answer.json["errorType"] == "Sandbox.Timedout"
    assert time.monotonic() - begun < 10
    assert functions.invoke(name).json == 1


def test_a_response_that_never_ends(functions):
    name = functions.create(
        "",
        """
        import socket
        host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
        id, headers, event = next_event()
        connection = socket.create_connection((host, int(port)))
        connection.sendall(f"POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 100\\r\\n\\r\\n".encode())
        if event.get("close"):
            connection.close()
        time.sleep(60)
        """,
        Timeout=1,
    )
    assert functions.invoke(name).json["errorType"] == "Sandbox.Timedout"


def test_many_connections(functions):
    name = functions.create(
        """
        import socket
        host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
        kept = []
        def handler(event, headers):
            for _ in range(200):
                kept.append(socket.create_connection((host, int(port))))
            return len(kept)
        """
    )
    assert functions.invoke(name).json == 200


def test_extensions_that_break(functions):
    """An extension that dies fails the invocation and not the host; one that is not registered holds up the init."""
    import sys

    from .invocations import bootstrap, zipped

    extension = f"#!{sys.executable}\nimport sys\nsys.exit(7)\n"
    layer = functions.lambda_.publish_layer_version(
        LayerName="broken", Content={"ZipFile": zipped({"extensions/broken": extension})}
    )["LayerVersionArn"]
    name = functions.create("def handler(event, headers): return 1", Layers=[layer])
    answer = functions.invoke(name)
    assert answer.error == "Unhandled"
    assert answer.json == {"errorType": "Extension.Crash", "errorMessage": f"RequestId: {answer.request_id} Error: exit status 7"}
