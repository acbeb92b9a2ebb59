"""A chat room over WebSockets (RFC 6455), with Python's standard library alone.

Messages are kept in memory: they are still there when the room wakes up, and a new client gets them first. Connections end with a
suspend, as every stream through an endpoint does; the next one wakes the room.
"""

import asyncio
import base64
import hashlib
import json

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10

MAX_MESSAGE_BYTES = 16 << 10
MAX_HISTORY = 1000

history = []
rooms = set()


async def head(reader):
    """Reads the request line and the headers, by lower-case name."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    return lines[0], {name.lower(): value for name, value in headers.items()}


async def receive(reader):
    """One frame. Messages of a chat are short: those in several frames are refused, like long ones."""
    first, second = await reader.readexactly(2)
    length = second & 0x7F
    if length == 126:
        length = int.from_bytes(await reader.readexactly(2))
    if not (first & 0x80 and second & 0x80) or length > MAX_MESSAGE_BYTES:
        raise ConnectionError("only whole, masked, short messages")
    mask = await reader.readexactly(4)
    masked = await reader.readexactly(length)
    return first & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(masked))


def send(writer, kind, payload):
    length = len(payload)
    head = bytes([length]) if length < 126 else bytes([126]) + length.to_bytes(2)
    writer.write(bytes([0x80 | kind]) + head + payload)


def say(text):
    """Sends a message to all clients, and keeps it for later ones."""
    history.append({"number": len(history) + 1, "text": text})
    del history[:-MAX_HISTORY]
    for writer in rooms:
        send(writer, TEXT, json.dumps(history[-1]).encode())


async def chat(reader, writer, headers):
    accept = base64.b64encode(hashlib.sha1((headers["sec-websocket-key"] + GUID).encode()).digest()).decode()
    upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    writer.write(f"{upgrade}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
    for message in history:
        send(writer, TEXT, json.dumps(message).encode())
    rooms.add(writer)
    try:
        while True:
            kind, payload = await receive(reader)
            if kind == TEXT:
                say(payload.decode())
            elif kind == PING:
                send(writer, PONG, payload)
            elif kind == CLOSE:
                send(writer, CLOSE, payload)
                return
            # Who does not read what others say, waits here with what they say themselves.
            await writer.drain()
    finally:
        rooms.discard(writer)


async def serve(reader, writer):
    try:
        _, headers = await head(reader)
        if headers.get("upgrade", "").lower() == "websocket":
            await chat(reader, writer, headers)
        else:
            body = f"{len(rooms)} here, {len(history)} messages\n".encode()
            answer = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(answer.encode() + body)
        await writer.drain()
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, KeyError, ValueError):
        """Whoever does not speak the protocol, or has left."""
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 8080)
    print("the room is open")
    await server.serve_forever()


asyncio.run(main())
