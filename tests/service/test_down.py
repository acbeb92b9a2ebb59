"""The end of the service under test."""

import urllib.request

import pytest

from .cli import Cli


@pytest.mark.last
def test_down_ends_everything(hearth):
    """Nothing comes after it."""
    cli = Cli(hearth)
    ended = cli.run("down", "--all")
    assert b"hearth is down" in ended.stderr
    with pytest.raises(OSError):
        urllib.request.urlopen(hearth.settings["endpoint_url"] + "/health", timeout=5)
    assert "hearth up" in cli.error("status", status=4)
