#!/usr/bin/env python3
"""Joins the chat room, sends the given messages, reads until they came back, and leaves.

    pip install websockets
    eval "$(hearth env)"
    python3 examples/chat/client.py MICROVM "hello" "anybody here?"
"""

import asyncio
import json
import os
import ssl
import sys

import boto3
from websockets.asyncio.client import connect

microvms = boto3.client("lambda-microvms")
microvm, *messages = sys.argv[1:]
# A whole id, or the beginning of one.
microvm = next(
    item["microvmId"]
    for page in microvms.get_paginator("list_microvms").paginate()
    for item in page["items"]
    if item["microvmId"].startswith(microvm)
)
endpoint = microvms.get_microvm(microvmIdentifier=microvm)["endpoint"]
answer = microvms.create_microvm_auth_token(microvmIdentifier=microvm, expirationInMinutes=5, allowedPorts=[{"port": 8080}])
token = answer["authToken"]["X-aws-proxy-auth"]

# A browser cannot set headers of a WebSocket: the token goes in as a subprotocol.
protocols = ["lambda-microvms", f"lambda-microvms.authentication.{token}"]
trust = ssl.create_default_context(cafile=os.environ.get("HEARTH_CA_BUNDLE"))


async def talk():
    async with connect(f"wss://{endpoint}/", subprotocols=protocols, ssl=trust, open_timeout=300) as room:
        for message in messages:
            await room.send(message)
        async for heard in room:
            heard = json.loads(heard)
            print(f"{heard['number']}. {heard['text']}", flush=True)
            if not messages or heard["text"] == messages[-1]:
                break


asyncio.run(talk())
