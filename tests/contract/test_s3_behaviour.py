"""Behaviour of S3 beyond plain PUT and GET: special keys, conditions, copies, listings of versions and uploads."""

import datetime
import io
import os
import uuid

import botocore.auth
import pytest
from botocore.exceptions import ClientError
from botocore.handlers import set_list_objects_encoding_type_url

FAR = datetime.datetime(2099, 1, 1, tzinfo=datetime.timezone.utc)
OLD = datetime.datetime(2001, 1, 1, tzinfo=datetime.timezone.utc)


@pytest.fixture(scope="module")
def s3(server):
    return server.client("s3", signature_version="s3v4")


@pytest.fixture
def bucket(s3):
    name = f"behaviour-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    return name


def refusal(call, **arguments):
    """Status and code of a refused call."""
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    answer = refused.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


# Finding L10: each of these was listed as another key, or ended the listing.
KEYS = sorted(["a%2Fb", "a+b", "a b", "a/b+c d/e", "control\x01", "line\nfeed", "return\rx", "ü~(3).png", "100%"], key=str.encode)


def test_every_key_is_listed_as_it_is(s3, bucket):
    for key in KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for name in ("list_objects", "list_objects_v2"):
        pages = s3.get_paginator(name).paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
        assert [item["Key"] for page in pages for item in page.get("Contents", [])] == KEYS, name
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
    assert [item["Key"] for page in pages for item in page.get("Versions", [])] == KEYS

    answer = s3.list_objects_v2(Bucket=bucket, Prefix="a/b+", Delimiter="d/", StartAfter="a b")
    assert [prefix["Prefix"] for prefix in answer["CommonPrefixes"]] == ["a/b+c d/"]
    assert (answer["Prefix"], answer["Delimiter"], answer["StartAfter"]) == ("a/b+", "d/", "a b")


def test_listing_and_deleting_deletes_what_was_listed(s3, bucket):
    """A key that is decoded to another one deletes that one."""
    s3.put_object(Bucket=bucket, Key="a%2Fb", Body=b"to go")
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"to stay")
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="a%")["Contents"]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": item["Key"]} for item in listed]})
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["a/b"]


def test_what_xml_cannot_tell_is_refused_without_encoding(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="control\x01", Body=b"")
    plain = server.client("s3", signature_version="s3v4")
    plain.meta.events.unregister("before-parameter-build.s3.ListObjectsV2", set_list_objects_encoding_type_url)
    assert refusal(plain.list_objects_v2, Bucket=bucket) == (400, "InvalidRequest")
    assert refusal(s3.list_objects_v2, Bucket=bucket, EncodingType="base64") == (400, "InvalidArgument")


def test_conditions_of_reads_and_copies_hold(s3, bucket):
    s3.put_object(Bucket=bucket, Key="c", Body=b"1")
    s3.put_object(Bucket=bucket, Key="d", Body=b"2")
    source = {"Bucket": bucket, "Key": "c"}
    etag = s3.head_object(Bucket=bucket, Key="c")["ETag"]
    for read in (s3.get_object, s3.head_object):
        reading = {"Bucket": bucket, "Key": "c"}
        assert refusal(read, **reading, IfModifiedSince=FAR)[0] == 304
        assert refusal(read, **reading, IfUnmodifiedSince=OLD)[0] == 412
        assert refusal(read, **reading, IfMatch='"0"')[0] == 412
        assert refusal(read, **reading, IfNoneMatch=etag)[0] == 304
        # A tag goes before a time.
        read(**reading, IfMatch=etag, IfUnmodifiedSince=OLD)
        read(**reading, IfNoneMatch='"0"', IfModifiedSince=FAR)
        read(**reading, IfModifiedSince=OLD, IfUnmodifiedSince=FAR)
    copying = {"Bucket": bucket, "Key": "e", "CopySource": source}
    for condition in (
        {"CopySourceIfMatch": '"0"'},
        {"CopySourceIfNoneMatch": etag},
        {"CopySourceIfModifiedSince": FAR},
        {"CopySourceIfUnmodifiedSince": OLD},
    ):
        assert refusal(s3.copy_object, **copying, **condition) == (412, "PreconditionFailed"), condition
    s3.copy_object(**copying, CopySourceIfMatch=etag)


def test_conditions_of_writes_hold(s3, bucket):
    s3.put_object(Bucket=bucket, Key="c", Body=b"1")
    s3.put_object(Bucket=bucket, Key="d", Body=b"2")
    copying = {"Bucket": bucket, "Key": "d", "CopySource": {"Bucket": bucket, "Key": "c"}}
    assert refusal(s3.delete_object, Bucket=bucket, Key="c", IfMatch='"0"') == (412, "PreconditionFailed")
    assert refusal(s3.put_object, Bucket=bucket, Key="c", Body=b"", IfNoneMatch="*") == (412, "PreconditionFailed")
    assert refusal(s3.copy_object, **copying, IfNoneMatch="*") == (412, "PreconditionFailed")
    assert refusal(s3.copy_object, **copying, IfMatch='"0"') == (412, "PreconditionFailed")
    assert s3.get_object(Bucket=bucket, Key="d")["Body"].read() == b"2"
    etag = s3.head_object(Bucket=bucket, Key="c")["ETag"]
    s3.delete_object(Bucket=bucket, Key="c", IfMatch=etag)
    assert refusal(s3.head_object, Bucket=bucket, Key="c")[0] == 404


def test_a_large_object_is_copied_in_parts(s3, bucket):
    """boto3 copies by parts from 8 MiB on."""
    body = os.urandom(9 << 20)
    s3.upload_fileobj(io.BytesIO(body), bucket, "big.bin")
    s3.copy({"Bucket": bucket, "Key": "big.bin"}, bucket, "copy of big.bin")
    s3.delete_object(Bucket=bucket, Key="big.bin")
    assert s3.get_object(Bucket=bucket, Key="copy of big.bin")["Body"].read() == body

    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    part = {"Bucket": bucket, "Key": "parts", "UploadId": upload, "CopySource": {"Bucket": bucket, "Key": "copy of big.bin"}}
    assert refusal(s3.upload_part_copy, **part, PartNumber=1, CopySourceRange=f"bytes=0-{9 << 20}") == (400, "InvalidArgument")
    assert refusal(s3.upload_part_copy, **part, PartNumber=1, CopySourceIfMatch='"0"') == (412, "PreconditionFailed")
    copied = s3.upload_part_copy(**part, PartNumber=1, CopySourceRange="bytes=10-19")["CopyPartResult"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": copied["ETag"]}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload=parts)
    assert s3.get_object(Bucket=bucket, Key="parts")["Body"].read() == body[10:20]


def test_a_copy_outlives_what_it_was_made_of(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"shared", Metadata={"of": "a"})
    s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"})
    s3.put_object(Bucket=bucket, Key="a", Body=b"new")
    s3.delete_object(Bucket=bucket, Key="a")
    copy = s3.get_object(Bucket=bucket, Key="b")
    assert (copy["Body"].read(), copy["Metadata"]) == (b"shared", {"of": "a"})


def test_attributes_are_told_without_the_bytes(s3, bucket):
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"five5", ChecksumAlgorithm="SHA256")
    told = s3.get_object_attributes(
        Bucket=bucket, Key="k", ObjectAttributes=["ETag", "Checksum", "ObjectSize", "StorageClass"]
    )
    # AWS leaves the quotes out here.
    assert told["ETag"].strip('"') == put["ETag"].strip('"')
    assert told["Checksum"]["ChecksumSHA256"] == put["ChecksumSHA256"]
    assert (told["ObjectSize"], told["StorageClass"]) == (5, "STANDARD")
    assert "ETag" not in s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectSize"])
    assert refusal(s3.get_object_attributes, Bucket=bucket, Key="none", ObjectAttributes=["ETag"]) == (404, "NoSuchKey")


def test_objects_of_a_bucket_without_versions_have_one(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    [version] = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert (version["Key"], version["VersionId"], version["IsLatest"], version["Size"]) == ("k", "null", True, 1)


@pytest.mark.parametrize("minutes, is_taken", [(-14, True), (14, True), (-16, False), (16, False)])
def test_clocks_may_be_a_quarter_of_an_hour_wrong(server, monkeypatch, minutes, is_taken):
    """As on AWS. SDKs set their clocks by the Date of such a refusal, so only the first try is looked at."""
    client = server.client("s3", signature_version="s3v4")

    def wrong(remove_tzinfo=True):
        moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
        return moment.replace(tzinfo=None) if remove_tzinfo else moment

    monkeypatch.setattr(botocore.auth, "get_current_datetime", wrong)
    if is_taken:
        client.list_buckets()
    else:
        assert refusal(client.list_buckets) == (403, "RequestTimeTooSkewed")
