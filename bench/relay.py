"""The floor for Python: bytes copied between two sockets on uvloop, nothing read, nothing known.

What a call takes here no proxy in Python can save: a turn of the loop, a receive and a send, twice.
"""

import asyncio
import sys
from typing import cast

import uvloop


class End(asyncio.Protocol):
    """One end of a relayed connection; `other` is where its bytes go."""

    def __init__(self, other: asyncio.WriteTransport | None = None) -> None:
        self._other = other

    def data_received(self, data: bytes) -> None:
        if self._other is not None:
            self._other.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._other is not None:
            self._other.close()


class Front(End):
    """The client's end, which brings the other one along."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self._early = b""
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        client = cast("asyncio.WriteTransport", transport)  # uvloop's are not of asyncio's classes
        self._connecting = asyncio.create_task(self._connect(client))

    def data_received(self, data: bytes) -> None:
        if self._other is None:
            self._early += data
        else:
            self._other.write(data)

    async def _connect(self, client: asyncio.WriteTransport) -> None:
        loop = asyncio.get_running_loop()
        self._other, _ = await loop.create_connection(lambda: End(client), "127.0.0.1", self._port)
        self._other.write(self._early)


async def main(port: int, behind: int) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: Front(behind), "127.0.0.1", port
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
