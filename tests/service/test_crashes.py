"""kill -9 of the service right before and right after every write of the control plane, in every transition of a real microVM.

What a development build does with the file `doom` is described in `hearth-service/src/doom.rs`. The same matrix over a simulated host, with
images, forks and full disks, is hearth-control's `tests/it/crash.rs`; this one shows that the real host keeps up with it.
"""

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

    def __init__(self, hearth, side):
        self.hearth, self.side = hearth, side
        # How many writes of each transition it has died at.
        self.deaths = {}
        self.done = set()

    def through(self, name, what, state):
        """Asks until it is answered, and waits until the microVM is there, through one death of the service."""
        before = service_pid()
        if name not in self.done:
            doom = f"{self.side} {self.deaths.get(name, 0) + 1}"
            inside("/bin/busybox", "sh", "-c", f"echo {doom} > {DOOM}")
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
        if name in self.done:
            return microvm
        # Writes after the state was reached belong to it too.
        time.sleep(0.5)
        if service_pid() == before:
            inside("/bin/busybox", "rm", "-f", DOOM)
            self.done.add(name)
        else:
            wait_for_successor(self.hearth, before)
            self.deaths[name] = self.deaths.get(name, 0) + 1
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
    doomed = Doomed(hearth, side)
    for _ in range(MANY):
        # The same token makes the same microVM, however often it is asked for.
        token = uuid.uuid4().hex
        launch = lambda: microvms.run_microvm(imageIdentifier=hello, clientToken=token)
        started = doomed.through("run", launch, "RUNNING")
        session = Session(hearth, started["microvmId"], started["endpoint"])
        assert session.get()["count"] == 1
        named = {"microvmIdentifier": session.id}
        reply = lambda operation: lambda: operation(**named) and {"microvmId": session.id}

        doomed.through("suspend", reply(microvms.suspend_microvm), "SUSPENDED")
        doomed.through("resume", reply(microvms.resume_microvm), "RUNNING")
        assert session.get()["count"] == 2, "the memory of the session was lost"
        doomed.through("terminate", reply(microvms.terminate_microvm), "TERMINATED")
        print(f"{side}: {doomed.deaths}")
        if len(doomed.done) == 4:
            break
    assert len(doomed.done) == 4, "the matrix does not end"
    assert min(doomed.deaths.get(name, 0) for name in doomed.done) > 1, "the service did not die when it should"
    nobody_is_left_without_an_owner(hearth)


def nobody_is_left_without_an_owner(hearth):
    """Counted on the host, not by the API."""
    alive = {m["microvmId"] for m in microvms_of(hearth) if m["state"] not in ("TERMINATED", "SUSPENDED")}
    script = "pidof hearth-vmm | wc -w; ls /data/hearth/machines | wc -l; find /sys/fs/cgroup/hearth -mindepth 2 -type d | wc -l"
    deadline = time.monotonic() + WEDGED_S
    while True:
        processes, machines, groups = map(int, inside("/bin/busybox", "sh", "-c", script).split())
        if (processes, machines, groups) == (len(alive),) * 3:
            return
        assert time.monotonic() < deadline, (alive, processes, machines, groups)
        time.sleep(0.5)


def microvms_of(hearth):
    pages = hearth.microvms.get_paginator("list_microvms").paginate()
    return [microvm for page in pages for microvm in page["items"]]
