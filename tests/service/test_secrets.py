"""Secrets appear neither in the service's output nor in files that others may read."""

import json
import os
import pathlib
import subprocess
import uuid

import pytest

from .test_guest_services import TRUST, Guest

MARK = uuid.uuid4().hex
KEY_FILES = ("control.db", "logs.db", "audit.log", "client.json", "session-key", "page-key", "endpoint-keys.json")

# Arguments everybody reads, environments the process's user and root.
SHOWN_OF_PROCESSES = "for each in /proc/[0-9]*; do cat $each/cmdline $each/environ 2> /dev/null; done"


def on_the_host(*command):
    """Runs a command where the service runs: here, or inside the emulated host."""
    if os.environ["HEARTH_PLACE"] != "here":
        command = (os.environ["HEARTH"], "--data", os.environ["HEARTH_DATA"], "host", "exec", "--", "/bin/busybox", *command)
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)


@pytest.fixture(scope="module")
def data():
    if os.environ["HEARTH_PLACE"] == "here":
        return os.environ["HEARTH_DATA"]
    [key] = on_the_host("find", "/", "-xdev", "-name", "session-key").stdout.split() or on_the_host(
        "find", "/", "-name", "session-key").stdout.split()
    return str(pathlib.PurePosixPath(key).parent)


def test_nobody_else_reads_the_data(data):
    mode = lambda name: on_the_host("stat", "-c", "%a", f"{data}/{name}").stdout.strip()
    assert mode("") == "700"
    assert {name: mode(name) for name in KEY_FILES} == dict.fromkeys(KEY_FILES, "600")


def test_nothing_that_was_secret_is_said(hearth, hello, data):
    iam, name = hearth.client("iam"), f"secret-{MARK[:8]}"
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    session = hearth.run(hello, executionRoleArn=role, runHookPayload=f"payload-{MARK}")
    guest = Guest(hearth, session)
    guest.execute("sh", "-c", "cat; exit 3", env={"PASSWORD": f"variable-{MARK}"}, stdin="c3RkaW4=")
    guest.call("PUT", "files", f"content-{MARK}".encode(), path=f"/tmp/{MARK}")
    keys = guest.ask("keys()")
    token = session.token()["X-aws-proxy-auth"]
    session.get()
    # What fails is told with its cause, which must not be the secret either.
    guest.call("POST", "exec", json.dumps({"command": ["/none"], "env": {"PASSWORD": f"variable-{MARK}"}}).encode())
    session.request(token={"X-aws-proxy-auth": token + "x"})
    processes = on_the_host("sh", "-c", f"{SHOWN_OF_PROCESSES} | tr '\\0' '\\n'").stdout
    session.terminate()
    secrets = {
        "payload": f"payload-{MARK}",
        "variable": f"variable-{MARK}",
        "content": f"content-{MARK}",
        "role's secret": keys["SecretAccessKey"],
        "role's token": keys["Token"],
        "endpoint token": token,
        "account's secret": hearth.settings["secret_access_key"],
    }
    said = pathlib.Path(os.environ["HEARTH_OUTPUT"]).read_text(errors="replace")
    assert session.id in said
    logs = [path for path in on_the_host("find", f"{data}/", "-name", "*.log").stdout.split() if "serial" not in path]
    assert f"{data}/audit.log" in [path.replace("//", "/") for path in logs]
    said += "".join(on_the_host("cat", path).stdout for path in logs)
    assert session.id in said
    assert [name for name, secret in secrets.items() if secret in said] == []
    # Of the microVM's own process too, which was there.
    assert "hearth-vmm" in processes and session.id in processes
    assert [name for name, secret in secrets.items() if secret in processes] == []
