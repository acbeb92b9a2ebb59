"""Sends requests to guest services as a guest would, without a guest."""

import http.client
import json
import socket
import urllib.parse

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

METADATA = "/latest/meta-data/iam/security-credentials/"


class Door:
    """The guest services as one microVM reaches them."""

    def __init__(self, server, microvm, key=0):
        self.server, self.microvm, self.account = server, microvm, server.keys[key]["account"]

    def request(self, service, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("169.254.170.8")
        connection.sock = socket.create_connection(("127.0.0.1", self.server.doors))
        connection.sock.sendall(f"{self.microvm} {self.account} {service}\n".encode())
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers

    def metadata(self, method, path, headers=None):
        return self.request("metadata", method, path, None, headers)

    def token(self, ttl="60"):
        status, body, _ = self.metadata("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": ttl})
        assert status == 200, body
        return body.decode()

    def role_keys(self):
        """The role's keys from the metadata service."""
        status, body, _ = self.metadata("GET", METADATA + "execution_role", {"X-aws-ec2-metadata-token": self.token()})
        assert status == 200, body
        return json.loads(body)

    def signed(self, keys, service, method, path, body=b"", headers=None):
        """Status and body of a signed request of the guest."""
        url = "http://169.254.170.8" + path
        request = AWSRequest(method, url, data=body, headers=headers or {})
        signer = S3SigV4Auth if service == "s3" else SigV4Auth
        signer(keys, service, self.server.region).add_auth(request)
        status, answer, _ = self.request("aws", method, path, body, dict(request.headers.items()))
        return status, answer

    def logs(self, keys, operation, **members):
        headers = {"X-Amz-Target": f"Logs_20140328.{operation}", "Content-Type": "application/x-amz-json-1.1"}
        return self.signed(keys, "logs", "POST", "/", json.dumps(members).encode(), headers)

    def identity(self, keys):
        body = urllib.parse.urlencode({"Action": "GetCallerIdentity", "Version": "2011-06-15"}).encode()
        return self.signed(keys, "sts", "POST", "/", body, {"Content-Type": "application/x-www-form-urlencoded"})


def as_credentials(found):
    return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["Token"])


def account_credentials(server, key=0):
    return Credentials(server.keys[key]["id"], server.keys[key]["secret"])
