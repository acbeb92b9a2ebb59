"""The constraint tables of the front are those of the installed service models."""

import pathlib
import subprocess
import sys

TOOL = pathlib.Path(__file__).resolve().parents[1] / "tools/model_tables.py"


def test_tables_equal_the_models():
    subprocess.run([sys.executable, str(TOOL), "--check"], check=True)
