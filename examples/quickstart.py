#!/usr/bin/env python3
"""From a folder with a Dockerfile to two isolated Python sessions, with boto3 alone.

    eval "$(hearth env)"              # or AWS's own credentials and region: the calls are the same
    python3 examples/quickstart.py
"""

import base64
import io
import json
import os
import pathlib
import ssl
import sys
import time
import urllib.request
import zipfile

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session

HERE = pathlib.Path(__file__).resolve().parent
NAME = "code-interpreter"
BUCKET = f"{NAME}-{int(time.time())}"
ROLE = "arn:aws:iam::000000000000:role/build"
BASE = f"arn:aws:lambda:{os.environ['AWS_REGION']}:aws:microvm-image:al2023-1"
LOGS = f"/aws/lambda-microvms/{NAME}"

# What AWS's service takes for the same, as published and measured by its users; None where nobody has said.
AWS_SECONDS = {"build the image": 114.0, "run to the first answer": 1.85, "suspend": 1.0, "wake by a request": 0.666}

# AWS has no forks: only where the calls go elsewhere.
HAS_FORKS = "AWS_ENDPOINT_URL" in os.environ

microvms = boto3.client("lambda-microvms")
logs = boto3.client("logs")
s3 = boto3.client("s3")
tls = ssl.create_default_context(cafile=os.environ.get("HEARTH_CA_BUNDLE"))
took = []


def step(name, begun):
    took.append((name, time.monotonic() - begun))
    print(f"    {name}: {took[-1][1]:.2f} s", flush=True)


def zipped(folder):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(folder.iterdir()):
            target.write(path, path.name)
    return archive.getvalue()


def wait(read, wanted, failed):
    while (answer := read())["state"] != wanted:
        if answer["state"] in failed:
            sys.exit(f"it is {answer['state']}: {answer.get('stateReason')}")
        time.sleep(0.1)


def build():
    """Uploads the folder, creates the image, and prints the build's output as it arrives."""
    # Of an image of this name that was built before.
    seen = {event["eventId"] for event in build_log()}
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="code.zip", Body=zipped(HERE / NAME))
    image = microvms.create_microvm_image(
        name=NAME,
        baseImageArn=BASE,
        buildRoleArn=ROLE,
        codeArtifact={"uri": f"s3://{BUCKET}/code.zip"},
        resources=[{"minimumMemoryInMiB": 512}],
        hooks={"port": 8080, "microvmImageHooks": {"ready": "ENABLED"}},
    )["imageArn"]
    while True:
        state = microvms.get_microvm_image(imageIdentifier=image)["state"]
        show_log(seen)
        if state != "CREATING":
            break
        time.sleep(1)
    if state != "CREATED":
        sys.exit(f"the image is {state}; its log says why")
    return image


def build_log():
    try:
        return logs.filter_log_events(logGroupName=LOGS)["events"]
    except logs.exceptions.ResourceNotFoundException:
        return []


def show_log(seen):
    for event in build_log():
        if event["eventId"] not in seen:
            seen.add(event["eventId"])
            print(f"    | {event['message']}", flush=True)


class Session:
    """One microVM."""

    def __init__(self, started):
        self.id, self.endpoint = started["microvmId"], started["endpoint"]
        wait(self.state, "RUNNING", {"TERMINATED"})
        token = microvms.create_microvm_auth_token(
            microvmIdentifier=self.id, expirationInMinutes=60, allowedPorts=[{"port": 8080}]
        )
        self.headers = {**token["authToken"], "Content-Type": "application/json"}

    def state(self):
        return microvms.get_microvm(microvmIdentifier=self.id)

    def execute(self, code):
        body = json.dumps({"code": code}).encode()
        request = urllib.request.Request(f"https://{self.endpoint}/execute", body, self.headers)
        with urllib.request.urlopen(request, context=tls, timeout=300) as answer:
            return json.load(answer)

    def fork(self):
        """An operation of Hearth's own, signed like those of AWS."""
        url = f"{os.environ['AWS_ENDPOINT_URL']}/hearth/v1/microvms/{self.id}/fork"
        request = AWSRequest("POST", url, data=b"{}")
        SigV4Auth(boto3.Session().get_credentials(), "lambda", os.environ["AWS_REGION"]).add_auth(request)
        http = URLLib3Session(verify=os.environ.get("AWS_CA_BUNDLE", True), timeout=300)
        answer = http.send(request.prepare())
        assert answer.status_code == 200, answer.text
        return Session(json.loads(answer.text))

    def suspend(self):
        microvms.suspend_microvm(microvmIdentifier=self.id)
        wait(self.state, "SUSPENDED", {"TERMINATED"})

    def terminate(self):
        microvms.terminate_microvm(microvmIdentifier=self.id)
        wait(self.state, "TERMINATED", set())


def run(image):
    policy = {"maxIdleDurationSeconds": 900, "suspendedDurationSeconds": 3600, "autoResumeEnabled": True}
    return Session(microvms.run_microvm(imageIdentifier=image, idlePolicy=policy))


PLOT = """
x = np.linspace(0, 10, 200)
plt.plot(x, np.sin(x) * np.exp(-x / 5))
plt.title("drawn in a microVM")
plt.savefig("plot.png")
float(np.trapz(np.sin(x), x))
"""


def main():
    print(f"1. An image from {NAME}/ and its Dockerfile")
    begun = time.monotonic()
    image = build()
    step("build the image", begun)

    print("2. A session for each of two tenants")
    begun = time.monotonic()
    alice = run(image)
    assert alice.execute("1 + 1")["result"] == "2"
    step("run to the first answer", begun)
    bob = run(image)

    print("3. Alice draws; what she sets, Bob does not see")
    begun = time.monotonic()
    drawn = alice.execute(PLOT)
    step("draw a plot", begun)
    target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "plot.png")
    target.write_bytes(base64.b64decode(drawn["files"]["plot.png"]))
    print(f"    the integral is {drawn['result']}, the plot is in {target}")
    alice.execute("secret = 42")
    answer = bob.execute("secret")
    assert answer["failed"] and "NameError" in answer["stderr"], answer
    print(f"    Bob asks for it: {answer['stderr'].splitlines()[-1]}")

    print("4. Alice sleeps, and a request wakes her")
    begun = time.monotonic()
    alice.suspend()
    step("suspend", begun)
    begun = time.monotonic()
    remembered = alice.execute("secret")["result"]
    step("wake by a request", begun)
    assert remembered == "42", remembered
    print(f"    she still knows: secret = {remembered}")

    sessions = [alice, bob]
    if HAS_FORKS:
        print("5. Alice is forked: two of her, who go on from here")
        begun = time.monotonic()
        twin = alice.fork()
        assert twin.execute("secret = secret + 1; secret")["result"] == "43"
        step("fork to the first answer", begun)
        assert alice.execute("secret")["result"] == "42"
        sessions.append(twin)
        print("    the twin says secret = 43, she still says 42")

    print("6. Nothing stays")
    for session in sessions:
        session.terminate()
    microvms.delete_microvm_image(imageIdentifier=image)
    s3.delete_object(Bucket=BUCKET, Key="code.zip")
    s3.delete_bucket(Bucket=BUCKET)
    begun = time.monotonic()
    while any(item["imageArn"] == image for item in microvms.list_microvm_images()["items"]):
        assert time.monotonic() - begun < 120, "the image does not go away"
        time.sleep(0.2)
    print("    all sessions are terminated; the image, its snapshot and the upload are deleted")

    print(f"\n{'step':<26} {'here':>9} {'AWS':>9}")
    for name, seconds in took:
        there = AWS_SECONDS.get(name)
        print(f"{name:<26} {seconds:>7.2f} s {f'{there:>7.2f} s' if there else '-':>9}")


if __name__ == "__main__":
    main()
