"""One client's session (2025-11-25 and older): its streams, its requests, what it is asked.

Law: what is said to a client goes out on a stream it can come back to; what it is asked it alone
can answer.
"""

import asyncio
import base64
import contextlib
import itertools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from msgspec import Raw

from mcpproxy.gateway.abilities import refusal
from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.client import Asker, Client, Era
from mcpproxy.gateway.faces import TOOLS_CHANGED, Face
from mcpproxy.gateway.hub import News
from mcpproxy.gateway.inquiries import Inquiries, Inquiry, no_answer
from mcpproxy.gateway.levels import LOG, is_loud_enough
from mcpproxy.gateway.shares import Holder
from mcpproxy.gateway.streams import RUN, EventStream, Kept, event_place
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

SUBSCRIBE: Final = "resources/subscribe"
UNSUBSCRIBE: Final = "resources/unsubscribe"
# Subscriptions that are remembered of one session, and characters of one.
_MOST_REMEMBERED: Final = 50
_LONGEST_REMEMBERED: Final = 500
# An id that is longer is not repeated in event ids.
_LONGEST_ID: Final = 64
_LOST: Final = (
    "mcpproxy was restarted, or the client was away for too long: whether this request was "
    "carried out is not known. Call again."
)


@dataclass(frozen=True, slots=True)
class Introduced:
    """What a client said of itself, and the version that was agreed with it."""

    version: str
    capabilities: Members = field(default_factory=dict)
    info: Raw | None = None


class ClientSession:
    """It is a `Subscriber` of the hub. `in_flight` are its requests by id, `running` all of
    them: its client may use an id again.
    """

    def __init__(
        self,
        session_id: str,
        caller: Caller,
        face: Face,
        place: str,
        introduced: Introduced,
        kept: Kept,
        changed: Callable[[], None],
    ) -> None:
        """`changed` is told when there is something new to remember over a restart."""
        self.id = self.key = session_id
        self.caller = caller
        self.face = face
        self.place = place
        self.introduced = introduced
        self.used_at = timedelta(0)
        self.log_level: str | None = None
        self.subscribed: dict[str, None] = {}
        self.revived = False
        self.ends_with_stream = False
        # Before it was introduced a client hears nothing but answers (lifecycle, initialization).
        self.is_introduced = True
        self.in_flight: dict[bytes, asyncio.Task[object]] = {}
        self.running: set[asyncio.Task[object]] = set()
        self.cancelled: set[asyncio.Task[object]] = set()
        self.inquiries = Inquiries(lambda: self.standing if self._listens() else None)
        self.standing: EventStream | None = None
        self._holder = Holder(caller.name, session_id)
        self._kept = kept
        self._changed = changed
        self.limits = kept.limits
        self._numbers = itertools.count(1)
        self._streams: OrderedDict[str, EventStream] = OrderedDict()
        self._over = False

    @property
    def is_quiet(self) -> bool:
        """Whether nobody waits for anything here."""
        return not self.running and not self._listens()

    def client(self, asker: Asker | None) -> Client:
        """What an upstream may know of who is behind a request."""
        said = self.introduced
        return Client(
            Era.LEGACY,
            self.id,
            said.capabilities,
            asker,
            self.log_level,
            said.info,
            self.caller.name,
        )

    # --- what it wants --------------------------------------------------------------------

    def began(self, key: bytes, task: asyncio.Task[object]) -> None:
        self.running.add(task)
        self.in_flight[key] = task

    def ended(self, key: bytes, task: asyncio.Task[object]) -> None:
        self.running.discard(task)
        self.cancelled.discard(task)
        if self.in_flight.get(key) is task:
            del self.in_flight[key]

    # --- what it hears --------------------------------------------------------------------

    def hear(self, news: News) -> None:
        if self.standing is None or not self.is_introduced:
            return
        if self.wants(news.method, news.message):
            self.standing.put(jsonrpc.encode(news.message))

    def wants(self, method: str | None, message: Members) -> bool:
        """Whether this is anything that the client did not ask to be spared."""
        return method != LOG or is_loud_enough(message, self.log_level)

    def wished(self, method: str, uri: str) -> None:
        """What its client subscribed to, as far as it is remembered over a restart."""
        if method == UNSUBSCRIBE:
            self.subscribed.pop(uri, None)
        elif len(self.subscribed) < _MOST_REMEMBERED and len(uri) <= _LONGEST_REMEMBERED:
            self.subscribed[uri] = None
        self._changed()

    # --- streams --------------------------------------------------------------------------

    def open_stream(self, request_id: Raw | None) -> EventStream:
        """The stream of an answer, or without a request that of what we say by ourselves."""
        name = f"{RUN}.{next(self._numbers)}"
        if request_id is not None and len(request_id) <= _LONGEST_ID:
            name += "." + base64.urlsafe_b64encode(request_id).decode()
        return self._new_stream(name)

    def _new_stream(self, name: str) -> EventStream:
        """One more; of those that are over the oldest go, where there are too many."""
        made = self._streams[name] = EventStream(name, self._holder, self._kept, self._detached)
        for each in list(self._streams.values()):
            if len(self._streams) <= self.limits.max_kept_streams:
                break
            if each.ended and not each.attached:
                self._forget(each)
        return made

    def standing_stream(self) -> EventStream:
        if self.standing is None:
            self.standing = self.open_stream(None)
            if self.revived:
                # What was said while we were away is not known; lists may have changed.
                self.standing.put(jsonrpc.notification(TOOLS_CHANGED))
        return self.standing

    def resumed(self, event_id: str) -> tuple[EventStream, int] | None:
        """The stream that an event was on, and its place there."""
        place = event_place(event_id)
        if place is None:
            return None
        name, number = place
        stream = self._streams.get(name)
        return (stream, number) if stream is not None else self._lost(name)

    def _lost(self, name: str) -> tuple[EventStream, int] | None:
        """In place of an answer that nobody has any more: an error that says so."""
        _, _, request_id = name.partition(".")[2].partition(".")
        with contextlib.suppress(ValueError):
            raw = Raw(base64.urlsafe_b64decode(request_id))
            if raw and (jsonrpc.text(raw) is not None or jsonrpc.number(raw) is not None):
                stream = self._new_stream(name)
                error = jsonrpc.error(jsonrpc.UPSTREAM_ERROR, _LOST)
                stream.put(jsonrpc.answered(error, raw))
                stream.end()
                return stream, 0
        return None

    def _forget(self, stream: EventStream) -> None:
        self._streams.pop(stream.name, None)
        stream.forget_all()

    # --- what it is asked -----------------------------------------------------------------

    async def ask(self, method: str, params: Raw | None, stream: EventStream | None) -> Members:
        """The client's response; an error response when it cannot be asked or is gone.

        The question goes out on the `stream` of the request it serves, or on the standing one.
        """
        refused = refusal(self.introduced.capabilities, method, params)
        if refused is not None:
            return refused
        if len(self.inquiries) >= self.limits.max_questions:
            return no_answer("The client has too many questions to answer")
        if self._over:
            return no_answer("The client is gone")
        if (stream is None or not stream.attached) and self._listens():
            stream = self.standing
        if stream is None:
            return no_answer("The client has no stream on which it could be asked")
        patience = self.limits.ask_timeout.total_seconds()
        asking = self.inquiries.ask(method, params, stream, patience)
        if not stream.attached:
            self._detached(stream)
        return await asking

    def _listens(self) -> bool:
        return self.standing is not None and self.standing.attached

    def _detached(self, stream: EventStream) -> None:
        """Nobody reads this stream any more: perhaps its client comes back, perhaps not."""
        if not self._over:
            loop = asyncio.get_running_loop()
            loop.call_later(self.limits.resume_grace.total_seconds(), self._give_up, stream)

    def _give_up(self, stream: EventStream) -> None:
        for inquiry in self.inquiries:
            if inquiry.stream is stream and not stream.attached:
                self._redirect(inquiry)

    def _redirect(self, inquiry: Inquiry) -> None:
        if self.standing is not None and self.standing.attached:
            inquiry.stream = self.standing
            self.standing.put(inquiry.body)
        else:
            self.inquiries.fail(inquiry, "The client is gone")

    # --- its end --------------------------------------------------------------------------

    def end_streams(self) -> None:
        # Where it is the only way back, the stream waits for the answers that are under way.
        if self.standing is not None and not (self.ends_with_stream and self.running):
            self.standing.end()
        for inquiry in self.inquiries:
            self.inquiries.fail(inquiry, "mcpproxy is stopping")

    def close(self) -> None:
        """Nothing of it stays: no stream, no request, no question."""
        self._over = True
        self.ends_with_stream = False
        self.end_streams()
        for stream in list(self._streams.values()):
            stream.end()
            self._forget(stream)
        self.cancelled.update(self.running)
        for task in list(self.running):
            task.cancel()
