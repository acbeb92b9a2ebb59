"""A running `hearth up`, found through the settings that it writes for clients."""

import functools
import io
import json
import os
import pathlib
import ssl
import time
import urllib.error
import urllib.request
import zipfile

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
DURATIONS = pathlib.Path(__file__).resolve().parents[1] / "durations.csv"
ROLE = "arn:aws:iam::000000000000:role/build"
BASE = "arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1"

# On the emulated host a build takes minutes.
PATIENCE_S = 900


class Hearth:
    """Clients of the service under test."""

    def __init__(self, settings, directory):
        self.settings = settings
        bundle = directory / "ca.pem"
        bundle.write_text(settings["ca_bundle_pem"])
        self.tls = ssl.create_default_context(cafile=str(bundle))
        # What `hearth env` exports for AWS clients, and what everything else in Python reads.
        os.environ["AWS_CA_BUNDLE"] = os.environ["SSL_CERT_FILE"] = str(bundle)
        self.microvms = self.client("lambda-microvms")
        self.s3 = self.client("s3")
        self.logs = self.client("logs")

    def client(self, service):
        return boto3.client(
            service,
            endpoint_url=self.settings["endpoint_url"],
            region_name=self.settings["region"],
            aws_access_key_id=self.settings["access_key_id"],
            aws_secret_access_key=self.settings["secret_access_key"],
            config=Config(retries={"max_attempts": 3}, s3={"addressing_style": "path"}, read_timeout=120),
        )

    def upload(self, bucket, key, files):
        """Puts a zip of these files (name -> content) into S3; answers its address. Names and permissions are as `hearth image build`
        packs a folder, so that a folder that was built here needs no builder there, nor the other way round."""
        self.s3.create_bucket(Bucket=bucket)
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name, content in sorted(files.items()):
                entry = zipfile.ZipInfo(name)
                entry.external_attr, entry.compress_type = 0o100644 << 16, zipfile.ZIP_DEFLATED
                zipped.writestr(entry, content)
        self.s3.put_object(Bucket=bucket, Key=key, Body=archive.getvalue())
        return f"s3://{bucket}/{key}"

    def wait(self, read, state, *, wanted, failed=()):
        """Polls until the state is the wanted one."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = read()
            if answer[state] == wanted:
                return answer
            assert answer[state] not in failed, answer
            assert time.monotonic() < deadline, answer
            time.sleep(0.5)

    def wait_microvm(self, microvm, wanted):
        failed = {"TERMINATED"} - {wanted}
        read = lambda: self.microvms.get_microvm(microvmIdentifier=microvm)
        return self.wait(read, "state", wanted=wanted, failed=failed)

    def build(self, name, artifact, **members):
        created = self.microvms.create_microvm_image(
            name=name,
            baseImageArn=BASE,
            buildRoleArn=ROLE,
            codeArtifact={"uri": artifact},
            resources=[{"minimumMemoryInMiB": 512}],
            **members,
        )
        return created["imageArn"]

    def wait_image(self, arn, wanted, failed):
        read = lambda: self.microvms.get_microvm_image(imageIdentifier=arn)
        return self.wait(read, "state", wanted=wanted, failed={failed})

    def build_log(self, name):
        group = f"/aws/lambda-microvms/{name}"
        events = self.logs.filter_log_events(logGroupName=group)["events"]
        return "\n".join(event["message"] for event in events)

    def metrics(self):
        """All metrics, as the operator reads them."""
        url = self.settings["endpoint_url"] + "/hearth/v1/metrics"
        request = AWSRequest("GET", url)
        credentials = Credentials(self.settings["access_key_id"], self.settings["secret_access_key"])
        SigV4Auth(credentials, "lambda", self.settings["region"]).add_auth(request)
        return urllib.request.urlopen(urllib.request.Request(url, headers=dict(request.headers.items()))).read().decode()

    def run(self, image, **members):
        started = self.microvms.run_microvm(imageIdentifier=image, **members)
        self.wait_microvm(started["microvmId"], "RUNNING")
        return Session(self, started["microvmId"], started["endpoint"])


class Session:
    """One microVM as a user of its endpoint sees it."""

    def __init__(self, hearth, microvm, endpoint):
        self.hearth, self.id, self.endpoint = hearth, microvm, endpoint

    def token(self):
        """The headers with the token that admit a request."""
        answer = self.hearth.microvms.create_microvm_auth_token(
            microvmIdentifier=self.id, expirationInMinutes=5, allowedPorts=[{"port": 8080}]
        )
        return answer["authToken"]

    def request(self, path="/", token=None):
        request = urllib.request.Request(f"https://{self.endpoint}{path}", headers=token or self.token())
        try:
            with urllib.request.urlopen(request, context=self.hearth.tls, timeout=300) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def get(self):
        status, body = self.request()
        assert status == 200, body
        return json.loads(body)

    def terminate(self):
        self.hearth.microvms.terminate_microvm(microvmIdentifier=self.id)
        return self.hearth.wait_microvm(self.id, "TERMINATED")


@pytest.fixture(scope="session")
def hearth(tmp_path_factory):
    data = pathlib.Path(os.environ["HEARTH_DATA"])
    settings = json.loads((data / "client.json").read_text())
    return Hearth(settings, tmp_path_factory.mktemp("hearth"))


def expected_durations():
    """Seconds that each module took when `cargo xtask test --keep-durations` was last run."""
    modules = {}
    for line in DURATIONS.read_text().splitlines()[1:]:
        step, _, rest = line.partition(",")
        test, _, seconds = rest.rpartition(",")
        if step == "service tests" and test:
            module = test.partition("::")[0]
            modules[module] = modules.get(module, 0) + float(seconds)
    return modules


def module_of(item):
    return item.nodeid.partition("::")[0]


def is_last(item):
    return item.get_closest_marker("last") is not None


def pytest_collection_modifyitems(items):
    """What stops the service comes after all that need it. Before that the longest modules, so that two hosts end at one time; a module
    that nobody has measured may be the longest."""
    expected = expected_durations()
    items.sort(key=lambda item: (is_last(item), -expected.get(module_of(item), float("inf"))))


@functools.cache
def is_ours(module):
    """Whether this pytest runs a module. Another one, with a service on a host of its own, may take from the same queue: the module is
    run by the one that makes its file there."""
    queue = os.environ.get("HEARTH_TEST_QUEUE")
    if queue is None:
        return True
    try:
        (pathlib.Path(queue) / module.replace("/", "-")).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def pytest_runtest_protocol(item):
    """Leaves tests to the other host, without a word: there they are reported. What comes last is for every host."""
    return None if is_last(item) or is_ours(module_of(item)) else True


HOOKS = {
    "port": 8080,
    "microvmImageHooks": {"ready": "ENABLED", "validate": "ENABLED"},
    "microvmHooks": {"run": "ENABLED", "resume": "ENABLED", "suspend": "ENABLED", "terminate": "ENABLED"},
}


@pytest.fixture(scope="session")
def hello(hearth):
    """The example image, built from its zip."""
    files = {path.name: path.read_bytes() for path in (EXAMPLES / "hello").iterdir()}
    artifact = hearth.upload("hello-code", "hello.zip", files)
    image = hearth.build("hello", artifact, hooks=HOOKS)
    hearth.wait_image(image, "CREATED", "CREATE_FAILED")
    return image
