"""A gRPC server in a real guest, and a client of it through the endpoint. It is brought into a running microVM and started there."""

import io
import json
import os
import pathlib
import tarfile
import zipfile

import pytest
from clients import grpc_app

from .test_operations import Operator

PORT = 50_051


def packed():
    """What the server stands on: the wheels for the guest's Python, unpacked, and the server."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for wheel in pathlib.Path(os.environ["HEARTH_GUEST_WHEELS"]).glob("*.whl"):
            with zipfile.ZipFile(wheel) as zipped:
                for entry in (entry for entry in zipped.infolist() if not entry.is_dir()):
                    add(tar, entry.filename, zipped.read(entry))
        add(tar, "server.py", pathlib.Path(grpc_app.__file__).read_bytes())
    return archive.getvalue()


def add(tar, name, content):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    tar.addfile(entry, io.BytesIO(content))


@pytest.fixture(scope="module")
def session(hearth, hello):
    session = hearth.run(hello)
    operator = Operator(hearth, session)
    operator.execute("mkdir", "/srv/grpc")
    sent = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
    status, body = operator.call("PUT", "files", packed(), sent, path="/srv/grpc", format="tar")
    assert status == 200, body
    request = {"command": ["python3", "/srv/grpc/server.py", str(PORT)], "env": {"PYTHONPATH": "/srv/grpc"}, "timeoutInSeconds": 600}
    output = operator.open("POST", "exec", json.dumps(request).encode())
    said = json.loads(output.readline())
    assert "stdout" in said, said
    yield session
    output.close()
    session.terminate()


def test_every_kind_of_call(hearth, session):
    token = hearth.microvms.create_microvm_auth_token(
        microvmIdentifier=session.id, expirationInMinutes=5, allowedPorts=[{"port": PORT}]
    )["authToken"]
    headers = {**token, "X-aws-proxy-port": str(PORT), "X-aws-proxy-force-h2": "true"}
    with grpc_app.channel(session.endpoint, hearth.settings["ca_bundle_pem"].encode()) as channel:
        grpc_app.tell_story(channel, headers, timeout_s=120)
