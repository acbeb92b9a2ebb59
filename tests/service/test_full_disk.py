"""A host whose disk is full: what runs runs on, what is saved stays saved, callers are told, and all goes on once there is room.

Each single write of a suspend, a fork, a launch and a resume is refused in `tests/machine`; each write of the control plane in
hearth-control's `tests/it/crash.rs`.
"""

import contextlib
import os
import subprocess
import threading
import time
import uuid

import botocore.exceptions
import pytest

from .test_crashes import WEDGED_S, nobody_is_left_without_an_owner
from .test_outlives import exec_inside, inside, service_pid, wait_for_successor

pytestmark = pytest.mark.skipif(
    os.environ.get("HEARTH_PLACE") == "here", reason="this machine's disk is not filled for a test"
)

FILLER = "/data/filler"

DELETIONS_S = 300


def used_kib():
    return int(inside("/bin/busybox", "df", "-k", "/data").splitlines()[-1].split()[2])


def wait_for_deletions(hearth, mine):
    """What earlier tests have ended and deleted goes in the background, and would make room on a disk that is to be full."""
    deadline, readings = time.monotonic() + DELETIONS_S, []
    while True:
        leaving = [
            item
            for item in hearth.microvms.list_microvms()["items"]
            if item["state"] != "TERMINATED" and item["microvmId"] not in mine
        ]
        readings.append(used_kib())
        if not leaving and len(readings) >= 5 and max(readings[-5:]) - min(readings[-5:]) <= 1024:
            return
        assert time.monotonic() < deadline, f"the use of the disk does not settle: {readings[-5:]} KiB, {leaving}"
        time.sleep(2)


@contextlib.contextmanager
def full_disk():
    """Takes what is free down to the last block, and what is given back until what it yields is called: a service that starts
    gives back what it keeps for that."""
    script = f"""
        touch {FILLER}
        n=0
        while [ -e {FILLER} ]; do
            for size in 1048576 65536 4096 256 4; do
                while fallocate -l $(( size * 1024 )) {FILLER}.$n 2>/dev/null; do n=$(( n + 1 )); done
                rm -f {FILLER}.$n
            done
            df -k /data | tail -n 1
            usleep 100000
        done
    """
    command = exec_inside("/bin/busybox", "sh", "-c", script)
    filling = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        print("full:", filling.stdout.readline())
        # Nobody else may hold up the filling by not reading.
        reading = threading.Thread(target=lambda: print("at last:", (filling.stdout.readlines() or ["?"])[-1]))
        reading.start()
        yield lambda: end(filling, reading)
    finally:
        end(filling, reading)
        inside("/bin/busybox", "sh", "-c", f"rm -f {FILLER}*")


def end(filling, reading):
    """Stops filling the disk. The file that fills it stays."""
    inside("/bin/busybox", "rm", "-f", FILLER)
    assert filling.wait(timeout=DELETIONS_S) == 0
    reading.join()


def attempt(what, **members):
    """Calls an operation that may fail on a full disk: the error must then be a server error."""
    try:
        return what(**members)
    except botocore.exceptions.ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500, error.response
        return None


def settled(hearth, session):
    """The state that a microVM comes to rest in."""
    deadline = time.monotonic() + WEDGED_S
    while True:
        microvm = hearth.microvms.get_microvm(microvmIdentifier=session.id)
        if microvm["state"] in ("RUNNING", "SUSPENDED", "TERMINATED"):
            return microvm
        assert time.monotonic() < deadline, f"wedged: {microvm}"
        time.sleep(0.2)


def test_a_full_disk_loses_nothing(hearth, hello):
    microvms = hearth.microvms
    running, sleeping = hearth.run(hello), hearth.run(hello)
    assert [session.get()["count"] for session in (running, sleeping)] == [1, 1]
    microvms.suspend_microvm(microvmIdentifier=sleeping.id)
    hearth.wait_microvm(sleeping.id, "SUSPENDED")
    bucket = f"full-{uuid.uuid4().hex[:8]}"
    hearth.s3.create_bucket(Bucket=bucket)
    before = service_pid()
    wait_for_deletions(hearth, mine={running.id, sleeping.id})

    with full_disk() as stop_filling:
        attempt(microvms.suspend_microvm, microvmIdentifier=running.id)
        assert settled(hearth, running)["state"] == "RUNNING"
        assert running.get()["count"] == 2
        attempt(microvms.resume_microvm, microvmIdentifier=sleeping.id)
        assert settled(hearth, sleeping)["state"] == "SUSPENDED"
        with pytest.raises(botocore.exceptions.ClientError) as refused:
            hearth.s3.put_object(Bucket=bucket, Key="large", Body=b"x" * (16 << 20))
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
        launched = attempt(microvms.run_microvm, imageIdentifier=hello)
        if launched:
            hearth.wait_microvm(launched["microvmId"], "TERMINATED")
        stop_filling()
        # Killed and started again without room, it finds all that it had.
        inside("/bin/busybox", "kill", "-9", before)
        wait_for_successor(hearth, before)
        assert settled(hearth, running)["state"] == "RUNNING"
        assert settled(hearth, sleeping)["state"] == "SUSPENDED"
        assert running.get()["count"] == 3
    assert "Contents" not in hearth.s3.list_objects_v2(Bucket=bucket)

    microvms.suspend_microvm(microvmIdentifier=running.id)
    hearth.wait_microvm(running.id, "SUSPENDED")
    for session in (running, sleeping):
        microvms.resume_microvm(microvmIdentifier=session.id)
        hearth.wait_microvm(session.id, "RUNNING")
    assert (running.get()["count"], sleeping.get()["count"]) == (4, 2)
    for session in (running, sleeping):
        session.terminate()
    nobody_is_left_without_an_owner(hearth)
