"""The provider of a field scenario: the simulator's provider holds the truth, the scenario says
how it is told.

Law: what became of each refresh token is decided by the simulator's provider alone; a scenario
only delays, reshapes, replaces or loses answers, and all that was presented is on record.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final
from urllib.parse import parse_qs, urlencode

from mcpproxy.core.http import HttpReply, HttpRequest, NoReply
from mcpproxy.core.model import FailureKind, RefreshFailure
from tests.simulation.clock import SimClock
from tests.simulation.provider import Family, Fate, Provider

LATENCY: Final = 0.05
"""Seconds to connect, and as much for an answer to come back."""

JSON: Final[Mapping[str, str]] = {"content-type": "application/json"}
HTML: Final[Mapping[str, str]] = {"content-type": "text/html; charset=utf-8"}
PAGE: Final = b"<!DOCTYPE html><html><body>Please wait while we check your browser</body></html>"

RESET: Final = NoReply(RefreshFailure(FailureKind.UNKNOWN, "connection reset"))
REFUSED: Final = NoReply(RefreshFailure(FailureKind.NOT_SENT, "connection refused"))
NO_NAME: Final = NoReply(RefreshFailure(FailureKind.NOT_SENT, "name not found"))
BAD_TLS: Final = NoReply(RefreshFailure(FailureKind.NOT_SENT, "TLS: certificate has expired"))

Reply = HttpReply | NoReply
Answer = Callable[["Visit"], Awaitable[Reply]]
Manner = Answer | NoReply
"""How one request is answered; a NoReply that is NOT_SENT keeps it from being sent at all."""


@dataclass(slots=True)
class Visit:
    """One refresh request at the provider: when it came, what it held, what was answered."""

    provider: "FieldProvider"
    request: HttpRequest
    at: float
    form: Mapping[str, str]
    answered_at: float | None = None
    reply: Reply | None = None

    @property
    def token(self) -> str:
        return self.form.get("refresh_token", "")

    @property
    def family(self) -> Family:
        """The login that this refresh token belongs to."""
        return self.provider.truth.family(self.server)

    @property
    def server(self) -> str:
        return self.request.url.rsplit("/", 1)[-1]

    def process(self) -> HttpReply:
        """What the provider makes of it: tokens, or its word of refusal."""
        done = self.provider.truth.refresh(self.request, self.provider.now())
        if done.issue is not None:
            done.issue.fate = Fate.DELIVERED
        return done.reply

    def process_in_vain(self) -> None:
        """It is processed, and nobody hears of it."""
        done = self.provider.truth.refresh(self.request, self.provider.now())
        if done.issue is not None:
            done.issue.lose(Fate.LOST)


@dataclass
class FieldProvider:
    """The port HttpSender. `script` is for the next requests, `manner` for all after them.

    `pages` are answers to anything that is not a refresh, by method and URL.
    """

    clock: SimClock
    truth: Provider = field(default_factory=lambda: Provider(Random(1)))
    manner: Manner = field(default_factory=lambda: honest)
    script: deque[Manner] = field(default_factory=deque)
    pages: dict[str, HttpReply] = field(default_factory=dict)
    visits: list[Visit] = field(default_factory=list)
    requests: list[HttpRequest] = field(default_factory=list)
    unsent: int = 0

    def now(self) -> float:
        return self.clock.seconds()

    async def exchange(
        self,
        request: HttpRequest,
        *,
        before_send: Callable[[], Awaitable[None]] | None = None,
    ) -> Reply:
        await asyncio.sleep(LATENCY)
        fields = parse_qs(request.body.decode(), keep_blank_values=True)
        is_refresh = "refresh_token" in fields
        manner = self._manner() if is_refresh else honest
        if isinstance(manner, NoReply):
            self.unsent += 1
            return manner
        if before_send is not None:
            await before_send()
        self.requests.append(request)
        if not is_refresh:
            return self.pages.get(f"{request.method} {request.url}", HttpReply(404, JSON, b"{}"))
        form = {name: values[0] for name, values in fields.items()}
        visit = Visit(self, request, self.now(), form)
        self.visits.append(visit)
        visit.reply = await manner(visit)
        await asyncio.sleep(LATENCY)
        visit.answered_at = self.now()
        return visit.reply

    def _manner(self) -> Manner:
        return self.script.popleft() if self.script else self.manner

    def visits_of(self, server: str) -> list[Visit]:
        return [visit for visit in self.visits if visit.server == server]


# --- manners --------------------------------------------------------------------------------


async def honest(visit: Visit) -> Reply:
    """As a token endpoint should."""
    return visit.process()


async def lost(visit: Visit) -> Reply:
    """Processed; the connection breaks before the answer is through."""
    visit.process_in_vain()
    return RESET


async def silent(visit: Visit) -> Reply:
    """Processed; the answer never comes, and the deadline passes."""
    visit.process_in_vain()
    await asyncio.sleep(20)
    return NoReply(RefreshFailure(FailureKind.UNKNOWN, "timeout"))


async def dropped(visit: Visit) -> Reply:
    """Sent, and lost on its way there: nothing was processed."""
    return RESET


async def revoking_the_old_access_token(visit: Visit) -> Reply:
    """As Notion, Atlassian and GitHub do."""
    reply = visit.process()
    family = visit.family
    newest = list(family.access)[-1:]
    family.access = {token: family.access[token] for token in newest}
    return reply


def instead(
    status: int,
    body: bytes | str | Mapping[str, object] = b"",
    headers: Mapping[str, str] | None = None,
    *,
    complete: bool = True,
) -> Answer:
    """Answer this; nothing is processed."""
    reply = HttpReply(status, headers or JSON, _bytes(body), complete)

    async def manner(visit: Visit) -> Reply:
        return reply

    return manner


def error(code: str, status: int = 400, description: str = "") -> Answer:
    """RFC 6749's form of an error; nothing is processed."""
    body = {"error": code} | ({"error_description": description} if description else {})
    return instead(status, body)


def after(seconds: float, manner: Answer = honest) -> Answer:
    """As `manner`, and the answer drips in for so long."""

    async def slow(visit: Visit) -> Reply:
        reply = await manner(visit)
        await asyncio.sleep(seconds)
        return reply

    return slow


def reshaped(reshape: Callable[[HttpReply], HttpReply]) -> Answer:
    """Honest, in another shape."""

    async def manner(visit: Visit) -> Reply:
        return reshape(visit.process())

    return manner


def with_fields(**changes: object) -> Answer:
    """Honest, but a success has these fields changed; None stands for null."""
    return reshaped(lambda reply: _changed(reply, changes))


def without_fields(*names: str) -> Answer:
    """Honest, but a success leaves these out."""

    def leave_out(reply: HttpReply) -> HttpReply:
        fields = {k: v for k, v in json.loads(reply.body).items() if k not in names}
        return replace(reply, body=json.dumps(fields).encode())

    return reshaped(leave_out)


def form_encoded(reply: HttpReply) -> HttpReply:
    """GitHub's way, when nobody asks for JSON."""
    body = urlencode(json.loads(reply.body)).encode()
    return HttpReply(reply.status, {"content-type": "application/x-www-form-urlencoded"}, body)


def dead_as(status: int, body: bytes | str | Mapping[str, object]) -> Answer:
    """Honest, but what is a refusal is told in this provider's own way."""

    def reshape(reply: HttpReply) -> HttpReply:
        return reply if reply.status == 200 else HttpReply(status, JSON, _bytes(body))

    return reshaped(reshape)


def _changed(reply: HttpReply, changes: Mapping[str, object]) -> HttpReply:
    if reply.status != 200:
        return reply
    return replace(reply, body=json.dumps({**json.loads(reply.body), **changes}).encode())


def _bytes(body: bytes | str | Mapping[str, object]) -> bytes:
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()
