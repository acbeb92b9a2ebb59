"""The main job: a zip becomes an image, an image becomes microVMs, and they sleep, wake and end."""

import urllib.request

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families


def test_a_build_tells_what_it_did(hearth, hello):
    log = hearth.build_log("hello")
    assert "compiled on" in log, log
    assert "hook ready" in log and "hook validate" in log, log
    version = hearth.microvms.get_microvm_image_version(imageIdentifier=hello, imageVersion="1.0")
    assert (version["state"], version["status"]) == ("SUCCESSFUL", "ACTIVE")
    [build] = hearth.microvms.list_microvm_image_builds(imageIdentifier=hello, imageVersion="1.0")["items"]
    build = hearth.microvms.get_microvm_image_build(
        imageIdentifier=hello, imageVersion="1.0", buildId=build["buildId"]
    )
    sizes = build["snapshotBuild"]
    assert build["buildState"] == "SUCCESSFUL"
    assert all(size > 0 for size in sizes.values()), sizes


def test_two_microvms_share_nothing_but_their_beginning(hearth, hello):
    first = hearth.run(hello, runHookPayload="for the first")
    second = hearth.run(hello, runHookPayload="for the second")
    answers = [session.get() for session in (first, second)]
    assert [answer["microvm"] for answer in answers] == [first.id, second.id]
    assert [answer["payload"] for answer in answers] == ["for the first", "for the second"]
    assert answers[0]["random"] != answers[1]["random"]
    assert {answer["image"] for answer in answers} == {"hello"}
    # What one counts, the other does not.
    assert [first.get()["count"] for _ in range(3)] == [2, 3, 4]
    assert second.get()["count"] == 2
    # A token opens its own microVM alone.
    assert second.request(token=first.token())[0] == 403
    for session in (first, second):
        assert session.terminate()["stateReason"] == "Success."


def test_a_suspended_microvm_wakes_on_traffic_and_remembers(hearth, hello):
    policy = {"maxIdleDurationSeconds": 3600, "suspendedDurationSeconds": 3600, "autoResumeEnabled": True}
    session = hearth.run(hello, idlePolicy=policy)
    assert [session.get()["count"] for _ in range(2)] == [1, 2]
    for count in (3, 4):
        hearth.microvms.suspend_microvm(microvmIdentifier=session.id)
        hearth.wait_microvm(session.id, "SUSPENDED")
        answer = session.get()
        assert answer["count"] == count
    assert answer["hooks"] == ["ready", "run", "suspend", "resume", "suspend", "resume"]
    session.terminate()


def test_without_auto_resume_a_suspended_microvm_stays_so(hearth, hello):
    policy = {"maxIdleDurationSeconds": 3600, "suspendedDurationSeconds": 3600, "autoResumeEnabled": False}
    session = hearth.run(hello, idlePolicy=policy)
    hearth.microvms.suspend_microvm(microvmIdentifier=session.id)
    hearth.wait_microvm(session.id, "SUSPENDED")
    status, body = session.request()
    assert status == 502 and b"autoResumeEnabled" in body
    hearth.microvms.resume_microvm(microvmIdentifier=session.id)
    hearth.wait_microvm(session.id, "RUNNING")
    assert session.get()["count"] == 1
    session.terminate()


@pytest.mark.parametrize("name, files, reason, cause", [
    ("no-dockerfile", {"app.py": "print()"}, "Dockerfile", "Dockerfile"),
    ("exits", {"Dockerfile": 'FROM hearth/debian:12\nCMD ["sh", "-c", "exit 3"]\n'},
     "Container Stopped with Exit Code: 3", "exit code 3"),
])
def test_a_build_that_fails_says_why(hearth, name, files, reason, cause):
    artifact = hearth.upload(f"{name}-code", "code.zip", files)
    image = hearth.build(name, artifact)
    hearth.wait_image(image, "CREATE_FAILED", "CREATED")
    [build] = hearth.microvms.list_microvm_image_builds(imageIdentifier=image, imageVersion="1.0")["items"]
    assert build["buildState"] == "FAILED" and reason in build["stateReason"], build
    assert cause in hearth.build_log(name)


def test_operators_see_metrics(hearth, hello):
    session = hearth.run(hello)
    session.get()
    shown = urllib.request.urlopen(hearth.settings["endpoint_url"] + "/metrics").read().decode()
    # Nobody else learns which microVMs there are.
    assert session.id not in shown
    found = {family.name: family for family in text_string_to_metric_families(hearth.metrics())}
    assert found["hearth_front_requests"].samples
    [launches] = [s.value for s in found["hearth_launch_seconds"].samples if s.name.endswith("_count")]
    assert launches >= 1
    memory = {
        sample.labels["kind"]: sample.value
        for sample in found["hearth_microvm_memory_bytes"].samples if sample.labels["microvm"] == session.id
    }
    # Guests of one version share what they read; each has written something.
    assert 1 << 20 < memory["private"] < 512 << 20 and 1 << 20 < memory["shared"] < 512 << 20
    session.terminate()
