"""Calls in flight on one session, and the small things that are done beside them.

Law: a call that ends, however it ends, leaves nothing here but whose it was, if the server may
still be at work on it.
"""

import asyncio
import contextlib
import itertools
from asyncio import Timeout
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Final

from msgspec import Raw

from mcpproxy.core.errors import McpproxyError
from mcpproxy.gateway.client import Era
from mcpproxy.gateway.left_behind import LeftBehind, Origin
from mcpproxy.gateway.levels import LOG
from mcpproxy.gateway.limits import DEFAULT_LIMITS, GatewayLimits
from mcpproxy.gateway.session import NOBODY, Call
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

# Of all questions that a session may have open, one caller may have so large a part.
_SHARE: Final = 2
# What an upstream says of one call beside its progress; who it is for no name in it tells.
_OF_A_CALL: Final = frozenset({LOG, "notifications/elicitation/complete"})


Subject = tuple[str, bytes]
"""What a call is about: its method, and the name of the tool or prompt as it came."""
_LONGEST_NAME: Final = 256


@dataclass(slots=True, eq=False)
class Flight:
    """One call in flight; `token` is the progress token its caller chose, `questions` are what
    its client is being asked.
    """

    call: Call
    token: Raw | None = None
    deadline: Timeout | None = None
    questions: set[asyncio.Task[None]] | None = None
    is_over: bool = False
    _asking: int = 0
    _lending: int = 0
    _left: float | None = None

    @property
    def is_somebodys(self) -> bool:
        """Whether anybody outside made this call: of our own requests no tool knows."""
        return self.call.client is not None or self.call.method == "tools/call"

    @property
    def caller(self) -> str:
        """Whose call it is: a client whose caller is not known is alone with itself."""
        client = self.call.client
        return self.call.caller if client is None else client.caller or client.key

    @property
    def subject(self) -> Subject:
        params = self.call.params
        name = b"" if params is None else memoryview(params.get("name", b""))[:_LONGEST_NAME]
        return self.call.method, bytes(name)

    @property
    def task(self) -> str | None:
        """The task that this request is about, by the server's own id."""
        if not self.call.method.startswith("tasks/") or self.call.params is None:
            return None
        return jsonrpc.text(self.call.params.get("taskId"))

    @property
    def origin(self) -> Origin:
        return Origin(self.caller, self.call.client is not None)

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """While the client is asked, the call's time does not run."""
        self._asking += 1
        if self._asking == 1:
            self._stop()
        try:
            yield
        finally:
            self._asking -= 1
            if not self._asking:
                self._go_on()

    @contextlib.contextmanager
    def lending(self) -> Iterator[None]:
        """While its own client is asked, the call lends its one place, whatever it is asked."""
        seat = self.call.seat
        self._lending += 1
        if self._lending == 1 and seat is not None:
            seat.lend()
        try:
            yield
        finally:
            self._lending -= 1
            if not self._lending and seat is not None:
                seat.take_back()

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """While this task asks the client: it is of no use to anybody once the call has ended."""
        question = asyncio.current_task()
        if question is None:
            raise RuntimeError("a question is asked by a task")
        if self.questions is None:
            self.questions = set()
        self.questions.add(question)
        try:
            yield
        finally:
            self.questions.discard(question)

    def _stop(self) -> None:
        when = None if self.deadline is None else self.deadline.when()
        self._left = None if when is None else when - asyncio.get_running_loop().time()
        _reschedule(self.deadline, None)

    def _go_on(self) -> None:
        if self._left is not None:
            _reschedule(self.deadline, asyncio.get_running_loop().time() + self._left)

    def progressed(self, params: Members, message: Members) -> None:
        """Progress of this call, under the token its caller chose."""
        if self.token is not None and self.call.sink is not None:
            params["progressToken"] = self.token
            self.call.sink({**message, "params": jsonrpc.raw(params)})


def _reschedule(deadline: Timeout | None, when: float | None) -> None:
    # It may have expired, or its call may have ended, a moment ago.
    if deadline is not None:
        with contextlib.suppress(RuntimeError):
            deadline.reschedule(when)


class Flights:
    """By request id, the oldest first."""

    def __init__(self, limits: GatewayLimits = DEFAULT_LIMITS) -> None:
        self._ids = itertools.count(1)
        self._by_id: dict[int, Flight] = {}
        self._drained: asyncio.Event | None = None
        self._most_asked = max(1, limits.max_server_requests // _SHARE)
        self._asked: dict[str, int] = {}
        # For as long as a question of such a call could still have been answered.
        self._left = LeftBehind(limits.ask_timeout)

    def __iter__(self) -> Iterator[Flight]:
        return iter(self._by_id.values())

    def next_id(self) -> int:
        return next(self._ids)

    def get(self, request_id: int | None) -> Flight | None:
        return None if request_id is None else self._by_id.get(request_id)

    def begin(self, request_id: int, flight: Flight) -> None:
        self._by_id[request_id] = flight

    def end(self, request_id: int) -> None:
        flight = self._by_id.pop(request_id)
        flight.is_over = True
        for question in tuple(flight.questions or ()):
            question.cancel()
        if self._drained is not None and not self._by_id:
            self._drained.set()

    @contextlib.contextmanager
    def share(self, caller: str) -> Iterator[bool]:
        """Whether this caller may be asked another thing, for which its call keeps its place at
        the server; while it is, that one counts.
        """
        count = self._asked.get(caller, 0)
        if count >= self._most_asked:
            yield False
            return
        self._asked[caller] = count + 1
        try:
            yield True
        finally:
            self._asked[caller] -= 1
            if not self._asked[caller]:
                del self._asked[caller]

    def given_up(self, request_id: int) -> None:
        """This call ends without an answer of the server, which may go on with it."""
        flight = self._by_id[request_id]
        if flight.is_somebodys:
            self._left.add(flight.origin, request_id)

    def answered_late(self, response: Members) -> None:
        """The answer to a call that was given up."""
        request_id = jsonrpc.number(response.get("id"))
        if request_id is not None:
            self._left.answered(request_id)

    def left_behind(self) -> frozenset[Origin]:
        """Whose calls were given up that the server may still be at work on."""
        return self._left.origins()

    async def drained(self, patience: float) -> None:
        """Once nothing is in flight, or `patience` seconds are over."""
        if self._by_id:
            self._drained = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._drained.wait()

    def progressed(self, message: Members) -> None:
        params = jsonrpc.members(message.get("params"))
        flight = self.get(jsonrpc.number(params.get("progressToken")))
        if flight is not None:
            flight.progressed(params, message)

    def took(self, method: str, message: Members, during: int | None) -> bool:
        """Whether this notification is for one call, which has it now. What changed is not, on
        whatever stream it is told: that is for all who want to hear of it.
        """
        if method not in _OF_A_CALL:
            return False
        flight = self.get(during)
        if flight is None:
            return method == LOG and self._said(message)
        if flight.call.sink is None:
            return False
        flight.call.sink(message)
        return True

    def about(self, method: str, during: int | None) -> frozenset[str]:
        """The callers of whom one may be meant by a notification that no call took: what changed
        is for all, but what a tool logs may be of what its caller gave it.
        """
        if method != LOG:
            return NOBODY
        flight = self.get(during)
        if flight is not None:
            return frozenset((flight.caller,)) if flight.is_somebodys else NOBODY
        meant = {each.caller for each in self if each.is_somebodys}
        return frozenset(meant | {each.caller for each in self.left_behind()})

    def _said(self, message: Members) -> bool:
        """A log message on a wire that does not say whose call it belongs to: whether it was
        given to a call. A client of the modern era hears of nothing outside of its calls.
        """
        heard = [flight.call for flight in self if flight.call.sink is not None]
        clients = {None if call.client is None else call.client.key for call in heard}
        is_certain = len(clients) == 1 and len(self.about(LOG, None)) == 1
        newest = heard[-1] if is_certain else None
        if newest is None or newest.client is None or newest.client.era is Era.LEGACY:
            return False
        if newest.sink is not None:
            newest.sink(message)
        return True


class Chores:
    """Small things that nobody waits for, each within a deadline; too many are not done."""

    def __init__(self, limits: GatewayLimits) -> None:
        self._limits = limits
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, work: Coroutine[None, None, None]) -> None:
        if len(self._tasks) >= self._limits.max_server_requests:
            work.close()
            return
        task = asyncio.create_task(self._bounded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # one that was cancelled never began

    def cancel(self) -> None:
        for task in list(self._tasks):
            task.cancel()

    async def _bounded(self, work: Coroutine[None, None, None]) -> None:
        try:
            async with asyncio.timeout(self._limits.tcp_timeout.total_seconds()):
                await work
        except (McpproxyError, TimeoutError):
            return  # the link itself reports what matters


def own_token(params: Members, request_id: int) -> tuple[Members, Raw | None]:
    """The params with our id as progress token, and the token they had.

    Two callers may have chosen the same token; on the one session they share it would be one.
    """
    meta = jsonrpc.members(params["_meta"])
    token = meta.get("progressToken")
    if token is None:
        return params, None
    meta["progressToken"] = jsonrpc.raw(request_id)
    return {**params, "_meta": jsonrpc.raw(meta)}, token
