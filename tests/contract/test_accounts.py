"""The operator's API: accounts, access keys and disk usage."""

import json

import pytest

from .test_bad_clients import send


def call(server, method, path, body=None, **how):
    data = json.dumps(body).encode() if body is not None else b""
    status, headers, text = send(server, method, "/hearth/v1/" + path, data, **how)
    return status, json.loads(text) if text else headers.get("x-amzn-errortype")


def test_an_account_gets_keys_that_are_switched_and_removed(server):
    assert call(server, "POST", "accounts", {"accountId": "222222222222"})[0] == 200
    assert call(server, "POST", "accounts", {"accountId": "222222222222"})[0] == 409
    _, listed = call(server, "GET", "accounts")
    assert {"000000000000", "222222222222"} <= {account["accountId"] for account in listed["accounts"]}
    status, made = call(server, "POST", "accounts/222222222222/keys")
    assert status == 200 and len(made["secretAccessKey"]) == 40 and made["accessKeyId"].startswith("AKIA")
    keys = lambda: call(server, "GET", "accounts/222222222222/keys")[1]["accessKeys"]
    secret = made.pop("secretAccessKey")
    assert keys() == [made] and made["status"] == "Active" and made["accountId"] == "222222222222"
    assert secret not in json.dumps(keys())
    for word in ("Inactive", "Inactive", "Active", "Inactive"):
        assert call(server, "PUT", f"keys/{made['accessKeyId']}", {"status": word})[0] == 204
        assert [key["status"] for key in keys()] == [word]
    assert call(server, "DELETE", f"keys/{made['accessKeyId']}")[0] == 204
    assert keys() == [] and call(server, "DELETE", f"keys/{made['accessKeyId']}")[0] == 404
    assert secret not in (server.directory / "audit.log").read_text()


def test_an_account_is_known_by_its_name(server):
    status, made = call(server, "POST", "accounts", {"name": "team a"})
    assert status == 200 and made["name"] == "team a" and len(made["accountId"]) == 12
    assert call(server, "POST", "accounts", {"accountId": "444444444444", "name": "team b"})[1]["name"] == "team b"
    named = {account["accountId"]: account["name"] for account in call(server, "GET", "accounts")[1]["accounts"]}
    assert (named[made["accountId"]], named["444444444444"], named["000000000000"]) == ("team a", "team b", None)
    # The second does not rename the first.
    assert call(server, "POST", "accounts", {"accountId": "444444444444", "name": "other"})[0] == 409
    assert {"team a", "team b"} <= {account["name"] for account in call(server, "GET", "accounts")[1]["accounts"]}


ROUTES = [
    ("GET", "accounts"), ("POST", "accounts"), ("GET", "accounts/000000000000/keys"),
    ("POST", "accounts/000000000000/keys"), ("PUT", "keys/AKIAHEARTHTESTONE000"), ("DELETE", "keys/AKIAHEARTHTESTONE000"),
    ("GET", "disk-usage"),
]


@pytest.mark.parametrize("method, path", ROUTES)
def test_nobody_else_may(server, method, path):
    other = {"key": server.keys[1]["id"], "secret": server.keys[1]["secret"]}
    status, headers, _ = send(server, method, "/hearth/v1/" + path, b"", **other)
    assert (status, headers["x-amzn-errortype"]) == (403, "AccessDeniedException")
    assert send(server, method, "/hearth/v1/" + path, b"", secret="wrong")[0] == 403


def test_what_makes_no_sense_is_refused(server):
    for body in (
        {}, {"accountId": "1"}, {"accountId": 222222222222}, {"accountId": "333333333333", "color": "x"},
        {"name": ""}, {"name": "x" * 51}, {"name": "tab\there"}, {"name": "ü"},
    ):
        assert call(server, "POST", "accounts", body)[0] == 400, body
    assert call(server, "POST", "accounts/999999999999/keys")[0] == 404
    assert call(server, "POST", "accounts/nonsense/keys")[0] == 404
    assert call(server, "PUT", "keys/AKIAANOTHERKEY000000", {"status": "Active"})[0] == 404
    assert call(server, "PUT", "keys/AKIAANOTHERKEY000000", {"status": "Asleep"})[0] == 400
    # Nobody locks themselves out.
    assert call(server, "DELETE", f"keys/{server.keys[0]['id']}")[0] == 409
    assert send(server, "PUT", "/hearth/v1/accounts")[0] == 404


def test_the_operator_is_told_who_holds_what(server):
    status, usage = call(server, "GET", "disk-usage")
    [version] = usage.pop("holdings")
    assert (status, usage) == (200, {"totalSizeInBytes": 4096})
    assert version == {
        "kind": "VERSION", "name": "arn:aws:lambda:us-east-1:000000000000:microvm-image:hello", "imageVersion": "1.0",
        "guestBase": "6.12-a", "baseImages": None, "current": None, "sizeInBytes": 4096,
    }
