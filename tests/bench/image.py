"""Measures the phases of image builds. `cargo xtask bench image` runs it against a `hearth up` of its own.

Every measurement is a line of the CSV (`metric,subject,parameter,round,value`); the table and the JSON are medians of those
lines and of nothing else. A cold build finds no layer of an earlier one, a cached build all of them; a repeated one is of a zip that was
built before. Times are those of the build
log's own lines, so they are the service's and not this program's.
"""

import argparse
import csv
import io
import json
import pathlib
import re
import statistics
import time
import zipfile

import boto3
from botocore.config import Config

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
HOOKS = {"port": 8080, "microvmImageHooks": {"ready": "ENABLED", "validate": "ENABLED"}}

# The service's log line at the beginning of a phase, and the metric of that phase. Phases of the Dockerfile have names
# of their own.
PHASES = [
    ("fetching the artifact", "fetch_s"),
    ("running the Dockerfile", None),
    ("starting the application", "boot_s"),
    ("waiting until the application is ready", "ready_s"),
    ("sealing the snapshot", "seal_s"),
    ("validating a clone", "validate_s"),
    ("the version is ready", None),
]
STEPS = {"boot": "builder_boot_s", "context": "unpack_s", "build": "build_s", "pack": "rootfs_s", "export": "export_s"}
SIZES = {"codeInstallSizeInBytes": "code_mib", "diskSnapshotSizeInBytes": "disk_mib", "memorySnapshotSizeInBytes": "memory_mib"}


def zipped(folder, first_line, comment):
    """The folder as a zip. Another first instruction changes all layers after it; another comment changes only the zip."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(folder.iterdir()):
            content = path.read_text()
            if path.name == "Dockerfile":
                content = re.sub("(?m)^(FROM .*)$", rf"\1\n{first_line}", content, count=1) + f"\n# {comment}\n"
            target.writestr(path.name, content)
    return archive.getvalue()


class Bench:
    def __init__(self, settings):
        clients = {
            "endpoint_url": settings["endpoint_url"], "region_name": settings["region"],
            "aws_access_key_id": settings["access_key_id"], "aws_secret_access_key": settings["secret_access_key"],
            "config": Config(s3={"addressing_style": "path"}, read_timeout=120),
        }
        self.microvms, self.s3, self.logs = (boto3.client(name, **clients) for name in ("lambda-microvms", "s3", "logs"))
        self.region = settings["region"]
        self.samples = []

    def build(self, name, key):
        image = self.microvms.create_microvm_image(
            name=name, baseImageArn=f"arn:aws:lambda:{self.region}:aws:microvm-image:al2023-1",
            buildRoleArn="arn:aws:iam::000000000000:role/build", codeArtifact={"uri": f"s3://bench/{key}"},
            resources=[{"minimumMemoryInMiB": 512}], hooks=HOOKS,
        )["imageArn"]
        while (state := self.microvms.get_microvm_image(imageIdentifier=image)["state"]) == "CREATING":
            time.sleep(0.5)
        log = self.logs.filter_log_events(logGroupName=f"/aws/lambda-microvms/{name}")["events"]
        if state != "CREATED":
            raise SystemExit("\n".join(event["message"] for event in log))
        [build] = self.microvms.list_microvm_image_builds(imageIdentifier=image, imageVersion="1.0")["items"]
        build = self.microvms.get_microvm_image_build(imageIdentifier=image, imageVersion="1.0", buildId=build["buildId"])
        self.microvms.delete_microvm_image(imageIdentifier=image)
        return log, build["snapshotBuild"]

    def measure(self, subject, parameter, number, key):
        log, sizes = self.build(f"{subject}-{parameter}-{number}", key)
        add = lambda metric, value: self.samples.append((metric, subject, parameter, number, value))
        at = {event["message"].removeprefix("hearth: "): event["timestamp"] for event in log}
        for (phase, metric), (following, _) in zip(PHASES, PHASES[1:]):
            if metric:
                add(metric, (at[following] - at[phase]) / 1000)
        told = [said for said in at if said.startswith("the Dockerfile was run: ")]
        assert len(told) == (0 if parameter == "repeated" else 1), at
        for said in told:
            for step, metric in STEPS.items():
                add(metric, float(re.search(rf"\b{step} ([0-9.]+) s", said)[1]))
        add("total_s", (at[PHASES[-1][0]] - at[PHASES[0][0]]) / 1000)
        for member, metric in SIZES.items():
            add(metric, sizes[member] / (1 << 20))

    def summary(self):
        groups = {}
        for metric, subject, parameter, _, value in self.samples:
            groups.setdefault((metric, subject, parameter), []).append(value)
        return {key: (statistics.median(values), len(values)) for key, values in groups.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=pathlib.Path, help="client.json of the service")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--example", default="hello")
    parser.add_argument("--subject", help="what the builds are called in the results [default: the example]")
    parser.add_argument("--include", type=pathlib.Path, help="measurements of another run, to be told beside these")
    parser.add_argument("--csv", type=pathlib.Path, default="bench-image.csv")
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    bench = Bench(json.loads(arguments.settings.read_text()))
    bench.s3.create_bucket(Bucket="bench")
    for number in range(arguments.rounds):
        first_line = f"ENV BENCH_ROUND={time.time_ns()}"
        for parameter, comment in (("cold", 1), ("cached", 2), ("repeated", 2)):
            content = zipped(EXAMPLES / arguments.example, first_line, comment)
            bench.s3.put_object(Bucket="bench", Key=f"{number}.zip", Body=content)
            bench.measure(arguments.subject or arguments.example, parameter, number, f"{number}.zip")
    if arguments.include:
        with open(arguments.include, newline="") as source:
            others = [(*list(line.values())[:3], int(line["round"]), float(line["value"])) for line in csv.DictReader(source)]
        bench.samples[:0] = others
    with open(arguments.csv, "w", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(["metric", "subject", "parameter", "round", "value"])
        writer.writerows((*key, f"{value:.4f}") for *key, value in bench.samples)
    summary = bench.summary()
    print(f"{'METRIC':18} {'SUBJECT':18} {'':8} {'N':>3} {'MEDIAN':>10}")
    for (metric, subject, parameter), (median, count) in summary.items():
        print(f"{metric:18} {subject:18} {parameter:8} {count:3} {median:10.2f}")
    if arguments.json:
        answer = {}
        for (metric, subject, parameter), (median, count) in summary.items():
            answer.setdefault(metric, {})[f"{subject} {parameter}"] = {"median": median, "n": count}
        arguments.json.write_text(json.dumps(answer, indent=2))


main()
