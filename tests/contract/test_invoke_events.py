"""Events, concurrency, and what a crash of the service leaves."""

import concurrent.futures
import json
import os
import signal
import time

import pytest
from botocore.exceptions import ClientError

from conftest import Server

from .invocations import Functions, wait

COUNT = """
    def handler(event, headers):
        with open(event["file"], "a") as file:
            file.write(headers["Lambda-Runtime-Aws-Request-Id"] + "\\n")
        time.sleep(event.get("sleep", 0))
        if event.get("fail"):
            raise ValueError("no")
        return 1
"""


@pytest.fixture(scope="module")
def functions(server):
    return Functions(server)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A server of this test's own."""
    monkeypatch.setenv("HEARTH_DEV_IDLE_MS", "1000")
    servers = []

    def start():
        directory = tmp_path / "server"
        directory.mkdir(exist_ok=True)
        servers.append(Server(directory))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def read(path):
    return path.read_text().split() if path.exists() else []


def test_an_event_is_accepted_and_run_once(functions, tmp_path):
    name, file = functions.create(COUNT), tmp_path / "ran"
    answer = functions.invoke(name, {"file": str(file)}, InvocationType="Event")
    assert (answer.status, answer.body, answer.version) == (202, b"", None)
    assert wait(lambda: read(file)) == [answer.request_id]
    time.sleep(0.5)
    assert len(read(file)) == 1


def test_invoke_async_is_an_event(functions, tmp_path):
    name, file = functions.create(COUNT), tmp_path / "ran"
    answer = functions.lambda_.invoke_async(FunctionName=name, InvokeArgs=json.dumps({"file": str(file)}))
    assert answer["Status"] == 202
    wait(lambda: read(file))


def test_a_failing_event_is_retried_with_its_request_id(functions, tmp_path):
    name, file = functions.create(COUNT), tmp_path / "ran"
    answer = functions.invoke(name, {"file": str(file), "fail": True}, InvocationType="Event")
    wait(lambda: read(file), lambda ran: len(ran) == 3)
    time.sleep(1.5)
    assert read(file) == [answer.request_id] * 3


def test_retries_are_those_of_the_configuration(functions, tmp_path):
    name, file = functions.create(COUNT), tmp_path / "ran"
    functions.lambda_.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    functions.invoke(name, {"file": str(file), "fail": True}, InvocationType="Event")
    wait(lambda: read(file))
    time.sleep(1)
    assert len(read(file)) == 1


def test_an_event_runs_the_code_of_its_time(functions, tmp_path):
    name, file = functions.create(COUNT), tmp_path / "ran"
    functions.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    functions.invoke(name, {"file": str(file), "sleep": 2}, InvocationType="Event")
    wait(lambda: read(file))
    functions.invoke(name, {"file": str(file)}, InvocationType="Event")
    functions.update(name, "def handler(event, headers): open(event['file'], 'a').write('new')")
    wait(lambda: read(file), lambda ran: "new" in ran)


def throttled(functions, name):
    with pytest.raises(ClientError) as caught:
        functions.invoke(name)
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert response["Error"]["Code"] == "TooManyRequestsException"
    assert response["Error"]["Message"] == "Rate Exceeded."
    assert "retry-after" in response["ResponseMetadata"]["HTTPHeaders"]
    return response["Reason"]


def test_a_reservation_of_nothing_turns_a_function_off(functions):
    name = functions.create("def handler(event, headers): return 1")
    functions.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    assert throttled(functions, name) == "ReservedFunctionConcurrentInvocationLimitExceeded"
    functions.lambda_.delete_function_concurrency(FunctionName=name)
    assert functions.invoke(name).json == 1


def test_a_reservation_bounds_what_runs_at_once(functions):
    name = functions.create("def handler(event, headers): time.sleep(event.get('s', 0)); return 1")
    functions.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(functions.invoke, name, {"s": 2})
        time.sleep(1)
        assert throttled(functions, name) == "ReservedFunctionConcurrentInvocationLimitExceeded"
        assert running.result().json == 1
    for _ in range(5):
        assert functions.invoke(name).json == 1


def test_two_hundred_invocations_over_twenty_environments(own):
    functions = Functions(own())
    name = functions.create(
        """
        import uuid
        own, busy = uuid.uuid4().hex, False
        def handler(event, headers):
            global busy
            assert not busy
            busy = True
            time.sleep(0.05)
            busy = False
            return [event["number"], own]
        """
    )
    functions.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=20)
    reasons = set()

    def run(number):
        while True:
            try:
                return functions.invoke(name, {"number": number}).json
            except ClientError as error:
                reasons.add(error.response["Reason"])
                time.sleep(0.1)

    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(run, range(200)))
    assert [answer[0] for answer in answers] == list(range(200))
    assert 1 < len({answer[1] for answer in answers}) <= 20
    assert reasons <= {"ReservedFunctionConcurrentInvocationLimitExceeded", "ReservedFunctionInvocationRateLimitExceeded"}
    # After the idle time nothing is left.
    environments = own_directory(functions) / "environments"
    wait(lambda: list(environments.iterdir()), lambda left: not left, seconds=20)


def own_directory(functions):
    return functions.server.directory


def kill(server):
    """As a crash: the service, and not what it has started."""
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()


@pytest.mark.parametrize("retries", [0, 2])
def test_events_outlive_a_kill_and_run_no_more_often_than_allowed(own, tmp_path, retries):
    first = own()
    functions = Functions(first)
    name = functions.create(COUNT)
    functions.lambda_.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=retries)
    functions.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    files = [tmp_path / f"ran-{number}" for number in range(20)]
    for number, file in enumerate(files):
        event = {"file": str(file), "sleep": 0.3, "fail": number % 2 == 1}
        functions.invoke(name, event, InvocationType="Event")
    wait(lambda: [file for file in files if read(file)])
    with concurrent.futures.ThreadPoolExecutor() as pool:
        other = functions.create(COUNT)
        waiting = pool.submit(functions.invoke, other, {"file": str(tmp_path / "sync"), "sleep": 5})
        wait(lambda: read(tmp_path / "sync"))
        kill(first)
        with pytest.raises(Exception):
            waiting.result()
    second = own()
    again = Functions(second)
    # None is lost: each has run at least once, and those that fail as often as they may.
    wait(lambda: [file for file in files if not read(file)], lambda missing: not missing, seconds=30)
    failing = files[1::2]
    if retries == 2:
        wait(lambda: [len(read(file)) for file in failing], lambda counts: min(counts) == 3, seconds=30)
    time.sleep(2)
    assert all(1 <= len(read(file)) <= retries + 1 for file in files), [len(read(file)) for file in files]
    assert again.invoke(name, {"file": str(tmp_path / "after")}).json == 1
