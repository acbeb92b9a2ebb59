"""The examples, run as their README files say."""

import os
import pathlib
import subprocess
import sys

from .conftest import EXAMPLES


def test_the_quick_start_does_the_main_job(hearth, tmp_path):
    settings = hearth.settings
    bundle = tmp_path / "ca.pem"
    bundle.write_text(settings["ca_bundle_pem"])
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL": settings["endpoint_url"],
        "AWS_REGION": settings["region"],
        "AWS_DEFAULT_REGION": settings["region"],
        "AWS_ACCESS_KEY_ID": settings["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": settings["secret_access_key"],
        "HEARTH_CA_BUNDLE": str(bundle),
        "AWS_CA_BUNDLE": str(bundle),
    }
    plot = tmp_path / "plot.png"
    told = subprocess.run(
        [sys.executable, str(EXAMPLES / "quickstart.py"), str(plot)],
        env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900, check=False,
    )
    assert told.returncode == 0, told.stdout
    assert "she still knows: secret = 42" in told.stdout
    # A picture of a curve, not an empty one.
    content = pathlib.Path(plot).read_bytes()
    assert content.startswith(b"\x89PNG") and len(content) > 10_000
