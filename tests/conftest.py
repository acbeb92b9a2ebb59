"""The server under test and clients for it."""

import json
import os
import pathlib
import subprocess

import boto3
import pytest
from botocore.config import Config

ROOT = pathlib.Path(__file__).resolve().parents[1]


def server_program():
    if program := os.environ.get("HEARTH_TEST_SERVER"):
        return program
    target = pathlib.Path(os.environ.get("HEARTH_TARGET_DIR", ROOT / "target"))
    candidates = [*target.glob("*/debug/examples/dev_front"), *target.glob("debug/examples/dev_front")]
    if not candidates:
        pytest.exit("build the server first: cargo build -p hearth-front --example dev_front", returncode=2)
    return str(max(candidates, key=lambda path: path.stat().st_mtime))


class Server:
    """A running front, with what it announced about itself."""

    def __init__(self, directory, *arguments):
        self.directory = directory
        self.process = subprocess.Popen(
            [server_program(), str(directory), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        announced = json.loads(self.process.stdout.readline())
        self.url, self.region, self.keys = announced["url"], announced["region"], announced["keys"]
        self.account = self.keys[0]["account"]
        self.doors = announced["doors"]

    def client(self, service, key=0, **config):
        settings = Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}, **config)
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=config.pop("region_name", self.region),
            aws_access_key_id=self.keys[key]["id"],
            aws_secret_access_key=self.keys[key]["secret"],
            config=settings,
        )

    def environment(self):
        return {
            **os.environ,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.keys[0]["id"],
            "AWS_SECRET_ACCESS_KEY": self.keys[0]["secret"],
        }

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("front"))
    yield server
    server.stop()


@pytest.fixture
def microvms(server):
    from contract.checked import checked

    return checked(server.client("lambda-microvms"))


@pytest.fixture
def other_microvms(server):
    from contract.checked import checked

    return checked(server.client("lambda-microvms", key=1))


@pytest.fixture
def functions(server):
    from contract.checked import checked

    return checked(server.client("lambda"))


@pytest.fixture
def core(server):
    from contract.checked import checked

    return checked(server.client("lambda-core"))
