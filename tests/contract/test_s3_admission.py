"""Requests to S3 that are not authenticated, or contain more than was signed."""

import base64
import http.client
import urllib.error
import urllib.request
import xml.etree.ElementTree as xml
import zlib
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


@pytest.fixture(scope="module")
def s3(server):
    client = server.client("s3", signature_version="s3v4")
    client.create_bucket(Bucket="admission")
    client.put_object(Bucket="admission", Key="secret", Body=b"of the bucket's owner")
    return client


def send(url, method="GET", body=None, headers=None):
    """Sends a request. Returns status, code and body of the answer."""
    request = urllib.request.Request(url, method=method, data=body, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, None, answer.read()
    except urllib.error.HTTPError as error:
        told = error.read()
        return error.code, xml.fromstring(told).findtext("Code"), told


def put_url(s3, key="mine", **more):
    return s3.generate_presigned_url("put_object", Params={"Bucket": "admission", "Key": key}, **more)


@pytest.mark.parametrize("header", ["x-amz-copy-source", "x-amz-meta-owner", "x-amz-acl", "x-amz-tagging"])
def test_a_presigned_url_takes_no_more_than_was_signed(s3, header):
    status, code, _ = send(put_url(s3), "PUT", b"", {header: "/admission/secret"})
    assert (status, code) == (403, "AccessDenied")
    assert send(put_url(s3), "PUT", b"a plain upload")[0] == 200
    assert s3.get_object(Bucket="admission", Key="mine")["Body"].read() == b"a plain upload"


def test_what_is_signed_with_an_url_is_taken(s3):
    url = s3.generate_presigned_url("put_object", Params={"Bucket": "admission", "Key": "told", "Metadata": {"owner": "me"}})
    assert send(url, "PUT", b"", {"x-amz-meta-owner": "me"})[0] == 200
    assert s3.head_object(Bucket="admission", Key="told")["Metadata"] == {"owner": "me"}


def test_headers_beside_a_signature_in_a_header_are_signed_too(server, s3):
    request = AWSRequest("PUT", f"{server.url}/admission/mine", data=b"")
    S3SigV4Auth(Credentials(server.keys[0]["id"], server.keys[0]["secret"]), "s3", server.region).add_auth(request)
    headers = dict(request.headers.items())
    assert send(request.url, "PUT", b"", {**headers, "x-amz-copy-source": "/admission/secret"})[:2] == (403, "AccessDenied")
    assert send(request.url, "PUT", b"", headers)[0] == 200


def test_a_form_is_refused_before_its_file_is_read(server):
    """The id of a key is no secret: it stands in each presigned URL."""
    parts = urlsplit(server.url)

    def send(fields):
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        connection.putrequest("POST", "/admission")
        connection.putheader("Content-Type", "multipart/form-data; boundary=b")
        connection.putheader("Content-Length", str(4 << 30))
        field = '--b\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
        text = "".join(field.format(*pair) for pair in fields)
        connection.endheaders(text.encode() + b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n')
        answer = connection.getresponse()
        return answer.status, answer.read()

    key = ("AWSAccessKeyId", server.keys[0]["id"])
    status, text = send([("key", "x"), key, ("policy", "e30="), ("signature", "c2lnbmF0dXJl")])
    assert status == 403 and b"<Code>SignatureDoesNotMatch</Code>" in text
    assert send([("key", "x"), ("policy", "e30="), ("signature", "x"), ("AWSAccessKeyId", "AKIAUNKNOWN")])[0] == 403
    assert send([("key", "x")])[0] == 403
    # What stands before a file is bounded, whoever signs it.
    status, text = send([("key", "x"), key, ("x-amz-meta-a", "a" * 200_000)])
    assert status == 400 and b"MaxPostPreDataLengthExceeded" in text


def test_signatures_of_version_2_in_a_header_are_refused(server, s3):
    headers = {"Authorization": f"AWS {server.keys[0]['id']}:c2lnbmF0dXJl", "Date": "Mon, 01 Jan 2024 00:00:00 GMT"}
    assert send(f"{server.url}/admission/secret", headers=headers)[:2] == (400, "InvalidRequest")
    query = f"?AWSAccessKeyId={server.keys[0]['id']}"
    assert send(f"{server.url}/admission/secret{query}", headers=headers)[:2] == (400, "InvalidRequest")


def test_an_url_lasts_a_week_at_most(server, s3):
    week = 7 * 24 * 3600
    assert send(put_url(s3, ExpiresIn=week), "PUT", b"")[0] == 200
    assert send(put_url(s3, ExpiresIn=week + 1), "PUT", b"")[:2] == (400, "AuthorizationQueryParametersError")
    old = server.client("s3", signature_version="s3")
    url = lambda seconds: old.generate_presigned_url("get_object", Params={"Bucket": "admission", "Key": "secret"}, ExpiresIn=seconds)
    assert send(url(week - 60))[0] == 200
    assert send(url(week + 60))[:2] == (403, "AccessDenied")


class Streaming(S3SigV4Auth):
    """Signs a request whose body comes in chunks that have no signatures of their own."""

    PAYLOAD = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

    def payload(self, request):
        return self.PAYLOAD

    def _modify_request_before_signing(self, request):
        super()._modify_request_before_signing(request)
        request.headers.replace_header("X-Amz-Content-SHA256", self.PAYLOAD)


@pytest.mark.parametrize("size, is_taken", [(1 << 20, True), (5 << 20, False)])
def test_a_chunk_is_bounded(server, s3, size, is_taken):
    """A chunk is kept until it can be verified, so its size is not for the client to choose."""
    key = f"chunk-{size}"
    request = AWSRequest("PUT", f"{server.url}/admission/{key}")
    request.headers["x-amz-decoded-content-length"] = str(size)
    request.headers["x-amz-trailer"] = "x-amz-checksum-crc32"
    request.headers["content-encoding"] = "aws-chunked"
    Streaming(Credentials(server.keys[0]["id"], server.keys[0]["secret"]), "s3", server.region).add_auth(request)
    data = b"c" * size
    checksum = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    body = f"{size:x}\r\n".encode() + data + f"\r\n0\r\nx-amz-checksum-crc32:{checksum}\r\n\r\n".encode()
    status, _, told = send(request.url, "PUT", body, dict(request.headers.items()))
    assert (status == 200) == is_taken, told
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket="admission")["Contents"]]
    assert (key in keys) == is_taken


def test_what_is_read_of_a_query_is_all_of_it(s3):
    """What stands behind many other parameters would be seen by one reader and not by the other."""
    padded = s3.generate_presigned_url("list_objects_v2", Params={"Bucket": "admission"}) + "&a=b" * 80
    assert send(padded)[:2] == (400, "InvalidRequest")
