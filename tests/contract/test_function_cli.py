"""`hearth function` against the development front, whose functions are processes of this machine."""

import json
import os
import queue
import signal
import stat
import subprocess
import threading
import zipfile

import pytest

from .functions import new_name
from .hearth_cli import Cli
from .invocations import bootstrap, wait, zipped

ECHO = """
    def handler(event, headers):
        print("said", json.dumps(event), os.environ.get("GREETING"))
        return {"event": event}
"""

FAILS = """
    def handler(event, headers):
        print("before the end")
        raise ValueError("no such thing")
"""


@pytest.fixture
def cli(server, tmp_path):
    return Cli(server, tmp_path / "data")


@pytest.fixture
def folder(tmp_path):
    return code(tmp_path / "folder")


@pytest.fixture
def name(cli):
    name = new_name("cli")
    yield name
    subprocess.run([cli.program, "function", "rm", name], env=cli.environment, capture_output=True)


def code(folder, text=ECHO):
    """A folder with a program of its own."""
    folder.mkdir(exist_ok=True)
    program = folder / "bootstrap"
    # At once, as editors do: what watches the folder never sees a half.
    arriving = folder.parent / "arriving"
    arriving.write_text(bootstrap(text))
    arriving.chmod(0o755)
    arriving.rename(program)
    return folder


def test_from_a_folder_to_an_answer_and_away(cli, folder, name):
    settings = ("--memory", 256, "--timeout", 9, "-e", "GREETING=hi", "--description", "of a test")
    assert cli.text("function", "create", folder, "--name", name, *settings) == name
    shown = cli.json("function", "show", name)["Configuration"]
    assert (shown["Runtime"], shown["Handler"], shown["State"]) == ("provided.al2023", "bootstrap", "Active")
    assert (shown["MemorySize"], shown["Timeout"], shown["Description"]) == (256, 9, "of a test")
    assert shown["Environment"] == {"Variables": {"GREETING": "hi"}}
    assert shown["Role"].endswith(":role/hearth-function")
    answered = cli.run("function", "invoke", name, '{"a": 1}')
    assert json.loads(answered.stdout) == {"event": {"a": 1}}
    assert answered.stderr == b""
    listed = cli.text("function", "ls").splitlines()
    assert listed[0].split() == ["NAME", "RUNTIME", "STATE", "MEMORY", "TIMEOUT", "CODE", "MODIFIED"]
    row = next(line for line in listed if line.startswith(name))
    assert row.split()[:7] == [name, "provided.al2023", "Active", "256", "MB", "9", "s"]
    told = cli.text("function", "show", name)
    for expected in (f"/aws/lambda/{name}", "GREETING=hi", "$LATEST", "256 MB"):
        assert expected in told
    lines = wait(lambda: cli.text("function", "logs", name), lambda text: "REPORT" in text).splitlines()
    assert any('said {"a": 1} hi' in line for line in lines) and any(line.startswith("START") for line in lines)
    assert cli.text("function", "logs", name, "--tail", 1).startswith("REPORT")
    assert cli.text("function", "rm", name) == name
    missing = cli.error("function", "show", name, status=3)
    assert "Function not found" in missing and "hearth function ls" in missing
    assert name not in cli.text("function", "ls")


def test_events_come_from_arguments_files_and_standard_input(cli, folder, name, tmp_path):
    cli.run("function", "create", folder, "--name", name)
    event = tmp_path / "event.json"
    event.write_text('{"from": "file"}')
    invoke = ("function", "invoke", name)
    answered = lambda *words, **options: json.loads(cli.run(*invoke, *words, **options).stdout)["event"]
    assert answered() == {}
    assert answered("[1, 2]") == [1, 2]
    assert answered("--event", event) == {"from": "file"}
    assert answered("--event", "-", stdin=b'"piped"') == "piped"
    assert answered("-", stdin=b"7") == 7
    assert "no JSON" in cli.error(*invoke, "text", status=2)
    assert "cannot read" in cli.error(*invoke, "--event", tmp_path / "none")
    told = cli.json(*invoke, '{"a": 1}', "--log")
    assert (told["StatusCode"], told["ExecutedVersion"], told["Payload"]) == (200, "$LATEST", {"event": {"a": 1}})
    assert told["Log"].startswith("START RequestId: ")
    assert cli.run(*invoke, '{"b": 2}', "--async").stdout == b""
    wait(lambda: cli.text("function", "logs", name), lambda text: 'said {"b": 2}' in text)


def test_a_failure_of_the_function_is_one(cli, tmp_path, name):
    cli.run("function", "create", code(tmp_path / "folder", FAILS), "--name", name)
    ran = cli.run("function", "invoke", name, "--log", status=1)
    assert json.loads(ran.stdout) == {"errorMessage": "no such thing", "errorType": "ValueError"}
    told = ran.stderr.decode()
    assert "error: ValueError: no such thing" in told and "hearth function logs" in told
    assert "| before the end" in told and "| REPORT RequestId:" in told
    told = cli.run("function", "invoke", name, "--json", status=1)
    assert json.loads(told.stdout)["FunctionError"] == "Unhandled"


def test_an_update_changes_code_settings_or_both(cli, folder, name, tmp_path, server):
    cli.run("function", "create", folder, "--name", name, "-e", "GREETING=hi", "-e", "OTHER=1")
    assert cli.text("function", "update", "--name", name, "--memory", 512, "-e", "GREETING=ho") == name
    shown = cli.json("function", "show", name)["Configuration"]
    assert (shown["MemorySize"], shown["Environment"]["Variables"]) == (512, {"GREETING": "ho"})
    first = shown["CodeSha256"]
    other = tmp_path / "other.zip"
    other.write_bytes(zipped({"bootstrap": bootstrap("def handler(event, headers):\n    return 'other'")}))
    updated = cli.json("function", "update", other, "--name", name, "--timeout", 5)
    assert updated["CodeSha256"] != first and updated["Timeout"] == 5 and updated["MemorySize"] == 512
    assert updated["LastUpdateStatus"] == "Successful"
    assert cli.text("function", "invoke", name) == '"other"'
    client = server.client("lambda")
    version = client.publish_version(FunctionName=name)["Version"]
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    cli.run("function", "update", folder, "--name", name)
    assert json.loads(cli.text("function", "invoke", name)) == {"event": {}}
    for named in ((f"{name}:live",), (f"{name}:{version}",), (name, "--qualifier", "live")):
        assert cli.text("function", "invoke", *named) == '"other"'
    assert cli.json("function", "invoke", f"{name}:live")["ExecutedVersion"] == version
    assert "live" in cli.text("function", "show", name)
    assert cli.json("function", "show", name)["Aliases"][0]["Name"] == "live"


def test_errors_name_the_next_step(cli, folder, name, tmp_path):
    create = ("function", "create")
    cli.run(*create, folder, "--name", name)
    assert "hearth function update" in cli.error(*create, folder, "--name", name)
    assert "hearth function ls" in cli.error("function", "invoke", "nobody", status=3)
    assert "hearth function ls" in cli.error("function", "update", folder, "--name", "nobody", status=3)
    assert "--role" in cli.error(*create, folder, "--name", "x", "--role", "arn:aws:iam::000000000000:role/nobody")
    assert "--runtime" in cli.error(*create, folder, "--name", "x", "--runtime", "cobol85", "--handler", "a.b")
    assert "--name" in cli.error("function", "update", status=2)
    assert "nothing is to be changed" in cli.error("function", "update", "--name", name, status=2)
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    assert "no files" in cli.error(*create, nothing)
    (nothing / "notes.txt").write_text("x")
    assert "--handler" in cli.error(*create, nothing, status=2)
    assert "neither a folder nor a zip" in cli.error(*create, nothing / "notes.txt")
    (folder / "bootstrap").chmod(0o644)
    assert "chmod +x" in cli.error(*create, folder, "--name", "x", status=2)


def test_what_is_packed_keeps_modes_and_links(cli, folder, name, tmp_path, server):
    (folder / "lib").mkdir()
    (folder / "lib" / "data.txt").write_text("data")
    (folder / "link").symlink_to("lib/data.txt")
    (folder / "secret.txt").write_text("secret")
    (folder / ".dockerignore").write_text("secret.txt\n")
    cli.run("function", "create", folder, "--name", name)
    location = server.client("lambda").get_function(FunctionName=name)["Code"]["Location"]
    fetched = tmp_path / "fetched.zip"
    subprocess.run(["curl", "-fsS", "-o", str(fetched), location], check=True)
    with zipfile.ZipFile(fetched) as archive:
        modes = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
    assert "secret.txt" not in modes
    assert stat.S_IMODE(modes["bootstrap"]) == 0o755 and stat.S_ISLNK(modes["link"])
    assert "lib/data.txt" in modes


def test_python_is_guessed(cli, tmp_path):
    for text, file, runtime, handler in [
        ("def lambda_handler(event, context):\n    pass\n", "app.py", "python3.13", "app.lambda_handler"),
    ]:
        folder = tmp_path / new_name("guessed")
        folder.mkdir()
        (folder / file).write_text(text)
        try:
            # The name is the folder's.
            assert cli.text("function", "create", folder) == folder.name
            shown = cli.json("function", "show", folder.name)["Configuration"]
            assert (shown["Runtime"], shown["Handler"]) == (runtime, handler)
        finally:
            cli.run("function", "rm", folder.name)


class Reader:
    """The lines of a pipe as they come."""

    def __init__(self, pipe):
        self.lines = queue.Queue()
        threading.Thread(target=self.read, args=(pipe,), daemon=True).start()

    def read(self, pipe):
        for line in pipe:
            self.lines.put(line.rstrip("\n"))

    def next(self):
        return self.lines.get(timeout=60)

    def until(self, text):
        while text not in (line := self.next()):
            pass
        return line


def test_dev_deploys_and_invokes_on_each_change(cli, folder, name, tmp_path):
    event = tmp_path / "event.json"
    event.write_text('{"round": 1}')
    developing = cli.start("function", "dev", folder, "--name", name, "--event", event)
    try:
        out, told = Reader(developing.stdout), Reader(developing.stderr)
        assert json.loads(out.next()) == {"event": {"round": 1}}
        told.until("| REPORT RequestId:")
        told.until("waiting for a change")
        code(folder, FAILS)
        assert json.loads(out.next())["errorType"] == "ValueError"
        told.until("error: ValueError: no such thing")
        told.until("waiting for a change")
        code(folder)
        assert json.loads(out.next()) == {"event": {"round": 1}}
        told.until("waiting for a change")
        event.write_text('{"round": 22}')
        assert json.loads(out.next()) == {"event": {"round": 22}}
        told.until("waiting for a change")
        developing.send_signal(signal.SIGINT)
        assert developing.wait(20) == 0
        told.until(f"hearth function rm {name}")
    finally:
        developing.kill()
        developing.wait()
    # It stays.
    assert json.loads(cli.text("function", "invoke", name)) == {"event": {}}


def test_dev_updates_a_function_that_is_there(cli, folder, name, tmp_path):
    cli.run("function", "create", code(tmp_path / "other", FAILS), "--name", name)
    developing = cli.start("function", "dev", folder, "--name", name, "--memory", "256", "--json")
    try:
        told = json.loads(Reader(developing.stdout).next())
        assert told["Payload"] == {"event": {}} and "START RequestId" in told["Log"]
    finally:
        developing.send_signal(signal.SIGINT)
        developing.wait(20)
    assert cli.json("function", "show", name)["Configuration"]["MemorySize"] == 256


def test_dev_without_a_service_ends(tmp_path, folder, cli):
    cli.environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    assert "nothing answers" in cli.error("function", "dev", folder, status=4)
