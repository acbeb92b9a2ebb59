"""The command blocks of the documents that need the emulated host and no service."""

import os
import subprocess

import pytest

from documents import ROOT, documents, runnable

SHOWN = [block for document in documents() for block in runnable(document, "sh") if block.is_in_the_lab]

# What came of the microVMs of an earlier reader, so that the only snapshot is the one that the block makes.
CLEAR = "cargo xtask lab -- 'hearth machine terminate --all && rm -rf $HEARTH_DATA/snapshots/*'"


def run(script):
    ran = subprocess.run(
        ["bash", "-euc", script], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=900, check=False,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


@pytest.mark.parametrize("block", SHOWN, ids=str)
def test_its_commands_do_what_it_says(block):
    run(CLEAR)
    said = run(block.text)
    run(CLEAR)
    if "--count 20" in block.text:
        assert all(f"twin-{number}" in said for number in range(1, 21)), said
