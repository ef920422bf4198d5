"""`mcpproxy stdio`: a client's stdin and stdout, bridged to the running daemon's endpoint.

Law: the client's session outlives the daemon's restarts, and so do its subscriptions. A stream
that broke is gone back to; a request that was never sent is sent again, one that may have been
carried out is not.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.bridge_messages import (
    answers,
    is_stream,
    missed,
    modern_headers,
    session_of,
    under_own_id,
)
from mcpproxy.gateway.local_http import Answer, ConnectionLost, Daemon, NotRunning, exchange
from mcpproxy.gateway.wire import eras, jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Kind, Members
from mcpproxy.gateway.wire.sse import EventParser, one_line

FindDaemon = Callable[[], Daemon | None]
"""Where the daemon is now; None while there is none. Asked again for every request."""

# How long a request waits for a daemon that restarts, and how often it looks.
_PATIENCE_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.2
# After the client closed stdin, what it asked before is still answered within this.
_LAST_ANSWERS_SECONDS: Final = 10.0
_MAX_IN_FLIGHT: Final = 256
_MAX_MESSAGE: Final = 16 * 1024 * 1024
_TOOLS_CHANGED: Final = jsonrpc.notification("notifications/tools/list_changed")
_INITIALIZED: Final = jsonrpc.notification("notifications/initialized")
_LISTEN: Final = "subscriptions/listen"
_ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
_ACCEPT: Final = {
    "Accept": "application/json, text/event-stream",
    "Content-Type": "application/json",
}


@dataclass(slots=True)
class _Heard:
    """What came of one request so far: the last event's id, and whether the response was there.

    Of a subscription, `acknowledged` is what the daemon honours of it.
    """

    request_id: bytes
    last_id: str | None = None
    answered: bool = False
    acknowledged: Members | None = None


class Bridge:
    """One client on stdin and stdout."""

    def __init__(self, find: FindDaemon, stdin: BinaryIO, stdout: BinaryIO) -> None:
        self._find = find
        self._stdin = stdin
        self._stdout = stdout
        self._writing = asyncio.Lock()
        self._renewing = asyncio.Lock()
        self._places = asyncio.Semaphore(_MAX_IN_FLIGHT)
        self._requests: dict[bytes, asyncio.Task[None]] = {}
        self._initialize: Members | None = None
        self._session: Mapping[str, str] = {}
        self._listening: asyncio.Task[None] | None = None
        self._renewal: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until the client closes stdin."""
        lines: asyncio.Queue[bytes] = asyncio.Queue(_MAX_IN_FLIGHT)
        _read_in_thread(self._stdin, lines)
        while line := await lines.get():
            if line.strip():
                await self._take(line)
        if self._requests:
            await asyncio.wait(self._requests.values(), timeout=_LAST_ANSWERS_SECONDS)
        for task in (*self._requests.values(), self._listening, self._renewal):
            if task is not None:
                task.cancel()
        await self._leave()

    async def _take(self, line: bytes) -> None:
        """One message of the client. Requests run side by side, everything else in order."""
        try:
            messages = jsonrpc.parse(line)
            kinds = [jsonrpc.kind(each) for each in messages]
            # A batch (2025-03-26) with a request in it is answered, wherever in it that is.
            at = kinds.index(Kind.REQUEST) if Kind.REQUEST in kinds else 0
            message, kind = messages[at], kinds[at]
        except (ProtocolError, IndexError):
            answer = jsonrpc.error(jsonrpc.PARSE_ERROR, "This line is not a JSON-RPC message")
            return await self._write(jsonrpc.answered(answer, None))
        if Kind.INVALID in kinds:
            answer = jsonrpc.error(jsonrpc.INVALID_REQUEST, "This is not a JSON-RPC message")
            return await self._write(jsonrpc.answered(answer, None))
        method = jsonrpc.text(message.get("method"))
        if method == "initialize":
            self._initialize = message
            await self._answer_to(message, line)
        elif kind is Kind.REQUEST:
            if self._places.locked():
                return await self._trouble(message, "Too many requests wait for their answers")
            await self._places.acquire()
            key = bytes(message["id"])
            carry_out = self._listen_to if method == _LISTEN else self._answer_to
            task = asyncio.create_task(carry_out(message, line))
            self._requests[key] = task
            task.add_done_callback(lambda _: self._done(key))
        elif method == "notifications/cancelled" and not self._session:
            self._cancel(message)
        else:
            with contextlib.suppress(NotRunning, ConnectionLost):
                async with self._post(self._session, line) as accepted:
                    await accepted.read()
            if method == "notifications/initialized":
                self._listen()

    def _done(self, key: bytes) -> None:
        self._requests.pop(key, None)
        self._places.release()

    def _cancel(self, message: Members) -> None:
        """Stateless era: giving up a request is closing its answer."""
        with contextlib.suppress(ProtocolError):
            request_id = jsonrpc.members(message.get("params")).get("requestId", b"")
            task = self._requests.get(bytes(request_id))
            if task is not None:
                task.cancel()

    # --- requests -------------------------------------------------------------------------

    async def _answer_to(self, message: Members, line: bytes) -> None:
        """Get the daemon's answer to a request to the client, whatever it takes."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS) as patience:
                while True:
                    try:
                        if await self._attempt(message, line, patience):
                            return
                    except NotRunning:
                        await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            await self._trouble(message, "mcpproxy is not running. Start it with: mcpproxy serve")
        except ConnectionLost:
            await self._trouble(
                message,
                "mcpproxy ended while it carried out this request; whether it was carried out is "
                "not known. Call again.",
            )

    async def _attempt(self, message: Members, line: bytes, patience: asyncio.Timeout) -> bool:
        """Whether the client has its answer. Raises NotRunning or ConnectionLost."""
        session = self._session
        heard = _Heard(bytes(message.get("id", b"")))
        try:
            async with self._post(self._headers(message, session), line) as answer:
                # The daemon has it: from here on the daemon's deadlines hold.
                patience.reschedule(None)
                if answer.status == 404 and session and message is not self._initialize:
                    patience.reschedule(_soon())
                    await self._renew(session)
                    return False
                if message is self._initialize and answer.status == 200:
                    await self._begun(answer)
                elif is_stream(answer):
                    await self._pass_events(answer, heard)
                else:
                    heard.answered = True
                    await self._write(under_own_id(await answer.read(), answer.status, message))
        except ConnectionLost:
            if heard.last_id is None:
                raise
        while heard.last_id is not None and not heard.answered:
            patience.reschedule(_soon())
            await self._go_on(session, heard, patience)
        return True

    async def _go_on(
        self, session: Mapping[str, str], heard: _Heard, patience: asyncio.Timeout
    ) -> None:
        """Go back to the stream of an answer that broke. Raises ConnectionLost when it is lost."""
        headers = {"Accept": "text/event-stream", "Last-Event-ID": heard.last_id or "", **session}
        try:
            async with exchange(self._daemon(), "GET", headers) as answer:
                if answer.status != 200:
                    raise ConnectionLost("the stream is not known any more")
                patience.reschedule(None)
                await self._pass_events(answer, heard)
        except NotRunning:
            await asyncio.sleep(_LOOK_SECONDS)

    def _headers(self, message: Members, session: Mapping[str, str]) -> Mapping[str, str]:
        """The session's headers, or what the stateless era repeats of a message in headers."""
        with contextlib.suppress(ProtocolError):
            params = jsonrpc.members(message.get("params"))
            meta = jsonrpc.members(params.get("_meta"))
            version = jsonrpc.text(meta.get(eras.META_VERSION))
            if version is not None:
                return modern_headers(message, params, version)
        return {} if message is self._initialize else session

    async def _begun(self, answer: Answer) -> None:
        body = await answer.read()
        self._session = session_of(answer, body)
        await self._write(body)

    async def _renew(self, forgotten: Mapping[str, str]) -> None:
        """A new session in the place of one that the daemon does not know (any more)."""
        async with self._renewing:
            if self._session is not forgotten or self._initialize is None:
                return
            async with self._post({}, jsonrpc.encode(self._initialize)) as answer:
                session = session_of(answer, await answer.read())
            async with self._post(session, _INITIALIZED) as answer:
                await answer.read()
            self._session = session
            self._listen()
            await self._write(_TOOLS_CHANGED)

    def _post(
        self, headers: Mapping[str, str], body: bytes
    ) -> contextlib.AbstractAsyncContextManager[Answer]:
        return exchange(self._daemon(), "POST", {**_ACCEPT, **headers}, body)

    def _daemon(self) -> Daemon:
        found = self._find()
        if found is None:
            raise NotRunning
        return found

    # --- the stream of notifications --------------------------------------------------------

    def _listen(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
        self._listening = asyncio.create_task(self._hear(self._session))

    async def _hear(self, session: Mapping[str, str]) -> None:
        """Pass on what the daemon says by itself; when it is gone, wait for it and renew."""
        heard = _Heard(b"")
        while self._session is session:
            with contextlib.suppress(NotRunning, ConnectionLost):
                headers = {"Accept": "text/event-stream", **session}
                if heard.last_id is not None:
                    headers["Last-Event-ID"] = heard.last_id
                async with exchange(self._daemon(), "GET", headers) as answer:
                    if answer.status == 200:
                        await self._pass_events(answer, heard)
                    elif answer.status == 404:
                        self._renewal = asyncio.create_task(self._renewed(session))
                        return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _renewed(self, session: Mapping[str, str]) -> None:
        with contextlib.suppress(NotRunning, ConnectionLost):
            await self._renew(session)

    async def _pass_events(self, answer: Answer, heard: _Heard) -> None:
        parser = EventParser(_MAX_MESSAGE)
        async for chunk in answer.chunks:
            for event in parser.feed(chunk):
                heard.last_id = event.id
                heard.answered = heard.answered or answers(event.data, heard.request_id)
                await self._write(event.data)

    # --- subscriptions of stateless clients -------------------------------------------------

    async def _listen_to(self, message: Members, line: bytes) -> None:
        """One subscription, over as many runs of the daemon as its client wants it for."""
        heard = _Heard(bytes(message["id"]))
        while not heard.answered:
            with contextlib.suppress(NotRunning, ConnectionLost):
                async with self._post(self._headers(message, {}), line) as answer:
                    if not is_stream(answer):
                        body = await answer.read()
                        await self._write(under_own_id(body, answer.status, message))
                        return
                    await self._pass_news(answer, heard)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _pass_news(self, answer: Answer, heard: _Heard) -> None:
        """What the client subscribed to; after a restart, that it may have missed something."""
        parser = EventParser(_MAX_MESSAGE)
        async for chunk in answer.chunks:
            for event in parser.feed(chunk):
                if answers(event.data, heard.request_id):
                    return  # this run of the daemon ends, and not the subscription
                message = jsonrpc.members(event.data)
                if jsonrpc.text(message.get("method")) != _ACKNOWLEDGED:
                    await self._write(event.data)
                elif heard.acknowledged is None:
                    heard.acknowledged = message
                    await self._write(event.data)
                else:
                    for news in missed(message):
                        await self._write(news)

    async def _leave(self) -> None:
        if self._session:
            with contextlib.suppress(NotRunning, ConnectionLost, TimeoutError):
                async with (
                    asyncio.timeout(1.0),
                    exchange(self._daemon(), "DELETE", self._session) as answer,
                ):
                    await answer.read()

    # --- stdout ---------------------------------------------------------------------------

    async def _trouble(self, message: Members, words: str) -> None:
        answer = jsonrpc.error(jsonrpc.UPSTREAM_ERROR, words)
        await self._write(jsonrpc.answered(answer, message.get("id")))

    async def _write(self, body: bytes) -> None:
        if not body:
            return
        async with self._writing:
            await asyncio.to_thread(self._write_now, one_line(body) + b"\n")

    def _write_now(self, line: bytes) -> None:
        self._stdout.write(line)
        self._stdout.flush()


def _soon() -> float:
    return asyncio.get_running_loop().time() + _PATIENCE_SECONDS


def _read_in_thread(stdin: BinaryIO, lines: "asyncio.Queue[bytes]") -> None:
    """Lines of stdin into the queue, an empty one at its end: pipes and files on any system."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone, and so is whoever listens
            while True:
                line = stdin.readline()
                asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()
                if not line:
                    return

    threading.Thread(target=read, name="stdin", daemon=True).start()
