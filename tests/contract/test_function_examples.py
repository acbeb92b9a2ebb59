"""The examples of functions: what they pack, what they answer, and their commands as far as they go without guests.

Runtimes are guests' things. Where HEARTH_DEV_PYTHON names a Python with `awslambdaric`, it runs them as processes.
"""

import importlib.util
import json
import os
import sys
import time

import pytest

from .functions import new_name, zipped
from .hearth_cli import ROOT, Cli

EXAMPLES = ROOT / "examples"


class Context:
    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self):
        return int((self.end - time.monotonic()) * 1000)


def module(path, monkeypatch, *places):
    for place in places:
        monkeypatch.syspath_prepend(str(place))
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def cli(server, tmp_path):
    return Cli(server, tmp_path / "data")


@pytest.fixture
def runner(monkeypatch):
    return module(EXAMPLES / "untrusted-python/function/runner.py", monkeypatch)


def presigned(s3, bucket, key):
    parameters = {"Bucket": bucket, "Key": key, "ContentType": "application/json"}
    return s3.generate_presigned_url("put_object", Params=parameters)


@pytest.fixture
def results(server):
    s3 = server.client("s3")
    s3.create_bucket(Bucket="untrusted-results")

    def of(key):
        return json.load(s3.get_object(Bucket="untrusted-results", Key=key)["Body"])

    return s3, "untrusted-results", of


def test_the_greeter_finds_its_layer(monkeypatch):
    place = EXAMPLES / "function-python"
    greeter = module(place / "function/greeter.py", monkeypatch, place / "layer/python")
    assert greeter.handler({"name": "Ada", "language": "fr"}, None)["greeting"] == "Bonjour, Ada!"
    with pytest.raises(ValueError, match="no greeting in xx"):
        greeter.handler({"language": "xx"}, None)
    sys.modules.pop("greetings", None)


def test_the_greeter_is_created_with_its_layer(cli, functions):
    layer = zipped({"python/greetings.py": (EXAMPLES / "function-python/layer/python/greetings.py").read_text()})
    published = functions.publish_layer_version(LayerName=new_name("layer"), Content={"ZipFile": layer}, CompatibleRuntimes=["python3.13"])
    name, arn = new_name("greeter"), published["LayerVersionArn"]
    cli.run("function", "create", EXAMPLES / "function-python/function", "--name", name, "--layer", arn)
    shown = cli.json("function", "show", name)["Configuration"]
    assert (shown["Runtime"], shown["Handler"]) == ("python3.13", "greeter.handler")
    assert [layer["Arn"] for layer in shown["Layers"]] == [arn]
    cli.run("function", "rm", name)


@pytest.mark.parametrize(
    "text, status, output",
    [
        ("print(6 * 7)", "done", "42\n"),
        ("import sys; print('no'); sys.exit(3)", "failed", "no\n"),
        ("while True: pass", "timeout", ""),
        # It leaves a process behind, which ends too.
        ("import os, time\nif os.fork() == 0: time.sleep(600)\nprint('forked')", "done", "forked\n"),
    ],
)
def test_code_of_a_user_is_run_and_its_result_stored(runner, results, text, status, output):
    s3, bucket, result = results
    event = {"code": text, "timeout_s": 1.5, "result_url": presigned(s3, bucket, "1.json")}
    started = time.monotonic()
    answered = runner.handler(event, Context(30))
    assert time.monotonic() - started < 10
    assert answered["status"] == status and answered["stored"] == {"http_status": 200}
    assert result("1.json") == {"status": status, "exit_status": answered["exit_status"], "output": output}


def test_code_of_a_user_has_neither_keys_in_its_variables_nor_endless_output(runner, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    told = runner.run("import os; print(sorted(os.environ))", 5)
    assert "AWS" not in told["output"] and told["status"] == "done"
    flood = runner.run("while True: print('x' * 65536)", 10)
    assert len(flood["output"]) == runner.MAX_OUTPUT_BYTES and flood["status"] != "done"


def test_the_time_of_the_code_is_within_the_invocation(runner):
    assert runner.timeout_s({}, Context(60)) == runner.TIMEOUT_S
    assert runner.timeout_s({"timeout_s": 3}, Context(60)) == 3
    assert runner.timeout_s({"timeout_s": 600}, Context(10)) < 8.1
    assert runner.timeout_s({}, Context(1)) == 0.1


def test_the_runner_runs_as_a_function(cli, results):
    if "HEARTH_DEV_PYTHON" not in os.environ:
        pytest.skip("HEARTH_DEV_PYTHON names no Python with awslambdaric")
    s3, bucket, result = results
    name = new_name("runner")
    cli.run("function", "create", EXAMPLES / "untrusted-python/function", "--name", name, "--timeout", 30)
    try:
        event = {"code": "print(6 * 7)", "result_url": presigned(s3, bucket, "2.json")}
        assert cli.json("function", "invoke", name, json.dumps(event))["Payload"]["status"] == "done"
        assert result("2.json")["output"] == "42\n"
        event = {"code": "while True: pass", "timeout_s": 1, "result_url": presigned(s3, bucket, "3.json")}
        assert cli.json("function", "invoke", name, json.dumps(event))["Payload"]["status"] == "timeout"
    finally:
        cli.run("function", "rm", name)
