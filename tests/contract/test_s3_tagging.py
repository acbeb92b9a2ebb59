"""Tags that come with an object: who may write them."""

import urllib.error
import urllib.request
import uuid

import pytest

from .checked import refusal
from .test_roles import World, allow

DENIED = (403, "AccessDenied")
TAG = "s3:PutObjectTagging"


@pytest.fixture(scope="module")
def roles(server):
    return World(server)


def test_tags_with_an_object_are_written_by_those_who_may(roles):
    """`PutObject` alone was asked for, so a role could tag what it could write."""
    objects = allow(["s3:PutObject", "s3:GetObject"])
    plain, tagging = (roles.with_role("s3", objects, *more) for more in ((), (allow([TAG, "s3:GetObjectTagging"]),)))
    key, tags = f"open/{uuid.uuid4().hex[:8]}", "a=1&b=2"
    put = lambda s3, **more: s3.put_object(Bucket=roles.bucket, Key=key, Body=b"x", **more)
    assert refusal(put, s3=plain, Tagging=tags)[:2] == DENIED
    put(plain), put(plain, Tagging="")
    start = lambda s3, **more: s3.create_multipart_upload(Bucket=roles.bucket, Key=key, **more)
    assert refusal(start, s3=plain, Tagging=tags)[:2] == DENIED
    start(plain), start(tagging, Tagging=tags)
    source = {"Bucket": roles.bucket, "Key": key}
    copy = lambda s3, **more: s3.copy_object(Bucket=roles.bucket, Key=f"{key}-copy", CopySource=source, **more)
    # Nothing to copy.
    copy(plain)
    put(tagging, Tagging=tags)
    replaced = {"TaggingDirective": "REPLACE", "Tagging": "c=3"}
    assert refusal(copy, s3=plain, **replaced)[:2] == refusal(copy, s3=plain)[:2] == DENIED
    copy(plain, TaggingDirective="REPLACE")
    found = lambda: {tag["Key"]: tag["Value"] for tag in roles.s3.get_object_tagging(Bucket=roles.bucket, Key=f"{key}-copy")["TagSet"]}
    assert found() == {}
    copy(tagging)
    assert found() == {"a": "1", "b": "2"}
    copy(tagging, **replaced)
    assert found() == {"c": "3"}
    # To keep tags is to read them, too.
    writing = roles.with_role("s3", objects, allow(TAG))
    assert refusal(copy, s3=writing)[:2] == DENIED
    copy(writing, **replaced)


def test_tags_of_a_form_are_written_by_those_who_may(roles):
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>"
    statuses = []
    for more in ((), (allow(TAG),)):
        s3 = roles.with_role("s3", allow("s3:PutObject"), *more)
        for fields in ({}, {"tagging": tags}):
            conditions = [{"tagging": tags}] if fields else []
            form = s3.generate_presigned_post(roles.bucket, "open/form", Fields=dict(fields), Conditions=conditions)
            boundary = uuid.uuid4().hex
            parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in form["fields"].items()]
            parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n--{boundary}--\r\n')
            request = urllib.request.Request(form["url"], "".join(parts).encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"})
            try:
                statuses.append(urllib.request.urlopen(request).status)
            except urllib.error.HTTPError as error:
                statuses.append(error.code)
    assert statuses == [204, 403, 204, 204]
