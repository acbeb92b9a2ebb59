"""A WebSocket client whose calls wait.

Not the one of `websockets.sync`: it reads in a thread of its own while another one writes, which a TLS connection of Python's does
not bear (python/cpython#143756). On one emulated processor, every fifth lost its first request.
"""

import asyncio
import contextlib

from websockets.asyncio import client


class Socket:
    """An open connection. Nothing happens on it between two calls."""

    def __init__(self, loop, connection):
        self.loop, self.connection = loop, connection
        self.subprotocol = connection.subprotocol

    def wait(self, work, timeout=None):
        return self.loop.run_until_complete(asyncio.wait_for(work, timeout))

    def send(self, message):
        self.wait(self.connection.send(message))

    def recv(self, timeout):
        return self.wait(self.connection.recv(), timeout)

    def ping(self, timeout):
        """Waits for the answer to a ping."""

        async def answered():
            await (await self.connection.ping())

        self.wait(answered(), timeout)


@contextlib.contextmanager
def connect(url, **options):
    """Opens a connection, with the options of `websockets.asyncio.client.connect`."""

    async def opened():
        # Pings of its own would be late.
        return await client.connect(url, ping_interval=None, **options)

    loop = asyncio.new_event_loop()
    try:
        connection = loop.run_until_complete(opened())
        try:
            yield Socket(loop, connection)
        finally:
            loop.run_until_complete(connection.close())
    finally:
        loop.close()
