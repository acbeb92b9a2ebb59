"""Invocations: answers, errors, limits and logs, as the service gives them (facts sections 2, 3 and 9.1)."""

import base64
import json
import os
import re

import pytest
import requests
from botocore.exceptions import ClientError

from .invocations import Functions, bootstrap, wait, zipped

ECHO = """
    def handler(event, headers):
        print("said", event)
        return {"event": event, "id": headers["Lambda-Runtime-Aws-Request-Id"], "pid": os.getpid()}
"""


@pytest.fixture(scope="module")
def functions(server):
    return Functions(server)


@pytest.fixture(scope="module")
def echo(functions):
    return functions.create(ECHO)


def refused(status, code, action):
    with pytest.raises(ClientError) as caught:
        action()
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status, response
    assert response["Error"]["Code"] == code, response
    return response


def test_an_answer_has_the_headers_of_the_service(functions, echo):
    answer = functions.invoke(echo, {"a": 1})
    assert (answer.status, answer.error, answer.version) == (200, None, "$LATEST")
    assert answer.json["event"] == {"a": 1}
    assert answer.json["id"] == answer.request_id
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-amzn-remapped-content-length"] == "0"
    assert re.fullmatch(r"root=1-[0-9a-f]{8}-[0-9a-f]{24};parent=[0-9a-f]{16};sampled=0", answer.headers["x-amzn-trace-id"])


def test_an_environment_is_reused(functions, echo):
    pids = {functions.invoke(echo, {}).json["pid"] for _ in range(20)}
    assert len(pids) == 1


def test_an_empty_body_is_an_empty_event_and_nothing_is_null(functions, echo):
    assert functions.invoke(echo).json["event"] == {}
    nothing = functions.create("def handler(event, headers): return None")
    assert functions.invoke(nothing).body == b"null"


def test_a_raised_error_is_unhandled_and_keeps_the_environment(functions):
    name = functions.create(
        """
        count = 0
        def handler(event, headers):
            global count
            count += 1
            if event.get("fail"):
                raise ValueError("no")
            return count
        """
    )
    assert functions.invoke(name).json == 1
    answer = functions.invoke(name, {"fail": True}, LogType="Tail")
    assert (answer.status, answer.error) == (200, "Unhandled")
    assert answer.json == {"errorMessage": "no", "errorType": "ValueError"}
    assert "Status:" not in answer.log
    assert functions.invoke(name).json == 3


def test_a_timeout_resets_the_environment_and_keeps_tmp(functions):
    name = functions.create(
        """
        kept = os.path.join(os.environ["TMPDIR"], "kept")
        count = 0
        def handler(event, headers):
            global count
            count += 1
            if event.get("sleep"):
                open(kept, "w").write("x")
                time.sleep(30)
            return [count, os.path.exists(kept)]
        """,
        Timeout=1,
    )
    assert functions.invoke(name).json == [1, False]
    answer = functions.invoke(name, {"sleep": True}, LogType="Tail")
    assert (answer.status, answer.error) == (200, "Unhandled")
    text = f"RequestId: {answer.request_id} Error: Task timed out after 1.00 seconds"
    assert answer.body.decode() == f'{{"errorType":"Sandbox.Timedout","errorMessage":"{text}"}}'
    report = [line for line in answer.log.split("\n") if line.startswith("REPORT")]
    assert report[0].endswith("\tStatus: timeout\t")
    after = functions.invoke(name, LogType="Tail")
    assert after.json == [1, True]
    assert "Init Duration" not in after.log


@pytest.mark.parametrize(
    "death, text",
    [
        ("os._exit(0)", "Runtime exited without providing a reason"),
        ("os._exit(3)", "Runtime exited with error: exit status 3"),
        ("os.kill(os.getpid(), 9)", "Runtime exited with error: signal: killed"),
    ],
)
def test_a_runtime_that_ends_is_told(functions, death, text):
    name = functions.create(f"def handler(event, headers): {death}")
    answer = functions.invoke(name, LogType="Tail")
    assert (answer.status, answer.error) == (200, "Unhandled")
    assert answer.json == {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {answer.request_id} Error: {text}"}
    assert "\tStatus: error\tError Type: Runtime.ExitError\t" in answer.log


def test_an_exit_at_init_is_tried_twice_and_told_once(functions, tmp_path):
    starts = tmp_path / "starts"
    name = functions.create(f"open({str(starts)!r}, 'a').write('x'); sys.exit(2)")
    answer = functions.invoke(name)
    assert answer.error == "Unhandled"
    assert answer.json["errorMessage"].endswith("Runtime exited with error: exit status 2")
    assert starts.read_text() == "xx"
    lines = functions.wait_for_line(name, "INIT_REPORT", count=2)
    assert "Phase: init\tStatus: error\tError Type: Runtime.ExitError" in lines[0]
    assert "Phase: invoke\tStatus: error\tError Type: Runtime.ExitError" in lines[1]


def test_an_error_at_init_is_the_runtimes_own_payload(functions):
    name = functions.create(
        """
        payload = '{"errorMessage":"Unable to import","errorType":"Runtime.ImportModuleError","requestId":"","stackTrace":[]}'
        call("POST", "init/error", payload, {"Lambda-Runtime-Function-Error-Type": "Runtime.ImportModuleError"})
        sys.exit(1)
        """
    )
    answer = functions.invoke(name)
    assert (answer.status, answer.error) == (200, "Unhandled")
    assert answer.json["errorType"] == "Runtime.ImportModuleError"
    assert answer.json["requestId"] == ""


def test_a_missing_or_broken_bootstrap_is_told(functions):
    name = functions.create("", files={"other": "x"})
    answer = functions.invoke(name)
    text = "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"
    assert answer.json == {
        "errorType": "Runtime.InvalidEntrypoint",
        "errorMessage": f"RequestId: {answer.request_id} Error: {text}",
    }
    name = functions.create("", files={"bootstrap": "#!/nowhere/at/all\n"})
    assert functions.invoke(name).json["errorType"] == "Runtime.InvalidEntrypoint"


def test_a_tail_is_the_end_of_the_log(functions):
    name = functions.create(
        """
        def handler(event, headers):
            for number in range(event["lines"]):
                print("line", number, flush=True)
            return 1
        """
    )
    first = functions.invoke(name, {"lines": 2}, LogType="Tail")
    lines = first.log.split("\n")
    assert lines[0] == f"START RequestId: {first.request_id} Version: $LATEST"
    assert lines[1:4] == ["line 0", "line 1", f"END RequestId: {first.request_id}"]
    report = (
        rf"REPORT RequestId: {first.request_id}\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\t"
        r"Max Memory Used: \d+ MB\tInit Duration: \d+\.\d\d ms\t"
    )
    assert re.fullmatch(report, lines[4]), lines[4]
    second = functions.invoke(name, {"lines": 2000}, LogType="Tail")
    assert len(second.log.encode()) == 4096
    assert "line 1999\n" in second.log and "Init Duration" not in second.log
    assert "LogResult" not in functions.invoke(name, {"lines": 1}).raw


def test_the_log_goes_to_its_group(functions, echo):
    answer = functions.invoke(echo, {"for": "the log"})
    functions.wait_for_line(echo, f"REPORT RequestId: {answer.request_id}")
    lines = functions.events(echo)
    assert lines[0].startswith("INIT_START Runtime Version: provided:al2023.v1\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:")
    place = lines.index(f"START RequestId: {answer.request_id} Version: $LATEST")
    assert lines[place + 1] == "said {'for': 'the log'}"
    assert lines[place + 2] == f"END RequestId: {answer.request_id}"
    streams = functions.logs.describe_log_streams(logGroupName=f"/aws/lambda/{echo}")["logStreams"]
    assert all(re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream["logStreamName"]) for stream in streams)


def test_json_logs_have_records_of_the_platform(functions):
    name = functions.create(ECHO, LoggingConfig={"LogFormat": "JSON", "LogGroup": "own-group", "SystemLogLevel": "INFO"})
    answer = functions.invoke(name, LogType="Tail")
    records = [json.loads(line) for line in answer.log.strip().split("\n") if line.startswith("{")]
    assert [record["type"] for record in records] == ["platform.start", "platform.report"]
    report = records[1]["record"]
    assert report["requestId"] == answer.request_id and report["status"] == "success"
    assert report["metrics"]["memorySizeMB"] == 128
    wait(lambda: [line for line in functions.events(name, "own-group") if "platform.report" in line])


def test_versions_and_aliases_run_what_they_name(functions):
    name = functions.create("def handler(event, headers): return [os.environ['AWS_LAMBDA_FUNCTION_VERSION'], headers['Lambda-Runtime-Invoked-Function-Arn']]")
    arn = f"arn:aws:lambda:us-east-1:{functions.server.account}:function:{name}"
    version = functions.lambda_.publish_version(FunctionName=name)["Version"]
    functions.lambda_.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    latest = functions.invoke(name)
    assert (latest.version, latest.json) == ("$LATEST", ["$LATEST", arn])
    for settings in ({"Qualifier": "live"}, {}):
        target = name if settings else f"{arn}:live"
        answer = functions.invoke(target, **settings)
        assert (answer.version, answer.json) == ("1", ["1", f"{arn}:live"])
    refused(400, "InvalidParameterValueException", lambda: functions.invoke(f"{name}:live", Qualifier="other"))


def test_missing_functions_are_named_with_their_qualifier(functions):
    response = refused(404, "ResourceNotFoundException", lambda: functions.invoke("nobody"))
    arn = f"arn:aws:lambda:us-east-1:{functions.server.account}:function:nobody"
    assert response["Error"]["Message"] == f"Function not found: {arn}:$LATEST"
    response = refused(404, "ResourceNotFoundException", lambda: functions.invoke("nobody", Qualifier="42"))
    assert response["Error"]["Message"] == f"Function not found: {arn}:42"


def test_a_dry_run_runs_nothing(functions, echo):
    answer = functions.invoke(echo, {}, InvocationType="DryRun")
    assert (answer.status, answer.body) == (204, b"")
    refused(404, "ResourceNotFoundException", lambda: functions.invoke("nobody", InvocationType="DryRun"))


def test_contexts_and_traces_reach_the_function(functions):
    name = functions.create("def handler(event, headers): return [headers['Lambda-Runtime-Client-Context'], headers['Lambda-Runtime-Trace-Id'], headers['Lambda-Runtime-Deadline-Ms'], time.time()]")
    context = base64.b64encode(b'{"custom": {"a": 1}}').decode()
    answer = functions.invoke(name, ClientContext=context).json
    assert json.loads(answer[0]) == {"custom": {"a": 1}}
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0", answer[1])
    assert 8 < int(answer[2]) / 1000 - answer[3] <= 10
    refused(400, "InvalidRequestContentException", lambda: functions.invoke(name, ClientContext="%%%"))


def test_sizes_are_limited(functions, echo):
    large = json.dumps("x" * (1 << 20))
    response = refused(
        413, "RequestTooLargeException", lambda: functions.lambda_.invoke(FunctionName=echo, Payload=large, InvocationType="Event")
    )
    text = "1048578 byte payload is too large for the Event invocation type (limit 1048576 bytes)"
    assert response["Error"]["Message"] == text
    larger = json.dumps("x" * (6 << 20))
    response = refused(413, "RequestTooLargeException", lambda: functions.lambda_.invoke(FunctionName=echo, Payload=larger))
    text = "6291458 byte payload is too large for the RequestResponse invocation type (limit 6291456 bytes)"
    assert response["Error"]["Message"] == text
    name = functions.create("def handler(event, headers): return 'x' * event['bytes']", MemorySize=256)
    # Two quotes and 6 MiB, and 98 bytes that the service adds.
    fits = functions.invoke(name, {"bytes": 6 * 1024 * 1024 + 98})
    assert (fits.error, len(fits.body)) == (None, 6 * 1024 * 1024 + 100)
    answer = functions.invoke(name, {"bytes": 6 * 1024 * 1024 + 99})
    assert answer.error == "Unhandled"
    assert answer.body.decode() == (
        '{"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).",'
        '"errorType":"Function.ResponseSizeTooLarge"}'
    )
    assert functions.invoke(name, {"bytes": 1}).json == "x"


def test_what_is_no_json_is_refused(functions, echo):
    response = refused(400, "InvalidRequestContentException", lambda: functions.lambda_.invoke(FunctionName=echo, Payload=b"\x87"))
    assert response["Error"]["Message"].startswith("Could not parse request body into json: Could not parse payload into json: ")


def test_tenants_have_environments_of_their_own(functions, echo):
    name = functions.create(
        "def handler(event, headers): return [os.getpid(), headers['Lambda-Runtime-Aws-Tenant-Id']]",
        TenancyConfig={"TenantIsolationMode": "PER_TENANT"},
    )
    a = functions.invoke(name, TenantId="a").json
    b = functions.invoke(name, TenantId="b").json
    assert (a[1], b[1]) == ("a", "b") and a[0] != b[0]
    assert functions.invoke(name, TenantId="a").json == a
    response = refused(400, "InvalidParameterValueException", lambda: functions.invoke(name))
    assert response["Error"]["Message"].startswith("The invoked function is enabled with tenancy configuration.")
    response = refused(400, "InvalidParameterValueException", lambda: functions.invoke(echo, TenantId="a"))
    assert response["Error"]["Message"].startswith("The invoked function is not enabled with tenancy configuration.")


def test_variables_are_those_of_the_service(functions):
    name = functions.create("def handler(event, headers): return dict(os.environ)", Environment={"Variables": {"OWN": "1", "TZ": "mine"}})
    variables = functions.invoke(name).json
    expected = {
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
        "_HANDLER": "app.handler",
        "LANG": "en_US.UTF-8",
        "OWN": "1",
        "TZ": "mine",
    }
    assert {key: variables[key] for key in expected} == expected
    assert variables["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert "AWS_EXECUTION_ENV" not in variables and "AWS_LAMBDA_MAX_CONCURRENCY" not in variables


def test_credentials_are_those_of_the_role(functions):
    name = functions.create("def handler(event, headers): return dict(os.environ)")
    variables = functions.invoke(name).json
    import boto3

    sts = boto3.client(
        "sts",
        endpoint_url=functions.server.url,
        region_name="us-east-1",
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=variables["AWS_SESSION_TOKEN"],
    )
    arn = f"arn:aws:sts::{functions.server.account}:assumed-role/{functions.role_name}/{name}"
    assert sts.get_caller_identity()["Arn"] == arn


def test_a_change_of_code_recycles_environments(functions):
    name = functions.create("def handler(event, headers): return 1")
    assert functions.invoke(name).json == 1
    functions.update(name, "def handler(event, headers): return 2")
    assert functions.invoke(name).json == 2


def test_roles_run_what_their_policies_allow(functions, echo):
    role = functions.iam.create_role(
        RoleName="invoker",
        AssumeRolePolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Principal": {"AWS": functions.server.account}, "Action": "sts:AssumeRole"}],
            }
        ),
    )["Role"]["Arn"]
    keys = functions.server.client("sts").assume_role(RoleArn=role, RoleSessionName="caller")["Credentials"]
    import boto3

    caller = boto3.client(
        "lambda",
        endpoint_url=functions.server.url,
        region_name="us-east-1",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    arn = f"arn:aws:lambda:us-east-1:{functions.server.account}:function:{echo}"
    response = refused(403, "AccessDeniedException", lambda: caller.invoke(FunctionName=echo))
    assert f"is not authorized to perform: lambda:InvokeFunction on resource: {arn}" in response["Error"]["Message"]
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": arn}]}
    functions.iam.put_role_policy(RoleName="invoker", PolicyName="run", PolicyDocument=json.dumps(document))
    assert caller.invoke(FunctionName=echo)["StatusCode"] == 200


# Streams.


STREAM = """
    def handler(event, headers):
        pass

    def stream(id, chunks, error=None):
        CONNECTION.putrequest("POST", f"/2018-06-01/runtime/invocation/{id}/response")
        for name, value in [("Lambda-Runtime-Function-Response-Mode", "streaming"), ("Transfer-Encoding", "chunked"),
                            ("Content-Type", "text/html"),
                            ("Trailer", "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body")]:
            CONNECTION.putheader(name, value)
        CONNECTION.endheaders()
        for chunk in chunks:
            CONNECTION.send(b"%x\\r\\n%s\\r\\n" % (len(chunk), chunk))
            time.sleep(0.05)
        trailer = b""
        if error:
            import base64
            body = base64.b64encode(json.dumps({"errorMessage": error, "errorType": "Broken"}).encode())
            trailer = b"Lambda-Runtime-Function-Error-Type: Function.Broken\\r\\nLambda-Runtime-Function-Error-Body: " + body + b"\\r\\n"
        CONNECTION.send(b"0\\r\\n" + trailer + b"\\r\\n")
        answer = CONNECTION.getresponse()
        answer.read()
"""

STREAM_START = """
    while True:
        id, headers, event = next_event()
        stream(id, [text.encode() for text in event["chunks"]], event.get("error"))
"""


def read_stream(functions, name, event, **settings):
    answer = functions.lambda_.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event), **settings)
    chunks, complete = [], None
    for message in answer["EventStream"]:
        if "PayloadChunk" in message:
            chunks.append(message["PayloadChunk"]["Payload"].decode())
        else:
            complete = message["InvokeComplete"]
    return answer, chunks, complete


def test_a_streaming_function_streams(functions):
    name = functions.create(STREAM, STREAM_START)
    answer, chunks, complete = read_stream(functions, name, {"chunks": ["a", "bc", "d"]}, LogType="Tail")
    assert answer["ExecutedVersion"] == "$LATEST"
    assert chunks == ["a", "bc", "d"]
    assert "REPORT" in base64.b64decode(complete.pop("LogResult")).decode()
    assert complete == {}
    # The same function called to answer at once.
    assert functions.invoke(name, {"chunks": ["1", "2"]}).body == b"12"
    _, chunks, complete = read_stream(functions, name, {"chunks": ["a"], "error": "half way"})
    assert chunks == ["a"]
    assert complete["ErrorCode"] == "Function.Broken"
    assert json.loads(complete["ErrorDetails"]) == {"errorMessage": "half way", "errorType": "Broken"}


def test_a_function_that_does_not_stream_is_one_chunk(functions, echo):
    _, chunks, complete = read_stream(functions, echo, {"a": 1})
    assert len(chunks) == 1 and json.loads(chunks[0])["event"] == {"a": 1}
    assert complete == {}


def test_errors_come_at_the_end_of_a_stream(functions):
    name = functions.create("def handler(event, headers): os._exit(1)")
    _, chunks, complete = read_stream(functions, name, {})
    assert chunks == []
    assert complete["ErrorCode"] == "Runtime.ExitError"


# Official clients.


@pytest.fixture(scope="module")
def python(functions):
    if "HEARTH_DEV_PYTHON" not in os.environ:
        pytest.skip("HEARTH_DEV_PYTHON names no Python with awslambdaric")
    code = """
import random, uuid
count, token = 0, uuid.uuid4().hex

def handler(event, context):
    global count
    count += 1
    if event.get("raise"):
        raise ValueError("no")
    if event.get("set"):
        return {1}
    print("hello")
    return [event, count, token, context.aws_request_id, context.function_name, context.memory_limit_in_mb,
            context.invoked_function_arn, context.get_remaining_time_in_millis() > 0]
"""
    return functions.create_of(zipped({"pkg/app.py": code, "pkg/__init__.py": ""}), Runtime="python3.11", Handler="pkg/app.handler")


def test_awslambdaric_is_served(functions, python):
    answer = functions.invoke(python, {"a": "ü"}, LogType="Tail")
    assert answer.error is None, answer.body
    event, count, _, request_id, name, memory, arn, has_time = answer.json
    assert (event, count, request_id, name, memory, has_time) == ({"a": "ü"}, 1, answer.request_id, python, "128", True)
    assert "hello\n" in answer.log
    answer = functions.invoke(python, {"raise": 1})
    assert answer.error == "Unhandled"
    assert list(answer.json) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert (answer.json["errorType"], answer.json["requestId"]) == ("ValueError", answer.request_id)
    assert functions.invoke(python, {"set": 1}).json["errorType"] == "Runtime.MarshalError"
    assert functions.invoke(python, {}).json[1] == 4


def test_awslambdaric_tells_what_it_cannot_import(functions, python):
    for handler, error in [("app.x", "Runtime.ImportModuleError"), ("pkg/app.x", "Runtime.HandlerNotFound"), ("x", "Runtime.MalformedHandlerName")]:
        name = functions.create_of(zipped({"pkg/app.py": "", "pkg/__init__.py": ""}), Runtime="python3.11", Handler=handler)
        answer = functions.invoke(name)
        assert (answer.status, answer.error, answer.json["errorType"]) == (200, "Unhandled", error)
