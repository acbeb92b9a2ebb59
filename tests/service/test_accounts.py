"""Accounts and keys by command, on the running service."""

import json
import os
import re
import subprocess

import boto3
import pytest
from botocore.exceptions import ClientError


def hearth_command(*arguments, succeeds=True):
    command = [os.environ["HEARTH"], "--data", os.environ["HEARTH_DATA"], *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (ran.returncode == 0) == succeeds, ran.stderr
    return ran.stdout if succeeds else ran.stderr


def client(hearth, made):
    return boto3.client(
        "lambda-microvms", endpoint_url=hearth.settings["endpoint_url"], region_name=hearth.settings["region"],
        aws_access_key_id=made["AWS_ACCESS_KEY_ID"], aws_secret_access_key=made["AWS_SECRET_ACCESS_KEY"],
    )


def test_a_second_account_has_its_own_keys_and_sees_nothing_of_the_first(hearth, hello):
    hearth_command("account", "create", "222222222222", "--name", "the second")
    assert "already" in hearth_command("account", "create", "222222222222", succeeds=False)
    # Other tests have accounts of their own.
    title, *accounts = hearth_command("account", "list").splitlines()
    assert title.split() == ["ACCOUNT", "NAME"]
    assert {"000000000000", "222222222222  the second"} <= {account.strip() for account in accounts}
    made = dict(re.findall(r"export (\w+)=(\S+)", hearth_command("key", "create", "the second")))
    key = made["AWS_ACCESS_KEY_ID"]
    microvms = client(hearth, made)
    assert microvms.list_microvm_images()["items"] == []
    with pytest.raises(ClientError) as refused:
        microvms.get_microvm_image(imageIdentifier=hello)
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"

    hearth_command("key", "disable", key)
    with pytest.raises(ClientError) as refused:
        microvms.list_microvm_images()
    assert refused.value.response["Error"]["Code"] == "UnrecognizedClientException"
    listed = json.loads(hearth_command("--json", "key", "ls", "222222222222"))["accessKeys"]
    assert [(item["accessKeyId"], item["status"]) for item in listed] == [(key, "Inactive")]
    hearth_command("key", "enable", key)
    assert microvms.list_microvm_images()["items"] == []
    hearth_command("key", "delete", key)
    assert key not in hearth_command("key", "ls")
    # The command's own key is the one that it cannot lose.
    own = hearth.settings["access_key_id"]
    assert own in hearth_command("key", "disable", own, succeeds=False)
    assert own in hearth_command("key", "ls")
