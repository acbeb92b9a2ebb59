"""Measures how much a microVM slows its neighbour. `cargo xtask bench neighbour` runs it against a `hearth up` of its own.

One microVM is asked for a page again and again, through its endpoint, while another one attacks processor, memory, disk, network, the
host's resolver, its table of connections, all of them, or nothing. Every request is a line of the CSV (`metric,subject,parameter,round,value`), and so is what an attack got done: one that
did nothing would show nothing. The table and the JSON are of those lines alone. Loads are measured turn by turn, so that a host
that slows down slows all of them. The one that is asked is of the smallest size, the attacker is four times as large: on one
processor, a fifth of it is the victim's. Asked so often that it needs more, it waits like everybody else.
"""

import argparse
import csv
import http.client
import io
import json
import math
import pathlib
import ssl
import statistics
import time
import zipfile

import boto3
from botocore.config import Config

APPLICATION = pathlib.Path(__file__).parent / "neighbour"
LOADS = ("idle", "cpu", "memory", "disk", "network", "names", "connections", "all")
# What is asked of the one that is measured: a page, and a page for which it asks the host's resolver.
PAGES = {"request_ms": "/", "name_ms": "/name"}
# The attacks need a moment to begin; they go on for a while after the last request.
LEAD_S = 2


class Microvm:
    """A microVM and a connection to its endpoint."""

    def __init__(self, bench, image):
        self.bench = bench
        self.id = bench.microvms.run_microvm(imageIdentifier=image)["microvmId"]
        found = bench.wait(lambda: bench.microvms.get_microvm(microvmIdentifier=self.id), "RUNNING")
        self.host, _, port = found["endpoint"].partition(":")
        self.port = int(port or 443)

    def connect(self):
        """Opens a new connection for each round, as idle ones are closed. One-time work is done before the round."""
        answer = self.bench.microvms.create_microvm_auth_token(
            microvmIdentifier=self.id, expirationInMinutes=60, allowedPorts=[{"port": 8080}])
        self.token = answer["authToken"]
        self.connection = http.client.HTTPSConnection(self.host, self.port, timeout=300, context=self.bench.tls)
        self.get()

    def get(self, path="/"):
        self.connection.request("GET", path, headers=self.token)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def terminate(self):
        self.bench.microvms.terminate_microvm(microvmIdentifier=self.id)
        self.bench.wait(lambda: self.bench.microvms.get_microvm(microvmIdentifier=self.id), "TERMINATED")


class Bench:
    def __init__(self, settings):
        clients = {
            "endpoint_url": settings["endpoint_url"], "region_name": settings["region"],
            "aws_access_key_id": settings["access_key_id"], "aws_secret_access_key": settings["secret_access_key"],
            "config": Config(s3={"addressing_style": "path"}, read_timeout=300),
        }
        self.microvms, self.s3, self.logs = (boto3.client(name, **clients) for name in ("lambda-microvms", "s3", "logs"))
        self.region = settings["region"]
        self.tls = ssl.create_default_context(cadata=settings["ca_bundle_pem"])
        self.samples = []

    def wait(self, read, wanted):
        while (answer := read())["state"] != wanted:
            if answer["state"].endswith("FAILED") or answer["state"] == "TERMINATED":
                raise SystemExit(f"it is {answer['state']}: {answer}")
            time.sleep(0.5)
        return answer

    def image(self, name, memory_mib):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as target:
            for path in sorted(APPLICATION.iterdir()):
                target.writestr(path.name, path.read_text())
        self.s3.put_object(Bucket="bench", Key=f"{name}.zip", Body=archive.getvalue())
        image = self.microvms.create_microvm_image(
            name=name, baseImageArn=f"arn:aws:lambda:{self.region}:aws:microvm-image:al2023-1",
            buildRoleArn="arn:aws:iam::000000000000:role/build", codeArtifact={"uri": f"s3://bench/{name}.zip"},
            resources=[{"minimumMemoryInMiB": memory_mib}],
        )["imageArn"]
        self.wait(lambda: self.microvms.get_microvm_image(imageIdentifier=image), "CREATED")
        return image

    def measure(self, victim, attacker, load, number, arguments):
        seconds = LEAD_S + arguments.requests / arguments.rate
        attacker.connect()
        if load != "idle":
            status, body = attacker.get(f"/attack?kind={load}&seconds={seconds * arguments.patience}")
            assert status == 202, body
        time.sleep(LEAD_S)
        # Not earlier: while the attack is begun, an idle connection could be closed.
        victim.connect()
        for _ in range(arguments.requests):
            took = 0
            for metric, path in PAGES.items():
                begun = time.perf_counter()
                status, body = victim.get(path)
                took += time.perf_counter() - begun
                assert (status, body) == (200, b"ok"), (metric, status, body)
                self.samples.append((metric, "neighbour", load, number, (time.perf_counter() - begun) * 1000))
            time.sleep(max(0, 1 / arguments.rate - took))
        if load == "idle":
            return
        attacker.connect()
        # The attack was there to the last request, or this round says nothing.
        status, body = attacker.get("/attacked")
        if status == 200:
            raise SystemExit(f"the attack on {load} ended before the last request; give more --patience")
        while status != 200:
            time.sleep(1)
            status, body = attacker.get("/attacked")
        if int(body) == 0:
            raise SystemExit(f"the attack on {load} did nothing")
        self.samples.append(("attack_work", "attacker", load, number, float(body)))

    def summary(self):
        groups = {}
        for metric, subject, parameter, _, value in self.samples:
            groups.setdefault((metric, subject, parameter), []).append(value)
        answer = {}
        for (metric, subject, parameter), values in groups.items():
            told = {"median": statistics.median(values), "p95": percentile(values, 0.95), "p99": percentile(values, 0.99), "n": len(values)}
            if metric in PAGES:
                told["p95_to_idle"] = told["p95"] / percentile(groups[(metric, subject, "idle")], 0.95)
            answer.setdefault(metric, {})[f"{subject} {parameter}"] = told
        return answer


def percentile(values, share):
    """The smallest value that at least this share of the values does not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=pathlib.Path, help="client.json of the service")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=LOADS, help="idle has to be among them; the others are compared with it")
    parser.add_argument("--requests", type=int, default=50, help="requests of a round, for each load")
    parser.add_argument("--rate", type=float, default=1, help="turns of both requests a second; on an emulated host each is some 120 ms of processor time")
    parser.add_argument("--attacker-mib", type=int, default=2048, help="baseline memory of the attacker")
    parser.add_argument("--patience", type=float, default=2, help="how many times as long as planned the requests may take")
    parser.add_argument("--csv", type=pathlib.Path, default="bench-neighbour.csv")
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    bench = Bench(json.loads(arguments.settings.read_text()))
    bench.s3.create_bucket(Bucket="bench")
    victim = Microvm(bench, bench.image("victim", 512))
    attacker = Microvm(bench, bench.image("attacker", arguments.attacker_mib))
    for number in range(arguments.rounds):
        for load in arguments.loads:
            begun = time.monotonic()
            bench.measure(victim, attacker, load, number, arguments)
            values = [value for metric, _, kind, turn, value in bench.samples if (metric, kind, turn) == ("request_ms", load, number)]
            print(f"round {number + 1} of {arguments.rounds}, {load}: a request takes {statistics.median(values):.0f} ms, one in a hundred "
                  f"{percentile(values, 0.99):.0f} ms ({time.monotonic() - begun:.0f} s)", flush=True)
    victim.terminate(), attacker.terminate()
    with open(arguments.csv, "w", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(["metric", "subject", "parameter", "round", "value"])
        writer.writerows((*key, f"{value:.4f}") for *key, value in bench.samples)
    summary = bench.summary()
    print(f"{'METRIC':14} {'SUBJECT':20} {'N':>4} {'MEDIAN':>10} {'P95':>10} {'P99':>10} {'TO IDLE':>8}")
    for metric, subjects in summary.items():
        for subject, told in subjects.items():
            ratio = f"{told['p95_to_idle']:8.2f}" if "p95_to_idle" in told else ""
            print(f"{metric:14} {subject:20} {told['n']:4} {told['median']:10.2f} {told['p95']:10.2f} {told['p99']:10.2f} {ratio}")
    if arguments.json:
        arguments.json.write_text(json.dumps(summary, indent=2))


main()
