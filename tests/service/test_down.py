"""The end of the service under test, on every host that ran some of the tests."""

import os
import time
import urllib.request

import pytest

from .cli import Cli
from .test_outlives import inside

pytestmark = pytest.mark.last

# Versions of deleted images go in the background.
DELETIONS_S = 120


def left(hearth):
    """Everything that is left on the host: processes and files. Every image keeps one snapshot, and templates of booted guests stay."""
    images = hearth.microvms.list_microvm_images()["items"]
    kept = [image for image in images if image["state"] in ("CREATED", "UPDATED")]
    booted = "grep -l '\"purpose\": *\"booted\"' /data/hearth/snapshots/*/node.json | wc -l"
    count = lambda directory: len(inside("/bin/busybox", "ls", f"/data/hearth/{directory}").split())
    return {
        "processes": inside("/bin/busybox", "sh", "-c", "pidof hearth-vmm || true").strip(),
        "machines": count("machines"),
        "snapshots without an image": count("snapshots") - int(inside("/bin/busybox", "sh", "-c", booted)) - len(kept),
    }


def test_nothing_is_left_when_everything_has_ended(hearth):
    pages = hearth.microvms.get_paginator("list_microvms").paginate()
    for item in (item for page in pages for item in page["items"]):
        assert item["state"] == "TERMINATED", item
    if os.environ.get("HEARTH_PLACE") != "lab":
        pytest.skip("processes of other users of this machine cannot be told apart")
    nothing = {"processes": "", "machines": 0, "snapshots without an image": 0}
    deadline = time.monotonic() + DELETIONS_S
    while (found := left(hearth)) != nothing:
        assert time.monotonic() < deadline, found
        time.sleep(1)


def test_down_ends_everything(hearth):
    """The last test: it ends the service."""
    cli = Cli(hearth)
    ended = cli.run("down", "--all")
    assert b"hearth is down" in ended.stderr
    with pytest.raises(OSError):
        urllib.request.urlopen(hearth.settings["endpoint_url"] + "/health", timeout=5)
    assert "hearth up" in cli.error("status", status=4)
