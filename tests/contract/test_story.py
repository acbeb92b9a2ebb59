"""The whole story of an image and its microVMs, every answer held against the model."""

import time
import uuid

import pytest

from .checked import refusal

BASE = "arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1"
ROLE = "arn:aws:iam::000000000000:role/build"


def wait_for(get, member, wanted, seconds=20):
    deadline = time.monotonic() + seconds
    while (found := get()[member]) not in wanted:
        assert time.monotonic() < deadline, f"still {found}"
        time.sleep(0.05)
    return found


def create(microvms, key="app.zip", **more):
    name = f"image-{uuid.uuid4().hex[:12]}"
    made = microvms.create_microvm_image(
        name=name, baseImageArn=BASE, buildRoleArn=ROLE, codeArtifact={"uri": f"s3://bucket/{key}"}, **more
    )
    return made["imageArn"], made


@pytest.fixture
def image(microvms):
    arn, _ = create(microvms)
    wait_for(lambda: microvms.get_microvm_image(imageIdentifier=arn), "state", {"CREATED"})
    return arn


def run(microvms, image, **more):
    microvm = microvms.run_microvm(imageIdentifier=image, **more)["microvmId"]
    wait_for(lambda: microvms.get_microvm(microvmIdentifier=microvm), "state", {"RUNNING"})
    return microvm


def state(microvms, microvm):
    return lambda: microvms.get_microvm(microvmIdentifier=microvm)


def test_an_image_from_creation_to_deletion(microvms):
    arn, made = create(microvms, tags={"team": "a b"}, hooks={"port": 9000, "microvmImageHooks": {"ready": "ENABLED"}})
    assert made["state"] == "CREATING" and made["imageVersion"] == "1.0"
    assert made["resources"] == [{"minimumMemoryInMiB": 2048}]
    assert made["egressNetworkConnectors"][0].endswith("aws-network-connector:INTERNET_EGRESS")
    get = lambda: microvms.get_microvm_image(imageIdentifier=arn)
    wait_for(get, "state", {"CREATED"})
    assert get()["latestActiveImageVersion"] == "1.0" and get()["tags"] == {"team": "a b"}

    updated = microvms.update_microvm_image(
        imageIdentifier=arn, baseImageArn=BASE, baseImageVersion="1", buildRoleArn=ROLE,
        codeArtifact={"uri": "s3://bucket/app2.zip"}, description="two", resources=[{"minimumMemoryInMiB": 512}],
    )
    assert updated["state"] == "UPDATING" and updated["imageVersion"] == "2.0"
    wait_for(get, "state", {"UPDATED"})
    versions = microvms.list_microvm_image_versions(imageIdentifier=arn)["items"]
    assert {version["imageVersion"] for version in versions} == {"1.0", "2.0"}
    second = microvms.get_microvm_image_version(imageIdentifier=arn, imageVersion="2.0")
    assert (second["state"], second["status"], second["description"]) == ("SUCCESSFUL", "ACTIVE", "two")

    builds = microvms.list_microvm_image_builds(imageIdentifier=arn, imageVersion="2.0")["items"]
    assert [build["buildState"] for build in builds] == ["SUCCESSFUL"]
    build = microvms.get_microvm_image_build(imageIdentifier=arn, imageVersion="2.0", buildId=builds[0]["buildId"])
    assert build["snapshotBuild"]["memorySnapshotSizeInBytes"] > 0

    inactive = microvms.update_microvm_image_version(imageIdentifier=arn, imageVersion="2.0", status="INACTIVE")
    assert inactive["status"] == "INACTIVE"
    pinned = refusal(microvms.run_microvm, imageIdentifier=arn, imageVersion="2.0")
    assert pinned == (404, "ResourceNotFoundException", f"No active version found for MicroVM image {arn} and version 2.0")

    gone = microvms.delete_microvm_image_version(imageIdentifier=arn, imageVersion="2.0")
    assert gone["state"] == "DELETING"
    wait_for(get, "state", {"UPDATED"})
    last = refusal(microvms.delete_microvm_image_version, imageIdentifier=arn, imageVersion="1.0")
    assert last[0::2] == (400, "This is the last version. Please delete the entire image")
    assert microvms.delete_microvm_image(imageIdentifier=arn)["state"] == "DELETING"
    deadline = time.monotonic() + 20
    while arn in {item["imageArn"] for item in microvms.list_microvm_images()["items"]}:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    missing = refusal(microvms.get_microvm_image, imageIdentifier=arn)
    assert missing == (404, "ResourceNotFoundException", f"MicroVMImage not found for MicroVMImageID: {arn}")


def test_a_failed_build_says_why_on_the_build(microvms):
    arn, _ = create(microvms, key="fail.zip")
    wait_for(lambda: microvms.get_microvm_image(imageIdentifier=arn), "state", {"CREATE_FAILED"})
    builds = microvms.list_microvm_image_builds(imageIdentifier=arn, imageVersion="1.0")["items"]
    assert builds[0]["stateReason"] == "The container image build failed."


def test_a_microvm_from_launch_to_end(microvms, image):
    policy = {"maxIdleDurationSeconds": 60, "suspendedDurationSeconds": 3600, "autoResumeEnabled": True}
    microvm = run(microvms, image, idlePolicy=policy, maximumDurationInSeconds=600)
    found = microvms.get_microvm(microvmIdentifier=microvm)
    assert found["idlePolicy"] == policy and found["maximumDurationInSeconds"] == 600
    assert found["ingressNetworkConnectors"][0].endswith(":HTTP_INGRESS")
    assert "://" not in found["endpoint"]

    for _ in range(2):
        microvms.suspend_microvm(microvmIdentifier=microvm)
        wait_for(state(microvms, microvm), "state", {"SUSPENDED"})
    token = microvms.create_microvm_auth_token(
        microvmIdentifier=microvm, expirationInMinutes=5, allowedPorts=[{"port": 8080}, {"range": {"startPort": 1, "endPort": 9}}, {"allPorts": {}}]
    )
    assert list(token["authToken"]) == ["X-aws-proxy-auth"]
    for _ in range(2):
        microvms.resume_microvm(microvmIdentifier=microvm)
        wait_for(state(microvms, microvm), "state", {"RUNNING"})

    assert refusal(microvms.delete_microvm_image, imageIdentifier=image)[2] == "Cannot delete microvm image with running microvms."
    microvms.terminate_microvm(microvmIdentifier=microvm)
    wait_for(state(microvms, microvm), "state", {"TERMINATED"})
    microvms.terminate_microvm(microvmIdentifier=microvm)
    text = f"The MicroVM {microvm} has been terminated and its state cannot be changed."
    assert refusal(microvms.suspend_microvm, microvmIdentifier=microvm) == (400, "ValidationException", text)
    assert microvms.get_microvm(microvmIdentifier=microvm)["terminatedAt"] is not None
    assert microvm in {item["microvmId"] for item in microvms.list_microvms(imageIdentifier=image)["items"]}


def test_shell_tokens_need_a_shell(microvms, image):
    ingress = "arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:{}"
    plain = run(microvms, image)
    shell = run(microvms, image, ingressNetworkConnectors=[ingress.format("HTTP_INGRESS"), ingress.format("SHELL_INGRESS")])
    assert "requires SHELL_INGRESS" in refusal(microvms.create_microvm_shell_auth_token, microvmIdentifier=plain, expirationInMinutes=1)[2]
    assert microvms.create_microvm_shell_auth_token(microvmIdentifier=shell, expirationInMinutes=60)["authToken"]
    long = refusal(microvms.create_microvm_shell_auth_token, microvmIdentifier=shell, expirationInMinutes=61)
    assert long == (400, "ValidationException", "ExpirationMinutes 61 exceeded max allowed of 60.")


def test_client_tokens_make_a_call_safe_to_repeat(microvms, image):
    token = uuid.uuid4().hex
    first = microvms.run_microvm(imageIdentifier=image, clientToken=token)
    assert microvms.run_microvm(imageIdentifier=image, clientToken=token)["microvmId"] == first["microvmId"]
    conflict = refusal(microvms.run_microvm, imageIdentifier=image, clientToken=token, maximumDurationInSeconds=60)
    assert conflict[:2] == (409, "ConflictException")


def test_pages_cover_more_than_fifty_microvms(microvms, image):
    wanted = {microvms.run_microvm(imageIdentifier=image)["microvmId"] for _ in range(60)}
    pages = list(microvms.get_paginator("list_microvms").paginate(imageIdentifier=image, PaginationConfig={"PageSize": 25}))
    found = [item["microvmId"] for page in pages for item in page["items"]]
    assert len(pages) == 3 and len(found) == len(set(found)) and set(found) == wanted
    token = microvms.list_microvms(imageIdentifier=image, maxResults=1)["nextToken"]
    assert refusal(microvms.list_microvms, nextToken=token)[:2] == (400, "ValidationException")
    for microvm in wanted:
        microvms.terminate_microvm(microvmIdentifier=microvm)


def test_tags(microvms, image):
    microvms.tag_resource(Resource=image, Tags={"a": "1", "b": ""})
    microvms.untag_resource(Resource=image, TagKeys=["a", "zz"])
    assert microvms.list_tags(Resource=image)["Tags"] == {"b": ""}


def test_managed_images(microvms):
    assert [item["imageArn"] for item in microvms.list_managed_microvm_images()["items"]] == [BASE]
    versions = microvms.list_managed_microvm_image_versions(imageIdentifier=BASE)["items"]
    assert [version["imageVersion"] for version in versions] == ["1", "0"]


def test_accounts_are_apart(microvms, other_microvms, image):
    assert refusal(other_microvms.get_microvm_image, imageIdentifier=image)[:2] == (403, "AccessDeniedException")
    microvm = run(microvms, image)
    assert refusal(other_microvms.get_microvm, microvmIdentifier=microvm) == (
        404, "ResourceNotFoundException", f"MicroVM not found: {microvm}")
    assert other_microvms.list_microvms()["items"] == []


@pytest.mark.parametrize("parameters, text", [
    ({"imageIdentifier": "name"}, "Malformed ARN - doesn't start with 'arn:'"),
    ({"imageIdentifier": "{image}", "runHookPayload": "x"}, "The run hook must be enabled in the MicroVM image to pass the run hook payload"),
    ({"imageIdentifier": "{image}", "egressNetworkConnectors": ["arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:X"]}, "Unrecognized managed network connector ARN"),
    ({"imageIdentifier": "{image}", "egressNetworkConnectors": ["x"]}, "Malformed network connector ARN"),
])
def test_refused_launches(microvms, image, parameters, text):
    parameters = {name: image if value == "{image}" else value for name, value in parameters.items()}
    status, code, message = refusal(microvms.run_microvm, **parameters)
    assert (status, code) == (400, "ValidationException") and text in message


@pytest.mark.parametrize("changes, text", [
    ({"codeArtifact": {"uri": "http://x"}}, "CodeArtifact URI must be a valid S3 URI in the format: s3://<bucket>/<key>"),
    ({"resources": [{"minimumMemoryInMiB": 777}]}, "The requested memory size of 777 MiB is not supported by base MicroVM image"),
    ({"baseImageVersion": "999"}, f"No managed MicroVM Image with arn {BASE} and version 999 is available"),
    ({"hooks": {"port": 1, "microvmHooks": {"run": "ENABLED"}}}, "The ready (/ready) MicroVM image hook must be enabled"),
    ({"environmentVariables": {"AWS_REGION": "x"}}, "AWS_REGION"),
])
def test_refused_images(microvms, changes, text):
    good = {"name": "refused", "baseImageArn": BASE, "buildRoleArn": ROLE, "codeArtifact": {"uri": "s3://b/k"}}
    status, code, message = refusal(microvms.create_microvm_image, **{**good, **changes})
    assert (status, code) == (400, "ValidationException") and text in message


def test_network_connectors(core):
    configuration = {"VpcEgressConfiguration": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"], "NetworkProtocol": "IPv4", "AssociatedComputeResourceTypes": ["MicroVm"]}}
    name = f"connector-{uuid.uuid4().hex[:8]}"
    made = core.create_network_connector(Name=name, Configuration=configuration, OperatorRole=ROLE)
    get = lambda: core.get_network_connector(Identifier=name)
    wait_for(get, "State", {"ACTIVE"})
    assert get()["Id"] == made["Id"] and "Version" not in get()
    assert made["Arn"] in {item["Arn"] for item in core.list_network_connectors()["NetworkConnectors"]}
    changed = {"VpcEgressConfiguration": {**configuration["VpcEgressConfiguration"], "SubnetIds": ["subnet-2"]}}
    core.update_network_connector(Identifier=made["Arn"], Configuration=changed)
    wait_for(get, "LastUpdateStatus", {"Successful"})
    assert len(core.list_network_connector_versions(Identifier=name)["NetworkConnectorVersions"]) == 2
    assert core.delete_network_connector(Identifier=name)["State"] == "DELETING"
    unknown = refusal(core.get_network_connector, Identifier="nobody")
    assert unknown == (404, "ResourceNotFoundException", "Network connector not found for: nobody")
    without_role = refusal(core.create_network_connector, Name="n", Configuration=configuration)
    assert without_role[1:] == ("InvalidParameterValueException", "NetworkConnectorOperatorRole is required for VPC_EGRESS connector type")


def test_runtimes_are_told_to_be_missing(core):
    status, code, text = refusal(core.list_runtimes)
    assert (status, code) == (400, "InvalidParameterValueException") and "not implemented" in text
