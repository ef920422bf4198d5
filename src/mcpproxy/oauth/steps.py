"""What OAuth conversations are made of: generators that yield requests and are sent replies.

Law: no I/O here; whoever drives the generator does it, so that a test can be the whole network.
"""

import json
from collections.abc import Generator, Mapping
from enum import Enum, auto
from typing import Final, TypeVar
from urllib.parse import urljoin

from mcpproxy.core.errors import DiscoveryFailed
from mcpproxy.core.http import HttpReply, HttpRequest, NoReply
from mcpproxy.core.provider_ports import HttpSender
from mcpproxy.oauth.endpoints import check_endpoint, origin_of

T = TypeVar("T")
Reply = HttpReply | NoReply
Steps = Generator[HttpRequest, Reply, T]
Document = Mapping[str, object]

MAX_REDIRECTS: Final = 3
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
NOT_A_WORD: Final = frozenset({408, 425, 429})


async def drive(steps: Steps[T], sender: HttpSender) -> T:
    """Run a conversation over a sender to its result."""
    try:
        request = next(steps)
        while True:
            request = steps.send(await sender.exchange(request))
    except StopIteration as stop:
        result: T = stop.value
        return result


class Redirects(Enum):
    """Whether a document may be somewhere else than it was looked for."""

    FOLLOWED = auto()
    WITHIN_ORIGIN = auto()


class Unclear(Exception):
    """No document, and no word that there is none: the provider is down or out of reach."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def fetch_document(
    url: str, what: str, server_url: str, redirects: Redirects = Redirects.FOLLOWED
) -> Steps[Document | None]:
    """A JSON document; None when there is none at this URL. Raises Unclear when nobody can say.

    Follows a few redirects, each URL checked like the first.
    """
    origin = origin_of(url)
    for _ in range(MAX_REDIRECTS + 1):
        check_endpoint(url, what, server_url)
        headers = {"accept": "application/json"}
        reply = yield HttpRequest("GET", url, headers, on_behalf_of=server_url)
        if isinstance(reply, NoReply):
            raise Unclear(reply.failure.detail)
        location = reply.headers.get("location")
        if reply.status not in REDIRECTS or not location:
            return _document(reply)
        url = urljoin(url, location)
        if redirects is Redirects.WITHIN_ORIGIN and origin_of(url) != origin:
            raise Unclear("it is redirected elsewhere")
    raise DiscoveryFailed(
        f"The {what} is redirected more than {MAX_REDIRECTS} times.",
        next_step="Tell the people who run this server.",
    )


def _document(reply: HttpReply) -> Document | None:
    if reply.status >= 500 or reply.status in NOT_A_WORD:
        raise Unclear(f"HTTP {reply.status}")
    if not 200 <= reply.status < 300:
        return None
    if not reply.complete:
        raise Unclear("the answer broke off")
    try:
        parsed = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None
