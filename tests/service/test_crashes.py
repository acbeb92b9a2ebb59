"""kill -9 of the service right before and right after every write of the control plane, in every transition of a real microVM.

What a development build does with the file `doom` is described in `hearth-service/src/doom.rs`. The same matrix over a simulated host, with
images, forks and full disks, is hearth-control's `tests/it/crash.rs`; this one shows that the real host keeps up with it.
"""

import itertools
import os
import time
import uuid

import botocore.exceptions
import pytest

from .conftest import Session
from .test_outlives import inside, serves, service_pid, wait_for_successor

pytestmark = pytest.mark.skipif(
    os.environ.get("HEARTH_PLACE") == "here",
    reason="without the emulated host nothing starts the service again but its operator",
)

DOOM = "/data/hearth/doom"
# No transition makes more writes; reaching it means that the matrix does not end.
MANY = 20
# A microVM may be between two states for 10 s; everything takes some twenty times as long in the emulated host.
WEDGED_S = 60


class Doomed:
    """The service, which dies at a write of what it is asked to do."""

    def __init__(self, hearth, side, write):
        self.hearth, self.doom = hearth, f"{side} {write}"
        self.crashes = 0

    def through(self, what, state):
        """Asks until it is answered, and waits until the microVM is there, through one death of the service."""
        before = service_pid()
        inside("/bin/busybox", "sh", "-c", f"echo {self.doom} > {DOOM}")
        answer = None
        deadline = time.monotonic() + 2 * WEDGED_S
        while True:
            try:
                answer = answer or what()
                microvm = self.hearth.microvms.get_microvm(microvmIdentifier=answer["microvmId"])
                if microvm["state"] == state:
                    break
            except botocore.exceptions.BotoCoreError:
                pass
            if service_pid() != before:
                wait_for_successor(self.hearth, before)
                # What was answered is to be found; what was not is asked for again, as every client does.
                deadline = min(deadline, time.monotonic() + WEDGED_S)
                answer = self.asked_again(what, answer, state)
            assert time.monotonic() < deadline, (answer, state)
            time.sleep(0.1)
        # Writes after the state was reached belong to it too.
        time.sleep(0.5)
        if service_pid() == before:
            inside("/bin/busybox", "rm", "-f", DOOM)
        else:
            wait_for_successor(self.hearth, before)
            self.crashes += 1
        return microvm

    def asked_again(self, what, answer, state):
        """A transition that the crash undid is made by asking once more; one that it did not undo is not harmed by it."""
        deadline = time.monotonic() + WEDGED_S
        while answer is not None:
            microvm = self.hearth.microvms.get_microvm(microvmIdentifier=answer["microvmId"])
            if microvm["state"] == state:
                return answer
            if microvm["state"] in ("RUNNING", "SUSPENDED", "TERMINATED"):
                break
            assert time.monotonic() < deadline, f"wedged: {microvm}"
            time.sleep(0.2)
        return what()


@pytest.mark.parametrize("side", ["before", "after"])
def test_no_write_loses_a_microvm(hearth, hello, side):
    microvms = hearth.microvms
    for write in itertools.count(1):
        assert write < MANY
        doomed = Doomed(hearth, side, write)
        # The same token makes the same microVM, however often it is asked for.
        token = uuid.uuid4().hex
        started = doomed.through(lambda: microvms.run_microvm(imageIdentifier=hello, clientToken=token), "RUNNING")
        session = Session(hearth, started["microvmId"], started["endpoint"])
        assert session.get()["count"] == 1
        named = {"microvmIdentifier": session.id}
        reply = lambda operation: lambda: operation(**named) and {"microvmId": session.id}

        doomed.through(reply(microvms.suspend_microvm), "SUSPENDED")
        doomed.through(reply(microvms.resume_microvm), "RUNNING")
        assert session.get()["count"] == 2, "the memory of the session was lost"
        doomed.through(reply(microvms.terminate_microvm), "TERMINATED")
        print(f"{side} write {write}: {doomed.crashes} crashes")
        if doomed.crashes == 0:
            break
    assert write > 2, "nothing was written"
    nobody_is_left_without_an_owner(hearth)


def nobody_is_left_without_an_owner(hearth):
    """Counted on the host, not by the API."""
    alive = {m["microvmId"] for m in microvms_of(hearth) if m["state"] not in ("TERMINATED", "SUSPENDED")}
    script = "pidof hearth-vmm | wc -w; ls /data/hearth/machines | wc -l; ls -d /sys/fs/cgroup/hearth/*/*/ | wc -l; mount | wc -l"
    deadline = time.monotonic() + WEDGED_S
    while True:
        processes, machines, groups, _ = map(int, inside("/bin/busybox", "sh", "-c", script).split())
        if (processes, machines, groups) == (len(alive),) * 3:
            return
        assert time.monotonic() < deadline, (alive, processes, machines, groups)
        time.sleep(0.5)


def microvms_of(hearth):
    pages = hearth.microvms.get_paginator("list_microvms").paginate()
    return [microvm for page in pages for microvm in page["items"]]
