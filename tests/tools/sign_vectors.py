"""Writes requests signed by botocore, which the unit tests of hearth-front verify.

    python tests/tools/sign_vectors.py > crates/hearth-front/src/sigv4/vectors.json
"""

import datetime
import json
import sys
from unittest import mock
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

CREDENTIALS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SIGNED_AT = datetime.datetime(2026, 11, 22, 6, 0, 0)
HOST = "http://127.0.0.1:4580"
IMAGE = "/2025-09-09/microvm-images/arn%3Aaws%3Alambda%3Aeu-west-1%3A000000000000%3Amicrovm-image%3Aa-b_c"

CASES = [
    (SigV4Auth, "lambda", "GET", "/2025-09-09/microvms", ""),
    (SigV4Auth, "lambda", "POST", "/2025-09-09/microvms", '{"imageIdentifier": "a"}'),
    (SigV4Auth, "lambda", "GET", IMAGE, ""),
    (SigV4Auth, "lambda", "GET", f"{IMAGE}/versions/1.0/builds?maxResults=5&chipset=INTEL&nextToken=a%2Fb%3D%3D", ""),
    (SigV4Auth, "lambda", "DELETE", "/2017-03-31/tags/x%20y?tagKeys=b&tagKeys=a&tagKeys=%C3%A9", ""),
    (SigV4Auth, "sts", "POST", "/", "Action=GetCallerIdentity&Version=2011-06-15"),
    (SigV4QueryAuth, "sts", "GET", "/?Action=GetCallerIdentity&Version=2011-06-15", ""),
]


def sign(auth, service, method, url, body):
    request = AWSRequest(method=method, url=HOST + url, data=body.encode())
    auth(CREDENTIALS, service, "eu-west-1").add_auth(request)
    parts = urlsplit(request.url)
    headers = [["host", parts.netloc], *([name, value] for name, value in request.headers.items())]
    return {
        "method": method,
        "url": parts.path + (f"?{parts.query}" if parts.query else ""),
        "headers": headers,
        "body": body,
    }


def main():
    with mock.patch("botocore.auth.get_current_datetime", return_value=SIGNED_AT):
        json.dump([sign(*case) for case in CASES], sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
