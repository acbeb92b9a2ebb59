"""Lambda functions in microVMs, deployed and called with boto3 as on AWS."""

import base64
import io
import json
import os
import uuid
import zipfile

import pytest

# It was not run yet. Whoever runs it first sets the variable, and removes this when it has passed.
pytestmark = pytest.mark.skipif("HEARTH_TRY_FUNCTIONS" not in os.environ, reason="HEARTH_TRY_FUNCTIONS is not set")

TRUST = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}

# An emulated host is some twenty times slower, and has little memory.
MEMORY_MB = 512
TIMEOUT_S = 120

CODE = """
import os, secrets, time
AT_IMPORT = secrets.token_hex(16)
calls = 0
def handler(event, context):
    global calls
    calls += 1
    if event.get("raise"):
        raise ValueError("as asked")
    print("said", event)
    return {"event": event, "at_import": AT_IMPORT, "calls": calls, "region": os.environ["AWS_REGION"],
            "name": context.function_name, "memory": context.memory_limit_in_mb, "key": "AWS_ACCESS_KEY_ID" in os.environ}
"""


def packed(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def role(hearth):
    name = f"function-{uuid.uuid4().hex[:8]}"
    return hearth.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]


@pytest.fixture(scope="module")
def functions(hearth):
    return hearth.client("lambda")


@pytest.fixture(scope="module")
def function(functions, role):
    name = f"hello-{uuid.uuid4().hex[:8]}"
    functions.create_function(
        FunctionName=name, Runtime="python3.11", Role=role, Handler="app.handler", Code={"ZipFile": packed({"app.py": CODE})},
        MemorySize=MEMORY_MB, Timeout=TIMEOUT_S,
    )
    functions.get_waiter("function_active_v2").wait(FunctionName=name)
    yield name
    functions.delete_function(FunctionName=name)


def test_a_function_answers_in_a_microvm(functions, function):
    first = functions.invoke(FunctionName=function, Payload=json.dumps({"n": 1}), LogType="Tail")
    answer = json.loads(first["Payload"].read())
    assert "FunctionError" not in first, answer
    assert (answer["event"], answer["calls"], answer["name"]) == ({"n": 1}, 1, function)
    assert (answer["region"], answer["memory"], answer["key"]) == ("us-east-1", str(MEMORY_MB), True)
    log = base64.b64decode(first["LogResult"]).decode()
    assert "said {'n': 1}" in log and "REPORT RequestId" in log and "Init Duration" in log

    # The same environment, whose vCPUs stood still meanwhile.
    second = json.loads(functions.invoke(FunctionName=function, Payload=json.dumps({}))["Payload"].read())
    assert (second["calls"], second["at_import"]) == (2, answer["at_import"])

    failed = functions.invoke(FunctionName=function, Payload=json.dumps({"raise": True}))
    assert failed["FunctionError"] == "Unhandled"
    assert json.loads(failed["Payload"].read())["errorType"] == "ValueError"


def test_new_code_is_a_new_environment(functions, function):
    functions.update_function_code(FunctionName=function, ZipFile=packed({"app.py": "handler = lambda event, context: 'new'"}))
    functions.get_waiter("function_updated_v2").wait(FunctionName=function)
    assert json.loads(functions.invoke(FunctionName=function)["Payload"].read()) == "new"
