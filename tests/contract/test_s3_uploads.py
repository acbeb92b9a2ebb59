"""S3: forms of browsers, tags, parts and their checksums, pages of other origins, and what is refused by name."""

import base64
import datetime as dt
import http.client
import urllib.parse

import pytest
from botocore.exceptions import ClientError

BUCKET = "uploads"
PART = 5 << 20


@pytest.fixture(scope="module")
def s3(server):
    client = server.client("s3")
    client.create_bucket(Bucket=BUCKET)
    return client


def refused(call, **arguments):
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    answer = raised.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def form(url, fields, file=b"content", name="f.txt"):
    """Sends a form as browsers do. Answers status, headers and body."""
    parts = []
    for key, value in fields.items():
        parts.append(f'--b\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode())
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: text/plain\r\n\r\n'
    body = b"".join(parts) + head.encode() + file + b"\r\n--b--\r\n"
    address = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    connection.request("POST", address.path, body, {"Content-Type": "multipart/form-data; boundary=b"})
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_form_uploads_what_its_policy_says(server, s3, version):
    client = server.client("s3", signature_version=version)
    conditions = [["starts-with", "$key", "in/"], ["content-length-range", 1, 100], {"x-amz-meta-a": "1"}, {"success_action_status": "201"}]
    fields = {"x-amz-meta-a": "1", "success_action_status": "201"}
    post = client.generate_presigned_post(BUCKET, "in/${filename}", Fields=fields, Conditions=conditions)
    status, headers, body = form(post["url"], post["fields"])
    assert (status, headers["etag"]) == (201, '"9a0364b9e99bb480dd25e1f0284c8555"'), body
    assert b"<Key>in/f.txt</Key>" in body
    kept = s3.get_object(Bucket=BUCKET, Key="in/f.txt")
    assert (kept["Body"].read(), kept["Metadata"]) == (b"content", {"a": "1"})

    def answer(change=None, **arguments):
        status, _, body = form(post["url"], {**post["fields"], **(change or {})}, **arguments)
        return status, body.split(b"<Code>")[1].split(b"<")[0].decode()

    assert answer({"key": "out/f"}) == (403, "AccessDenied")
    assert answer({"x-amz-meta-b": "2"}) == (403, "AccessDenied")
    assert answer({"policy": base64.b64encode(b"{}").decode()}) == (403, "SignatureDoesNotMatch")
    assert answer(file=b"") == (400, "EntityTooSmall")
    assert answer(file=b"x" * 101) == (400, "EntityTooLarge")
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET, Prefix="in/")["Contents"]] == ["in/f.txt"]


def test_a_form_is_its_signers(server, s3):
    other = server.client("s3", key=1)
    post = other.generate_presigned_post(BUCKET, "theirs")
    # Buckets are an account's own: theirs of this name is not there.
    assert form(post["url"], post["fields"])[0] == 404
    late = s3.generate_presigned_post(BUCKET, "late", ExpiresIn=-10)
    status, _, body = form(late["url"], late["fields"])
    assert status == 403 and b"Policy expired" in body
    public = s3.generate_presigned_post(BUCKET, "public", Fields={"acl": "public-read"}, Conditions=[{"acl": "public-read"}])
    assert form(public["url"], public["fields"])[0] == 501


def test_what_is_not_here_is_refused_by_name(s3):
    """Case 16: each of these was accepted and forgotten."""
    s3.put_object(Bucket=BUCKET, Key="known", Body=b"x")
    until = dt.datetime(2099, 1, 1)
    for arguments in (
        {"ACL": "public-read"},
        {"GrantRead": "id=1"},
        {"ServerSideEncryption": "aws:kms"},
        {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until},
        {"WebsiteRedirectLocation": "/x"},
    ):
        assert refused(s3.put_object, Bucket=BUCKET, Key="s", Body=b"x", **arguments) == (501, "NotImplemented"), arguments
    assert refused(s3.put_object, Bucket=BUCKET, Key="s", StorageClass="FAST")[0] == 400
    assert refused(s3.get_object, Bucket=BUCKET, Key="known", VersionId="1234") == (404, "NoSuchVersion")
    assert refused(s3.put_bucket_acl, Bucket=BUCKET, ACL="public-read") == (501, "NotImplemented")
    assert refused(s3.put_bucket_versioning, Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"}) == (501, "NotImplemented")
    assert s3.get_bucket_versioning(Bucket=BUCKET).get("Status") is None
    expires = dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)
    kept = {"Tagging": "a=b", "StorageClass": "GLACIER_IR", "ServerSideEncryption": "AES256", "ACL": "private", "Expires": expires}
    s3.put_object(Bucket=BUCKET, Key="kept", Body=b"x", **kept)
    head = s3.head_object(Bucket=BUCKET, Key="kept")
    assert (head["StorageClass"], head["ServerSideEncryption"], head["Expires"]) == ("GLACIER_IR", "AES256", expires)
    assert head["ResponseMetadata"]["HTTPHeaders"]["x-amz-tagging-count"] == "1"


def test_the_owner_is_the_account(server, s3):
    s3.put_object(Bucket=BUCKET, Key="known", Body=b"x")
    for acl in (s3.get_bucket_acl(Bucket=BUCKET), s3.get_object_acl(Bucket=BUCKET, Key="known")):
        assert acl["Owner"]["ID"] == server.account
        assert [(grant["Grantee"]["ID"], grant["Permission"]) for grant in acl["Grants"]] == [(server.account, "FULL_CONTROL")]
        # What is read may be written back.
        s3.put_object_acl(Bucket=BUCKET, Key="known", AccessControlPolicy={"Owner": acl["Owner"], "Grants": acl["Grants"]})
    s3.head_bucket(Bucket=BUCKET, ExpectedBucketOwner=server.account)
    assert refused(s3.list_objects_v2, Bucket=BUCKET, ExpectedBucketOwner="999999999999") == (403, "AccessDenied")


def test_tags(s3):
    s3.put_object(Bucket=BUCKET, Key="tagged", Body=b"x", Tagging="b=2&a=1")
    read = lambda key: s3.get_object_tagging(Bucket=BUCKET, Key=key)["TagSet"]
    assert read("tagged") == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    source = {"Bucket": BUCKET, "Key": "tagged"}
    s3.copy_object(Bucket=BUCKET, Key="copied", CopySource=source)
    assert read("copied") == read("tagged")
    s3.copy_object(Bucket=BUCKET, Key="copied", CopySource=source, TaggingDirective="REPLACE", Tagging="c=3")
    assert read("copied") == [{"Key": "c", "Value": "3"}]
    # The class is of the copy, and a new one is a change.
    s3.copy_object(Bucket=BUCKET, Key="tagged", CopySource=source, StorageClass="STANDARD_IA")
    assert s3.head_object(Bucket=BUCKET, Key="tagged")["StorageClass"] == "STANDARD_IA"
    s3.copy_object(Bucket=BUCKET, Key="copied", CopySource=source)
    assert "StorageClass" not in s3.head_object(Bucket=BUCKET, Key="copied")
    many = {"TagSet": [{"Key": str(at), "Value": ""} for at in range(11)]}
    assert refused(s3.put_object_tagging, Bucket=BUCKET, Key="tagged", Tagging=many) == (400, "InvalidTag")
    s3.delete_object_tagging(Bucket=BUCKET, Key="tagged")
    assert read("tagged") == []
    assert refused(s3.get_bucket_tagging, Bucket=BUCKET) == (404, "NoSuchTagSet")
    s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    assert s3.get_bucket_tagging(Bucket=BUCKET)["TagSet"] == [{"Key": "k", "Value": "v"}]
    s3.delete_bucket_tagging(Bucket=BUCKET)
    assert refused(s3.get_bucket_tagging, Bucket=BUCKET) == (404, "NoSuchTagSet")


@pytest.mark.parametrize("algorithm,kind", [("SHA256", "COMPOSITE"), ("CRC32", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("SHA1", "COMPOSITE")])
def test_parts_and_their_checksums(s3, algorithm, kind):
    name = f"Checksum{algorithm}"
    begun = s3.create_multipart_upload(Bucket=BUCKET, Key="parts", ChecksumAlgorithm=algorithm, ChecksumType=kind)
    assert (begun["ChecksumAlgorithm"], begun["ChecksumType"]) == (algorithm, kind)
    upload = {"Bucket": BUCKET, "Key": "parts", "UploadId": begun["UploadId"]}
    bodies, parts = [b"a" * PART, b"b" * 100], []
    for number, body in enumerate(bodies, 1):
        sent = s3.upload_part(**upload, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm)
        parts.append({"PartNumber": number, "ETag": sent["ETag"], name: sent[name]})
    assert [part[name] for part in s3.list_parts(**upload)["Parts"]] == [part[name] for part in parts]
    page = s3.list_parts(**upload, MaxParts=1)
    assert page["IsTruncated"] and page["NextPartNumberMarker"] == 1
    wrong = [{**parts[0], name: parts[1][name]}, parts[1]]
    assert refused(s3.complete_multipart_upload, **upload, MultipartUpload={"Parts": wrong})[1] == "InvalidPart"
    done = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert done["ChecksumType"] == kind and done[name].endswith("-2") == (kind == "COMPOSITE")
    # Whoever did not hear the answer asks again.
    assert s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})["ETag"] == done["ETag"]
    head = s3.head_object(Bucket=BUCKET, Key="parts", ChecksumMode="ENABLED")
    assert (head[name], head["ChecksumType"]) == (done[name], kind)
    assert name not in s3.head_object(Bucket=BUCKET, Key="parts")
    # botocore verifies the checksum of what it reads, of the whole and of a part.
    assert s3.get_object(Bucket=BUCKET, Key="parts")["Body"].read() == b"".join(bodies)
    second = s3.get_object(Bucket=BUCKET, Key="parts", PartNumber=2)
    assert (second["Body"].read(), second["PartsCount"], second[name]) == (bodies[1], 2, parts[1][name])
    assert refused(s3.get_object, Bucket=BUCKET, Key="parts", PartNumber=3) == (400, "InvalidPart")
    told = s3.get_object_attributes(Bucket=BUCKET, Key="parts", ObjectAttributes=["ETag", "Checksum", "ObjectParts"], MaxParts=1)
    assert told["ETag"] == done["ETag"].strip('"') and told["Checksum"][name] == done[name]
    listed = told["ObjectParts"]
    assert (listed["TotalPartsCount"], listed["IsTruncated"], listed["Parts"][0]["Size"]) == (2, True, PART)


def crc(data, polynomial, bits):
    """A reflected CRC with all bits set before and flipped behind, in base64."""
    ones = (1 << bits) - 1
    value = ones
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
    return base64.b64encode((value ^ ones).to_bytes(bits // 8, "big")).decode()


@pytest.mark.parametrize("algorithm,polynomial,bits", [("CRC32C", 0x82F63B78, 32), ("CRC64NVME", 0x9A6C9329AC4BC9B5, 64)])
def test_checksums_that_botocore_computes_with_crt_alone(s3, algorithm, polynomial, bits):
    name, body = f"Checksum{algorithm}", b"checked " * 20
    value, wrong = crc(body, polynomial, bits), crc(b"other", polynomial, bits)
    place = {"Bucket": BUCKET, "Key": "checked"}
    assert s3.put_object(**place, Body=body, **{name: value})[name] == value
    assert refused(s3.put_object, **place, Body=body, **{name: wrong}) == (400, "BadDigest")
    begun = s3.create_multipart_upload(**place, ChecksumAlgorithm=algorithm, ChecksumType="FULL_OBJECT")
    upload = {**place, "UploadId": begun["UploadId"]}
    sent = s3.upload_part(**upload, PartNumber=1, Body=body, **{name: value})
    parts = {"Parts": [{"PartNumber": 1, "ETag": sent["ETag"], name: value}]}
    assert refused(s3.complete_multipart_upload, **upload, MultipartUpload=parts, **{name: wrong}) == (400, "BadDigest")
    assert s3.complete_multipart_upload(**upload, MultipartUpload=parts, **{name: value})[name] == value
    assert s3.head_object(**place, ChecksumMode="ENABLED")[name] == value


def test_uploads_under_way_are_listed(s3):
    ids = [s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"] for key in ("way/a", "way/a", "way/b/1", "way/b/2")]
    listed = s3.list_multipart_uploads(Bucket=BUCKET, Prefix="way/")
    assert sorted(upload["UploadId"] for upload in listed["Uploads"]) == sorted(ids)
    page = s3.list_multipart_uploads(Bucket=BUCKET, Prefix="way/", MaxUploads=1)
    assert page["IsTruncated"]
    rest = s3.list_multipart_uploads(Bucket=BUCKET, Prefix="way/", Delimiter="/", KeyMarker=page["NextKeyMarker"], UploadIdMarker=page["NextUploadIdMarker"])
    assert len(rest["Uploads"]) == 1 and [entry["Prefix"] for entry in rest["CommonPrefixes"]] == ["way/b/"]


def test_conditions_of_writes(s3):
    """Case 15, and what a tag that is not there is answered."""
    tag = s3.put_object(Bucket=BUCKET, Key="cas", Body=b"1")["ETag"]
    assert refused(s3.put_object, Bucket=BUCKET, Key="cas", IfNoneMatch=tag) == (412, "PreconditionFailed")
    assert refused(s3.put_object, Bucket=BUCKET, Key="not there", IfMatch=tag) == (404, "NoSuchKey")
    source = {"Bucket": BUCKET, "Key": "cas"}
    assert refused(s3.copy_object, Bucket=BUCKET, Key="cas", CopySource=source) == (400, "InvalidRequest")
    status, _ = refused(s3.get_object, Bucket=BUCKET, Key="cas", IfNoneMatch=tag)
    assert status == 304


def test_a_bucket_says_its_region_and_may_be_made_again(server, s3):
    """Case 18."""
    if server.region == "us-east-1":
        assert s3.create_bucket(Bucket=BUCKET)["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert s3.get_bucket_location(Bucket=BUCKET)["LocationConstraint"] is None
    else:
        assert refused(s3.create_bucket, Bucket=BUCKET) == (409, "BucketAlreadyOwnedByYou")
        assert s3.get_bucket_location(Bucket=BUCKET)["LocationConstraint"] == server.region
    assert s3.head_bucket(Bucket=BUCKET)["BucketRegion"] == server.region
    elsewhere = {"LocationConstraint": "eu-south-2"}
    assert refused(s3.create_bucket, Bucket="elsewhere", CreateBucketConfiguration=elsewhere) == (400, "IllegalLocationConstraintException")
    names = []
    s3.create_bucket(Bucket="uploads-2")
    for page in s3.get_paginator("list_buckets").paginate(Prefix=BUCKET, PaginationConfig={"PageSize": 1}):
        names += [bucket["Name"] for bucket in page["Buckets"]]
    assert names == [BUCKET, "uploads-2"]


def ask(url, method, headers):
    address = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    connection.request(method, f"{address.path}?{address.query}", headers=headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}


def test_pages_of_other_origins(s3):
    rules = [{"AllowedOrigins": ["https://*.example"], "AllowedMethods": ["PUT", "GET"], "AllowedHeaders": ["content-type"], "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 60}]
    assert refused(s3.get_bucket_cors, Bucket=BUCKET) == (404, "NoSuchCORSConfiguration")
    bad = [{"AllowedOrigins": ["*"], "AllowedMethods": ["PATCH"]}]
    assert refused(s3.put_bucket_cors, Bucket=BUCKET, CORSConfiguration={"CORSRules": bad}) == (400, "InvalidRequest")
    s3.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": rules})
    assert s3.get_bucket_cors(Bucket=BUCKET)["CORSRules"] == rules
    s3.put_object(Bucket=BUCKET, Key="page", Body=b"x")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "page"})
    question = {"Origin": "https://a.example", "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
    status, headers = ask(url, "OPTIONS", question)
    assert status == 200 and headers["access-control-allow-origin"] == "https://a.example"
    assert headers["access-control-allow-headers"] == "content-type" and headers["access-control-max-age"] == "60"
    assert ask(url, "OPTIONS", {**question, "Origin": "https://b.org"})[0] == 403
    assert ask(url, "OPTIONS", {**question, "Access-Control-Request-Headers": "authorization"})[0] == 403
    status, headers = ask(url, "GET", {"Origin": "https://a.example"})
    assert status == 200 and headers["access-control-expose-headers"] == "ETag"
    status, headers = ask(url, "GET", {"Origin": "https://b.org"})
    assert status == 200 and "access-control-allow-origin" not in headers
    s3.delete_bucket_cors(Bucket=BUCKET)
    assert ask(url, "OPTIONS", question)[0] == 403


def test_an_error_names_its_request(s3):
    with pytest.raises(ClientError) as raised:
        s3.get_object(Bucket=BUCKET, Key="nowhere")
    answer = raised.value.response
    # botocore takes it from the document, and from the header where there is none.
    assert answer["ResponseMetadata"]["RequestId"] == answer["ResponseMetadata"]["HTTPHeaders"]["x-amz-request-id"]
