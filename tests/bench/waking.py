"""Measures requests to suspended microVMs. `cargo xtask bench endpoint` runs it against a `hearth up` of its own.

Each round suspends the microVM, asks for a page, and asks for it again: `first_request_ms` of a suspended one has the resume in it, that of
a running one has not. Each request is on a connection of its own, whose TLS handshake is in the figure as well.
"""

import argparse
import csv
import http.client
import io
import json
import pathlib
import ssl
import time
import zipfile

import boto3
from botocore.config import Config

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
POLICY = {"maxIdleDurationSeconds": 3600, "suspendedDurationSeconds": 3600, "autoResumeEnabled": True}


class Bench:
    def __init__(self, settings):
        clients = {
            "endpoint_url": settings["endpoint_url"], "region_name": settings["region"],
            "aws_access_key_id": settings["access_key_id"], "aws_secret_access_key": settings["secret_access_key"],
            "config": Config(s3={"addressing_style": "path"}, read_timeout=120),
        }
        self.microvms, self.s3 = (boto3.client(name, **clients) for name in ("lambda-microvms", "s3"))
        self.region = settings["region"]
        self.tls = ssl.create_default_context(cadata=settings["ca_bundle_pem"])

    def wait(self, read, wanted):
        while (state := read()["state"]) != wanted:
            if state in ("CREATE_FAILED", "TERMINATED"):
                raise SystemExit(f"it is {state}")
            time.sleep(0.1)

    def image(self):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
            for path in (EXAMPLES / "hello").iterdir():
                target.writestr(path.name, path.read_bytes())
        self.s3.create_bucket(Bucket="bench")
        self.s3.put_object(Bucket="bench", Key="hello.zip", Body=archive.getvalue())
        # Without hooks: what the application does when it is woken is its own time.
        image = self.microvms.create_microvm_image(
            name="hello", baseImageArn=f"arn:aws:lambda:{self.region}:aws:microvm-image:al2023-1",
            buildRoleArn="arn:aws:iam::000000000000:role/build", codeArtifact={"uri": "s3://bench/hello.zip"},
            resources=[{"minimumMemoryInMiB": 512}],
        )["imageArn"]
        self.wait(lambda: self.microvms.get_microvm_image(imageIdentifier=image), "CREATED")
        return image

    def reach(self, microvm, wanted):
        self.wait(lambda: self.microvms.get_microvm(microvmIdentifier=microvm), wanted)

    def request_ms(self, endpoint, token):
        begun = time.perf_counter()
        connection = http.client.HTTPSConnection(endpoint, context=self.tls, timeout=120)
        connection.request("GET", "/", headers=token)
        answer = connection.getresponse()
        answer.read()
        took_ms = (time.perf_counter() - begun) * 1000
        connection.close()
        if answer.status != 200:
            raise SystemExit(f"answered with {answer.status}")
        return took_ms

    def measure(self, wakes):
        started = self.microvms.run_microvm(imageIdentifier=self.image(), idlePolicy=POLICY)
        microvm, endpoint = started["microvmId"], started["endpoint"]
        self.reach(microvm, "RUNNING")
        token = self.microvms.create_microvm_auth_token(
            microvmIdentifier=microvm, expirationInMinutes=60, allowedPorts=[{"port": 8080}]
        )["authToken"]
        self.request_ms(endpoint, token)
        for number in range(wakes):
            self.microvms.suspend_microvm(microvmIdentifier=microvm)
            self.reach(microvm, "SUSPENDED")
            for state in ("suspended", "running"):
                yield "first_request_ms", "hearth", state, number, f"{self.request_ms(endpoint, token):.4f}"
        self.microvms.terminate_microvm(microvmIdentifier=microvm)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=pathlib.Path, help="client.json of the service")
    parser.add_argument("--wakes", type=int, default=20)
    parser.add_argument("--csv", type=pathlib.Path, default="waking.csv")
    arguments = parser.parse_args()
    bench = Bench(json.loads(arguments.settings.read_text()))
    with open(arguments.csv, "w", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(["metric", "subject", "parameter", "round", "value"])
        writer.writerows(bench.measure(arguments.wakes))


main()
