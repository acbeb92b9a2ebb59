"""The AWS SDK for Rust tells the whole story of an image and its microVMs (`tests/sdk`)."""

import os
import subprocess

from .test_story import BASE


def test_the_sdk_for_rust_tells_the_story(server):
    told = subprocess.run(
        [os.environ["HEARTH_SDK_STORY"], "s3://bucket/app.zip", BASE],
        env=server.environment(), capture_output=True, text=True, timeout=120,
    )
    assert told.returncode == 0, told.stderr
    assert "the story is told" in told.stdout
