"""kill -9 of the service: microVMs run on, and the next start takes them up again."""

import http.client
import json
import os
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from .conftest import Session
from .test_operations import Operator


def exec_inside(*argv):
    """The command that runs a command in the emulated host."""
    return [os.environ["HEARTH"], "--data", os.environ["HEARTH_DATA"], "host", "exec", "--", *argv]


def inside(*argv):
    """Runs a command in the emulated host. Returns its output."""
    command = exec_inside(*argv)
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, stdin=subprocess.DEVNULL).stdout


def crash_at(file, point):
    """Says where the service (`crash-point`) or the next VMM (`vmm-crash-point`) ends, or where that is held up (`vmm-slow-point`); see
    `hearth-node/src/crash_point.rs`."""
    inside("/bin/busybox", "sh", "-c", f"echo {point} > /data/hearth/{file}")


def is_awaited(file):
    """Whether the crash point was not reached yet: its file still exists."""
    return file in inside("/bin/busybox", "ls", "/data/hearth").split()


def service_pid():
    """The pid of the service; None while it is being restarted."""
    # One may have ended since it was listed.
    script = "for p in $(pidof hearth); do grep -q in-emulated-host /proc/$p/cmdline 2>/dev/null && echo $p; done; true"
    return (inside("/bin/busybox", "sh", "-c", script).split() or [None])[0]


@pytest.mark.skipif(
    os.environ.get("HEARTH_PLACE") == "here",
    reason="without the emulated host nothing starts the service again but its operator",
)
def test_running_and_suspended_microvms_outlive_the_service(hearth, hello):
    running, suspended = hearth.run(hello), hearth.run(hello)
    assert [session.get()["count"] for session in (running, suspended)] == [1, 1]
    hearth.microvms.suspend_microvm(microvmIdentifier=suspended.id)
    hearth.wait_microvm(suspended.id, "SUSPENDED")
    token = running.token()
    before = service_pid()

    inside("/bin/busybox", "kill", "-9", before)
    wait_for_successor(hearth, before)

    # The same process in the same guest, and a token from before.
    status, body = running.request(token=token)
    assert status == 200 and json.loads(body)["count"] == 2
    states = {item["microvmId"]: item["state"] for item in hearth.microvms.list_microvms()["items"]}
    assert (states[running.id], states[suspended.id]) == ("RUNNING", "SUSPENDED")
    hearth.microvms.resume_microvm(microvmIdentifier=suspended.id)
    hearth.wait_microvm(suspended.id, "RUNNING")
    assert suspended.get()["count"] == 2
    for session in (running, suspended):
        session.terminate()


@pytest.mark.skipif(
    os.environ.get("HEARTH_PLACE") == "here",
    reason="without the emulated host nothing starts the service again but its operator",
)
@pytest.mark.parametrize("point", ["seal.frozen", "fork.sealed", "fork.launched"])
def test_a_service_that_dies_in_a_fork_leaves_the_parent_as_it_was(hearth, hello, point):
    parent = hearth.run(hello)
    assert parent.get()["count"] == 1
    before = service_pid()
    crash_at("crash-point", point)
    attempt(Operator(hearth, parent))
    wait_for_successor(hearth, before)
    assert not is_awaited("crash-point"), "it was not reached"

    assert parent.get()["count"] == 2
    deadline = time.monotonic() + 60
    while True:
        items = hearth.microvms.list_microvms(imageIdentifier=hello)["items"]
        children = [item for item in items if item["startedAt"] > started(hearth, parent)]
        if all(child["state"] in ("RUNNING", "TERMINATED") for child in children):
            break
        assert time.monotonic() < deadline, children
        time.sleep(0.5)
    assert len(children) <= 1, children
    for child in children:
        answer = hearth.microvms.get_microvm(microvmIdentifier=child["microvmId"])
        if answer["state"] == "RUNNING":
            assert Session(hearth, child["microvmId"], answer["endpoint"]).get()["count"] == 2
            hearth.microvms.terminate_microvm(microvmIdentifier=child["microvmId"])
            hearth.wait_microvm(child["microvmId"], "TERMINATED")
        else:
            assert answer["stateReason"] == "The fork was interrupted by a restart of the service."
    # It can be forked and suspended as before.
    Operator(hearth, parent).fork().terminate()
    hearth.microvms.suspend_microvm(microvmIdentifier=parent.id)
    hearth.wait_microvm(parent.id, "SUSPENDED")
    parent.terminate()


def attempt(operator):
    """A fork that may be cut off."""
    try:
        operator.call("POST", "fork")
    except (OSError, http.client.HTTPException):
        pass


def started(hearth, session):
    return hearth.microvms.get_microvm(microvmIdentifier=session.id)["startedAt"]


def wait_for_successor(hearth, before):
    deadline = time.monotonic() + 120
    while service_pid() in (None, before) or not serves(hearth):
        assert time.monotonic() < deadline, "the service did not come back"
        time.sleep(0.5)


def serves(hearth):
    try:
        return urllib.request.urlopen(hearth.settings["endpoint_url"] + "/health", timeout=5).status == 200
    except (urllib.error.URLError, OSError):
        return False
