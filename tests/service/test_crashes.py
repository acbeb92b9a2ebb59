"""kill -9 of the service right before and right after every write of the control plane, in every transition of a real microVM.

What a development build does with the file `write-crash-point` is described in `hearth-service/src/write_crash_point.rs`. The same matrix over a simulated host, with
images, forks and full disks, is hearth-control's `tests/it/crash.rs`; this one shows that the real host keeps up with it.
"""

import os
import time
import uuid

import botocore.exceptions
import pytest

from .conftest import Session
from .test_outlives import crash_at, inside, is_awaited, service_pid, wait_for_successor

pytestmark = pytest.mark.skipif(
    os.environ.get("HEARTH_PLACE") == "here",
    reason="without the emulated host nothing starts the service again but its operator",
)

WRITE_CRASH_POINT = "/data/hearth/write-crash-point"
# No transition makes more writes; reaching it means that the matrix does not end.
MANY = 20
# A microVM may be between two states for 10 s; everything takes some twenty times as long in the emulated host.
WEDGED_S = 60


class Doomed:
    """The service, which is killed at a chosen write of an operation."""

    def __init__(self, hearth, side):
        self.hearth, self.side = hearth, side
        # How many writes of each transition it has died at.
        self.deaths = {}
        self.done = set()

    def through(self, name, what, state):
        """Repeats a request until it is answered, and waits for the microVM's state, over one crash of the service."""
        before = service_pid()
        if name not in self.done:
            point = f"{self.side} {self.deaths.get(name, 0) + 1}"
            inside("/bin/busybox", "sh", "-c", f"echo {point} > {WRITE_CRASH_POINT}")
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
            inside("/bin/busybox", "rm", "-f", WRITE_CRASH_POINT)
            self.done.add(name)
        else:
            wait_for_successor(self.hearth, before)
            self.deaths[name] = self.deaths.get(name, 0) + 1
        return microvm

    def asked_again(self, what, answer, state):
        """Repeats the request after a crash: a transition that was undone is made then, one that was not undone is unaffected."""
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


def kill_vmm(microvm):
    """kill -9 of the process of a microVM that runs."""
    script = f"kill -9 $(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p' /data/hearth/machines/{microvm}/machine.json)"
    inside("/bin/busybox", "sh", "-c", script)


def comes_to_rest(hearth, session, states):
    """The microVM once it is in one of these states, which takes no longer than a transition may."""
    deadline = time.monotonic() + 2 * WEDGED_S
    while True:
        microvm = hearth.microvms.get_microvm(microvmIdentifier=session.id)
        if microvm["state"] in states:
            return microvm
        assert time.monotonic() < deadline, f"wedged: {microvm}"
        time.sleep(0.2)


LOST = "The MicroVM was lost on its host."


def test_a_vmm_that_is_killed_while_its_microvm_runs_ends_it_with_a_reason(hearth, hello):
    session = hearth.run(hello)
    assert session.get()["count"] == 1
    kill_vmm(session.id)
    assert comes_to_rest(hearth, session, ("TERMINATED",))["stateReason"] == "The MicroVM was lost on its host: killed."
    nobody_is_left_without_an_owner(hearth)


# Of a VMM that suspends, in order; `tests/machine` has them all, also with a node that dies at the same time.
@pytest.mark.parametrize("point, is_sealed", [("seal.begun", False), ("seal.disks-sealed", False), ("suspend.replied", True)])
def test_a_vmm_that_dies_in_a_suspend_leaves_all_or_nothing(hearth, hello, point, is_sealed):
    session = hearth.run(hello)
    assert session.get()["count"] == 1
    # It has a layer from before, which is not to be taken for the one that was cut in two.
    hearth.microvms.suspend_microvm(microvmIdentifier=session.id)
    hearth.wait_microvm(session.id, "SUSPENDED")
    crash_at("vmm-crash-point", point)
    hearth.microvms.resume_microvm(microvmIdentifier=session.id)
    hearth.wait_microvm(session.id, "RUNNING")
    assert not is_awaited("vmm-crash-point")
    assert session.get()["count"] == 2

    hearth.microvms.suspend_microvm(microvmIdentifier=session.id)
    microvm = comes_to_rest(hearth, session, ("SUSPENDED", "TERMINATED"))
    if is_sealed:
        assert microvm["state"] == "SUSPENDED"
        hearth.microvms.resume_microvm(microvmIdentifier=session.id)
        hearth.wait_microvm(session.id, "RUNNING")
        assert session.get()["count"] == 3, "it came back as it was before"
        session.terminate()
    else:
        assert (microvm["state"], microvm["stateReason"]) == ("TERMINATED", LOST)
    nobody_is_left_without_an_owner(hearth)


@pytest.mark.parametrize("point", ["restore.mapped", "restore.running"])
def test_a_vmm_that_dies_in_a_resume_leaves_the_microvm_suspended(hearth, hello, point):
    session = hearth.run(hello)
    assert session.get()["count"] == 1
    hearth.microvms.suspend_microvm(microvmIdentifier=session.id)
    hearth.wait_microvm(session.id, "SUSPENDED")

    crash_at("vmm-crash-point", point)
    hearth.microvms.resume_microvm(microvmIdentifier=session.id)
    deadline = time.monotonic() + 2 * WEDGED_S
    while "stateReason" not in (microvm := hearth.microvms.get_microvm(microvmIdentifier=session.id)):
        assert microvm["state"] == "SUSPENDED" and time.monotonic() < deadline, microvm
        time.sleep(0.1)
    assert not is_awaited("vmm-crash-point")
    assert (microvm["state"], microvm["stateReason"]) == ("SUSPENDED", "The MicroVM could not be resumed and stays suspended.")
    # Nothing of it was lost.
    hearth.microvms.resume_microvm(microvmIdentifier=session.id)
    hearth.wait_microvm(session.id, "RUNNING")
    assert session.get()["count"] == 2
    session.terminate()
    nobody_is_left_without_an_owner(hearth)


# Longer than anything on the way may wait for one answer of a host that works.
SLOW_S = 40


def test_a_suspend_on_a_slow_disk_is_taken_up_by_the_next_service(hearth, hello):
    crash_at("vmm-slow-point", f"seal.memory-written={SLOW_S * 1000}")
    session = hearth.run(hello)
    assert not is_awaited("vmm-slow-point")
    assert session.get()["count"] == 1
    state = lambda: hearth.microvms.get_microvm(microvmIdentifier=session.id)["state"]
    begun = time.monotonic()
    hearth.microvms.suspend_microvm(microvmIdentifier=session.id)
    before = service_pid()
    while time.monotonic() < begun + SLOW_S / 4:
        # Who asks again joins.
        hearth.microvms.suspend_microvm(microvmIdentifier=session.id)
        assert state() == "SUSPENDING"
        time.sleep(1)
    inside("/bin/busybox", "kill", "-9", str(before))
    wait_for_successor(hearth, before)
    seen = set()
    while (now := state()) != "SUSPENDED":
        seen.add(now)
        assert now == "SUSPENDING" and time.monotonic() < begun + SLOW_S + WEDGED_S, now
        time.sleep(0.2)
    assert seen == {"SUSPENDING"} and time.monotonic() > begun + SLOW_S
    hearth.microvms.resume_microvm(microvmIdentifier=session.id)
    hearth.wait_microvm(session.id, "RUNNING")
    assert session.get()["count"] == 2
    session.terminate()
    nobody_is_left_without_an_owner(hearth)


def nobody_is_left_without_an_owner(hearth):
    """Counts on the host, not by the API."""
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
