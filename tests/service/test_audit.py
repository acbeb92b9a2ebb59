"""The attacks of `hearth audit`: each is a test, and so is its control."""

import json
import os
import subprocess

import pytest

from .test_accounts import hearth_command


@pytest.fixture(scope="module")
def audited(hearth):
    command = [os.environ["HEARTH"], "--data", os.environ["HEARTH_DATA"], "--json", "audit"]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=1500)


def test_every_attack_is_stopped_and_could_have_worked(audited):
    report = json.loads(audited.stdout)
    # Whole, as they say whether an attack got through, its control failed, or neither was made.
    failed = [attack for attack in report["attacks"] if not attack["held"]]
    print(*failed, sep="\n")
    assert failed == [], audited.stderr
    assert audited.returncode == 0 and report["made"] >= 93


def test_an_audit_leaves_its_accounts_alone(audited, hearth):
    for account in ("999999999998", "999999999997"):
        assert json.loads(hearth_command("--json", "key", "ls", account))["accessKeys"] == []


def test_the_list_has_every_attack_that_is_made(audited):
    # A list needs no service: not even a data directory.
    command = [os.environ["HEARTH"], "--data", "/nonexistent", "--json", "audit", "--list"]
    listed = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert listed.returncode == 0, listed.stderr
    groups = json.loads(listed.stdout)["groups"]
    attacks = [attack for group in groups for attack in group["attacks"]]
    assert [attack["name"] for attack in attacks] == [attack["name"] for attack in json.loads(audited.stdout)["attacks"]]
    for attack in attacks:
        assert all(attack[member] for member in ("from", "tries", "stoppedBy", "by", "control")), attack
