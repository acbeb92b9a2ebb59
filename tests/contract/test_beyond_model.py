"""Members that AWS sends although no model has them. Clients drop them, so the tests read the raw answers."""

import json

from .test_bad_clients import send
from .test_story import create, run, wait_for


def body(server, path):
    status, _, text = send(server, "GET", path)
    assert status == 200
    return json.loads(text)


def test_microvms_and_builds_have_a_reason_code_and_images_an_id(server):
    microvms = server.client("lambda-microvms")
    arn, _ = create(microvms)
    wait_for(lambda: microvms.get_microvm_image(imageIdentifier=arn), "state", {"CREATED"})
    image = body(server, f"/2025-09-09/microvm-images/{arn}")
    assert image["id"]

    microvm = body(server, f"/2025-09-09/microvms/{run(microvms, arn)}")
    assert microvm["terminationReasonCode"] is None

    builds = f"/2025-09-09/microvm-images/{arn}/versions/1.0/builds"
    [item] = body(server, builds)["items"]
    build = body(server, f"{builds}/{item['buildId']}")
    assert build["terminationReasonCode"] is None
    assert build.items() >= item.items()
