"""The endpoint without a virtual machine: behind it, ports of a guest are ports of this host's loopback."""

import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def endpoint_program():
    if program := os.environ.get("HEARTH_TEST_ENDPOINT"):
        return program
    target = pathlib.Path(os.environ.get("HEARTH_TARGET_DIR", ROOT / "target"))
    candidates = [*target.glob("*/debug/examples/dev_endpoint"), *target.glob("debug/examples/dev_endpoint")]
    if not candidates:
        pytest.exit("build the endpoint first: cargo build -p hearth-endpoint --example dev_endpoint", returncode=2)
    return str(max(candidates, key=lambda path: path.stat().st_mtime))


class Endpoint:
    """A running endpoint, with what it announced about itself."""

    def __init__(self, directory):
        self.process = subprocess.Popen(
            [endpoint_program(), str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        announced = json.loads(self.process.stdout.readline())
        self.address, self.bundle, self.token = (announced[name] for name in ("endpoint", "ca_bundle", "token"))

    def headers(self, port, **more):
        return {"X-aws-proxy-auth": self.token, "X-aws-proxy-port": str(port), **more}

    def memory_mib(self, kind):
        """Resident memory: now (VmRSS) or at its highest (VmHWM)."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith(kind)]
        return int(line.split()[1]) / 1024

    def stop(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory):
    endpoint = Endpoint(tmp_path_factory.mktemp("endpoint"))
    yield endpoint
    endpoint.stop()


@pytest.fixture
def fresh_endpoint(tmp_path):
    """A newly started endpoint."""
    endpoint = Endpoint(tmp_path)
    yield endpoint
    endpoint.stop()
