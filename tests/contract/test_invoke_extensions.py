"""Extensions: their events, their order, and what is refused."""

import json
import sys

import pytest

from .invocations import Functions, bootstrap, wait, zipped

EXTENSION = """#!{python}
import http.client, json, os, sys, time
CONNECTION = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])


def call(method, path, body=None, **headers):
    CONNECTION.request(method, path, body, {{name.replace("_", "-"): value for name, value in headers.items()}})
    answer = CONNECTION.getresponse()
    return answer.status, answer.headers, json.loads(answer.read() or b"null")


def say(*words):
    print("EXT", json.dumps(words), flush=True)


name = os.path.basename(sys.argv[0])
body = json.dumps({{"events": {events}}})
status, headers, answer = call("POST", "/2020-01-01/extension/register", body, Lambda_Extension_Name=name, Lambda_Extension_Accept_Feature="accountId")
say("register", status, answer)
identifier = headers["Lambda-Extension-Identifier"]
telemetry = call("PUT", "/2022-07-01/telemetry", "{{}}", Lambda_Extension_Identifier=identifier)
say("telemetry", telemetry[0], telemetry[2])
while True:
    status, headers, event = call("GET", "/2020-01-01/extension/event/next", Lambda_Extension_Identifier=identifier)
    say(event)
    if event["eventType"] == "SHUTDOWN":
        sys.exit(0)
    time.sleep({work})
"""


@pytest.fixture(scope="module")
def functions(server):
    return Functions(server)


def layer(functions, name, events=("INVOKE", "SHUTDOWN"), work=0):
    text = EXTENSION.format(python=sys.executable, events=json.dumps(events), work=work)
    files = {f"extensions/{name}": text}
    return functions.lambda_.publish_layer_version(LayerName=name, Content={"ZipFile": zipped(files)})["LayerVersionArn"]


def said(functions, name):
    return [json.loads(line[4:]) for line in functions.events(name) if line.startswith("EXT ")]


def test_extensions_get_the_events_of_invocations_and_of_the_end(functions):
    name = functions.create(
        "def handler(event, headers): return list(os.environ)", Layers=[layer(functions, "watcher")], Timeout=1
    )
    answer = functions.invoke(name)
    assert "AWS_LAMBDA_RUNTIME_API" in answer.json
    heard = wait(lambda: said(functions, name), lambda heard: len(heard) >= 3)
    assert heard[0][:2] == ["register", 200]
    assert heard[0][2] == {
        "functionName": name,
        "functionVersion": "$LATEST",
        "handler": "app.handler",
        "accountId": functions.server.account,
    }
    assert heard[1][1] == 501 and heard[1][2]["errorType"] == "Unsupported"
    event = heard[2][0]
    assert event["eventType"] == "INVOKE" and event["requestId"] == answer.request_id
    assert event["invokedFunctionArn"].endswith(f":function:{name}")
    assert event["tracing"]["type"] == "X-Amzn-Trace-Id"
    assert "EXTENSION\tName: watcher\tState: Ready\tEvents: [INVOKE, SHUTDOWN]" in functions.events(name)
    # A change of the configuration ends the environment.
    functions.lambda_.update_function_configuration(FunctionName=name, Timeout=2)
    functions.lambda_.get_waiter("function_updated_v2").wait(FunctionName=name)
    functions.invoke(name)
    heard = wait(lambda: said(functions, name), lambda heard: any(isinstance(one[0], dict) and one[0]["eventType"] == "SHUTDOWN" for one in heard))
    shutdown = next(one[0] for one in heard if isinstance(one[0], dict) and one[0]["eventType"] == "SHUTDOWN")
    assert shutdown["shutdownReason"] == "spindown"


def test_an_answer_does_not_wait_for_extensions_and_the_next_invocation_does(functions):
    name = functions.create("def handler(event, headers): return os.getpid()", Layers=[layer(functions, "slow", work=0.5)])
    first = functions.invoke(name, LogType="Tail")
    report = next(line for line in first.log.split("\n") if line.startswith("REPORT"))
    assert float(report.split("\t")[1].split()[1]) >= 500
    # Without a tail, the answer comes at once.
    import time

    begun = time.monotonic()
    functions.invoke(name)
    assert time.monotonic() - begun < 0.4


def test_a_timeout_tells_extensions(functions):
    name = functions.create(
        "def handler(event, headers): time.sleep(event.get('s', 0)); return 1", Layers=[layer(functions, "told")], Timeout=1
    )
    assert functions.invoke(name).json == 1
    assert functions.invoke(name, {"s": 5}).json["errorType"] == "Sandbox.Timedout"
    heard = wait(lambda: [one[0].get("shutdownReason") for one in said(functions, name) if isinstance(one[0], dict)], lambda heard: "timeout" in heard)
    assert functions.invoke(name).json == 1


def test_what_is_not_allowed_is_refused(functions):
    name = functions.create(
        """
        def extension(method, path, body=None, **headers):
            CONNECTION.request(method, "/2020-01-01/extension/" + path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = CONNECTION.getresponse()
            return [answer.status, json.loads(answer.read())["errorType"]]

        early = [
            extension("POST", "register", '{"events": []}'),
            extension("POST", "register", '{"events": ["SHUTDOWN"]}', Lambda_Extension_Name="inner"),
            extension("POST", "register", '{"events": ["OTHER"]}', Lambda_Extension_Name="inner"),
            extension("POST", "register", '{', Lambda_Extension_Name="inner"),
        ]

        def handler(event, headers):
            return early + [
                extension("POST", "register", '{"events": ["INVOKE"]}', Lambda_Extension_Name="late"),
                extension("GET", "event/next"),
                extension("GET", "event/next", Lambda_Extension_Identifier="x"),
                extension("GET", "event/next", Lambda_Extension_Identifier="00000000-0000-0000-0000-000000000000"),
            ]
        """
    )
    assert functions.invoke(name).json == [
        [403, "Extension.InvalidExtensionName"],
        [403, "Extension.InvalidEventType"],
        [403, "Extension.InvalidEventType"],
        [400, "InvalidRequestFormat"],
        [403, "Extension.RegistrationClosed"],
        [403, "Extension.MissingExtensionIdentifier"],
        [403, "Extension.InvalidExtensionIdentifier"],
        [403, "Extension.UnknownExtensionIdentifier"],
    ]
