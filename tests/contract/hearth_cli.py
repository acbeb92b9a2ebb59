"""Runs the built `hearth` program against a development front, as users do."""

import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def program():
    if named := os.environ.get("HEARTH"):
        return named
    target = pathlib.Path(os.environ.get("HEARTH_TARGET_DIR", ROOT / "target"))
    candidates = [*target.glob("*/debug/hearth"), *target.glob("debug/hearth")]
    if not candidates:
        pytest.exit("build the command line first: cargo build --bin hearth", returncode=2)
    return str(max(candidates, key=lambda path: path.stat().st_mtime))


class Cli:
    """The program, with the front named by AWS_ENDPOINT_URL."""

    def __init__(self, server, home):
        self.program = program()
        # No settings of the developer's own.
        self.environment = {**server.environment(), "HEARTH_DATA": str(home)}
        self.environment.pop("HEARTH_CONFIG", None)

    def run(self, *words, status=0, stdin=None):
        command = [self.program, *map(str, words)]
        ran = subprocess.run(command, capture_output=True, timeout=120, env=self.environment, input=stdin or b"")
        assert ran.returncode == status, (words, ran.returncode, ran.stdout, ran.stderr)
        return ran

    def text(self, *words, **options):
        return self.run(*words, **options).stdout.decode().strip()

    def json(self, *words, **options):
        return json.loads(self.run(*words, "--json", **options).stdout)

    def error(self, *words, status=1, **options):
        return self.run(*words, status=status, **options).stderr.decode()

    def start(self, *words):
        command = [self.program, *map(str, words)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment)
