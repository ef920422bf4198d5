"""Hints that lists changed: at once, together, and no more often than is useful."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.changes import PROMPTS_CHANGED, RESOURCES_CHANGED, Changes
from mcpproxy.gateway.faces import TOOLS_CHANGED
from mcpproxy.gateway.hub import Hub, News
from mcpproxy.gateway.items import Kind
from mcpproxy.gateway.limits import GatewayLimits
from tests.gateway.world import until

pytestmark = pytest.mark.anyio


class Everything:
    """A face that shows all."""

    def shown(self, news: News) -> News:
        return news


@dataclass(eq=False)
class Listener:
    key: str
    caller: Caller
    face: Any = field(default_factory=Everything)
    heard: list[str] = field(default_factory=list)

    def hear(self, news: News) -> None:
        self.heard.append(news.method)


def made(pause: timedelta) -> tuple[Changes, Listener, Listener]:
    """`all` may reach every server, `some` only `a`."""
    hub = Hub(lambda caller, server: caller.servers is None or server in caller.servers)
    everybody = Listener("all", Caller("all"))
    some = Listener("some", Caller("some", servers=frozenset({"a"})))
    hub.add(everybody)
    hub.add(some)
    return Changes(hub, GatewayLimits(changes_pause=pause)), everybody, some


async def test_upstreams_that_come_together_cost_one_hint_a_kind() -> None:
    changes, everybody, some = made(timedelta(hours=1))
    for server in ("a", "b", "c"):
        changes.note(server, frozenset(Kind))
    await until(lambda: bool(everybody.heard))
    assert sorted(everybody.heard) == [PROMPTS_CHANGED, RESOURCES_CHANGED, TOOLS_CHANGED]
    assert sorted(some.heard) == sorted(everybody.heard)
    changes.stop()


async def test_what_follows_is_told_together_after_the_pause() -> None:
    changes, everybody, some = made(timedelta(milliseconds=50))
    changes.note("a", frozenset({Kind.TOOLS}))
    await until(lambda: everybody.heard == [TOOLS_CHANGED])
    for _ in range(100):
        changes.note("b", frozenset({Kind.TOOLS}))
    assert everybody.heard == [TOOLS_CHANGED]
    await until(lambda: everybody.heard == [TOOLS_CHANGED] * 2)
    assert changes.is_quiet
    assert some.heard == [TOOLS_CHANGED]
    changes.stop()


async def test_nothing_that_changed_is_no_hint() -> None:
    changes, everybody, _ = made(timedelta(0))
    changes.note("a", frozenset())
    changes.note("a", frozenset({Kind.PROMPTS}))
    await until(lambda: everybody.heard == [PROMPTS_CHANGED])
    changes.stop()
