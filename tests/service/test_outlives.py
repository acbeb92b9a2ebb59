"""kill -9 of the service: microVMs run on, and the next start takes them up again."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request

import pytest


def inside(*argv):
    """Runs a command in the emulated host; answers what it printed."""
    command = [os.environ["HEARTH"], "--data", os.environ["HEARTH_DATA"], "host", "exec", "--", *argv]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, stdin=subprocess.DEVNULL).stdout


def service_pid():
    """The newest process of that name which is no command of this test."""
    for pid in inside("/bin/busybox", "sh", "-c", "pidof hearth || true").split():
        if "--in-emulated-host" in inside("/bin/busybox", "cat", f"/proc/{pid}/cmdline"):
            return pid
    return None


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
    deadline = time.monotonic() + 120
    while service_pid() in (None, before) or not serves(hearth):
        assert time.monotonic() < deadline, "the service did not come back"
        time.sleep(0.5)

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


def serves(hearth):
    try:
        return urllib.request.urlopen(hearth.settings["endpoint_url"] + "/health", timeout=5).status == 200
    except (urllib.error.URLError, OSError):
        return False


def test_nothing_is_left_when_everything_has_ended(hearth, hello):
    """Seen from outside the API: processes and files."""
    for item in hearth.microvms.list_microvms()["items"]:
        assert item["state"] == "TERMINATED", item
    if os.environ.get("HEARTH_PLACE") != "lab":
        pytest.skip("processes of other users of this machine cannot be told apart")
    assert inside("/bin/busybox", "sh", "-c", "pidof hearth-vmm || true").strip() == ""
    assert inside("/bin/busybox", "ls", "/data/hearth/machines").strip() == ""
    left = inside("/bin/busybox", "ls", "/data/hearth/snapshots").split()
    images = hearth.microvms.list_microvm_images()["items"]
    successful = [image for image in images if image["state"] in ("CREATED", "UPDATED")]
    assert len(left) == len(successful), (left, images)
