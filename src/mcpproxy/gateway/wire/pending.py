"""Requests that wait for their response on a link which carries many at once.

Law: a response settles exactly the request whose id it names; any other is nobody's and dropped.
"""

import asyncio

from mcpproxy.core.errors import UpstreamError
from mcpproxy.gateway.wire import jsonrpc, mend
from mcpproxy.gateway.wire.jsonrpc import Members


class Pending:
    """Futures by request id; a request that is given up leaves nothing behind."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[Members]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def expect(self, request_id: int) -> asyncio.Future[Members]:
        """The future of this request's response; it removes itself when it is done."""
        future: asyncio.Future[Members] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = future
        future.add_done_callback(lambda _: self._waiting.pop(request_id, None))
        return future

    def settle(self, response: Members) -> bool:
        """Whether somebody waited for this response."""
        request_id = jsonrpc.number(response.get("id"))
        future = None if request_id is None else self._waiting.get(request_id)
        if future is None or future.done():
            return False
        future.set_result(response)
        return True

    def unreadable(self, body: bytes, error: UpstreamError) -> bool:
        """Whether a request fails with this error now, because nothing else can be its answer."""
        asked = mend.ids_in(body) & self._waiting.keys()
        future = self._waiting[min(asked)] if len(asked) == 1 else None
        if future is None or future.done():
            return False
        future.set_exception(error)
        return True

    def fail(self, error: UpstreamError) -> None:
        """Everybody who waits gets this error."""
        for future in list(self._waiting.values()):
            if not future.done():
                future.set_exception(error)
