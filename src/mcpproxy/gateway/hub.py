"""What upstreams say by themselves, on its way to the clients that it concerns.

Law: publishing never waits. A client hears only what its place shows and its caller may reach.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.wire.jsonrpc import Members

if TYPE_CHECKING:
    from mcpproxy.gateway.faces import Face

MayReach = Callable[[Caller, str], bool]
"""Whether this server exists for this caller, or has just gone."""


@dataclass(frozen=True, slots=True, eq=False)
class News:
    """A notification of an upstream. `to` limits it to the subscribers with these keys."""

    server: str
    method: str
    message: Members
    to: frozenset[str] | None = None


class Subscriber(Protocol):
    """A client's stream of what we say by ourselves: a session, or a modern subscription."""

    @property
    def key(self) -> str:
        """Tells subscribers apart: a session's id, or one of the subscription's own."""
        ...

    @property
    def caller(self) -> Caller: ...

    @property
    def face(self) -> "Face": ...

    def hear(self, news: News) -> None:
        """Take it or leave it, by the subscriber's own filters; returns at once."""
        ...


class Hub:
    """All who listen, by their keys."""

    def __init__(self, may_reach: MayReach) -> None:
        self._may_reach = may_reach
        self._subscribers: dict[str, Subscriber] = {}
        self._farewells: list[Callable[[str], None]] = []

    def __len__(self) -> int:
        return len(self._subscribers)

    def add(self, subscriber: Subscriber) -> None:
        self._subscribers[subscriber.key] = subscriber

    def remove(self, subscriber: Subscriber) -> None:
        if self._subscribers.get(subscriber.key) is subscriber:
            del self._subscribers[subscriber.key]
            for farewell in self._farewells:
                farewell(subscriber.key)

    def when_gone(self, farewell: Callable[[str], None]) -> None:
        """Call this with the key of everyone who stops listening; it returns at once."""
        self._farewells.append(farewell)

    def where(self, holds: Callable[[Subscriber], bool]) -> frozenset[str]:
        """The keys of those of whom this holds."""
        return frozenset(key for key, each in self._subscribers.items() if holds(each))

    def publish(self, *several: News) -> None:
        """Tell all whom it concerns; what several of them say in the same words only once."""
        told: set[tuple[str, int]] = set()
        for news in several:
            self._publish(news, told)

    def _publish(self, news: News, already: set[tuple[str, int]]) -> None:
        """A face is asked once what its clients hear of it."""
        shown: dict[Face, News | None] = {}
        for subscriber in list(self._subscribers.values()):
            if news.to is not None and subscriber.key not in news.to:
                continue
            face = subscriber.face
            if face not in shown:
                shown[face] = face.shown(news)
            told = shown[face]
            if told is None or (subscriber.key, id(told.message)) in already:
                continue
            if self._may_reach(subscriber.caller, news.server):
                already.add((subscriber.key, id(told.message)))
                subscriber.hear(told)
