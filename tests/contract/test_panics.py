"""A request whose handler panics is answered as an internal error, and the service goes on."""

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError


def client(server, service):
    return boto3.client(
        service,
        endpoint_url=server.url,
        region_name=server.region,
        # `dev_front` panics when it looks this key up.
        aws_access_key_id="AKIAHEARTHTESTPANIC0",
        aws_secret_access_key="any",
        config=Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"}),
    )


@pytest.mark.parametrize(
    "service, operation, code",
    [
        ("lambda-microvms", "list_microvms", "InternalServerException"),
        ("lambda-core", "list_network_connectors", "ServiceException"),
        ("logs", "describe_log_groups", "ServiceUnavailableException"),
        ("s3", "list_buckets", "InternalError"),
        ("iam", "list_roles", "InternalFailure"),
        ("sts", "get_caller_identity", "InternalFailure"),
    ],
)
def test_a_panic_is_one_failed_request(server, service, operation, code):
    with pytest.raises(ClientError) as failed:
        getattr(client(server, service), operation)()
    answer = failed.value.response
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]) == (500, code)
    assert server.process.poll() is None
    assert server.client("sts").get_caller_identity()["Account"] == server.account
