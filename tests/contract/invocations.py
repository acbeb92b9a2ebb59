"""Functions for the contract tests: hand-written runtimes in a zip, run as processes by the server under test."""

import base64
import io
import json
import sys
import textwrap
import time
import uuid
import zipfile

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}

# A runtime for `provided.*`: calls `handler(event, headers)` of the test's code.
RUNTIME = """#!{python}
import http.client, json, os, sys, time

sys.stdout.reconfigure(line_buffering=True)
CONNECTION = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])


def call(method, path, body=None, headers={{}}):
    CONNECTION.request(method, "/2018-06-01/runtime/" + path, body, headers)
    answer = CONNECTION.getresponse()
    return answer.status, answer.headers, answer.read()


def next_event():
    _, headers, body = call("GET", "invocation/next")
    return headers["Lambda-Runtime-Aws-Request-Id"], headers, json.loads(body)


def respond(id, result):
    return call("POST", f"invocation/{{id}}/response", json.dumps(result))


def serve():
    while True:
        id, headers, event = next_event()
        try:
            result = handler(event, headers)
        except Exception as error:
            payload = {{"errorMessage": str(error), "errorType": type(error).__name__}}
            kind = {{"Lambda-Runtime-Function-Error-Type": "Function.Raised"}}
            call("POST", f"invocation/{{id}}/error", json.dumps(payload), kind)
        else:
            respond(id, result)


{code}
{start}
"""


def bootstrap(code, start="serve()"):
    return RUNTIME.format(python=sys.executable, code=textwrap.dedent(code), start=textwrap.dedent(start))


def zipped(files):
    """A zip of texts by name. Files are executable."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o100755 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, text)
    return buffer.getvalue()


class Functions:
    """Creates functions and runs them."""

    def __init__(self, server, key=0):
        self.server = server
        self.lambda_ = server.client("lambda", key=key, read_timeout=120)
        self.logs = server.client("logs", key=key)
        iam = server.client("iam", key=key)
        name = f"functions-{uuid.uuid4().hex[:8]}"
        self.role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
        self.role_name, self.iam = name, iam

    def create(self, code, start="serve()", files=None, **settings):
        files = {"bootstrap": bootstrap(code, start)} if files is None else files
        return self.create_of(zipped(files), **settings)

    def create_of(self, zip_file, **settings):
        name = settings.pop("FunctionName", f"f-{uuid.uuid4().hex[:12]}")
        settings = {"Runtime": "provided.al2023", "Handler": "app.handler", "Timeout": 10, **settings}
        self.lambda_.create_function(FunctionName=name, Role=self.role, Code={"ZipFile": zip_file}, **settings)
        self.lambda_.get_waiter("function_active_v2").wait(FunctionName=name)
        return name

    def update(self, name, code, start="serve()"):
        zip_file = zipped({"bootstrap": bootstrap(code, start)})
        self.lambda_.update_function_code(FunctionName=name, ZipFile=zip_file)
        self.lambda_.get_waiter("function_updated_v2").wait(FunctionName=name)

    def invoke(self, name, event=None, **settings):
        if event is not None:
            settings["Payload"] = json.dumps(event)
        return Answer(self.lambda_.invoke(FunctionName=name, **settings))

    def events(self, name, group=None):
        """All lines of a function's log."""
        group = group or f"/aws/lambda/{name}"
        try:
            found = self.logs.filter_log_events(logGroupName=group, limit=10000)
        except self.logs.exceptions.ResourceNotFoundException:
            return []
        return [event["message"] for event in found["events"]]

    def wait_for_line(self, name, text, count=1, seconds=20):
        return wait(lambda: [line for line in self.events(name) if text in line], lambda found: len(found) >= count, seconds)


class Answer:
    """What `Invoke` answered."""

    def __init__(self, answer):
        self.raw = answer
        self.status = answer["StatusCode"]
        self.error = answer.get("FunctionError")
        self.version = answer.get("ExecutedVersion")
        self.request_id = answer["ResponseMetadata"]["RequestId"]
        self.headers = answer["ResponseMetadata"]["HTTPHeaders"]
        self.body = answer["Payload"].read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def log(self):
        return base64.b64decode(self.raw["LogResult"]).decode()


def wait(read, is_good=bool, seconds=20):
    """Reads until the value is good."""
    deadline = time.monotonic() + seconds
    while True:
        value = read()
        if is_good(value):
            return value
        assert time.monotonic() < deadline, value
        time.sleep(0.05)
