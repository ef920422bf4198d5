"""What clients wish of an upstream outlives its sessions."""

from typing import Any

import pytest

from mcpproxy.core.model import Upstream
from mcpproxy.gateway.session import Call
from tests.gateway.hostile import Raw, Scripted, Seen, scripted
from tests.gateway.lone_upstream import lone
from tests.gateway.world import until

pytestmark = pytest.mark.anyio


async def test_subscriptions_and_the_log_level_are_told_again_to_every_new_session() -> None:
    server = Scripted()
    live = {"s1"}

    async def answer(seen: Seen) -> Raw | None:
        if seen.method == "initialize":
            server.session_id = f"s{server.count('initialize')}"
            live.add(server.session_id)
            return None
        return None if seen.headers.get("mcp-session-id", "s1") in live else Raw(404)

    server.answer = answer
    async with scripted(server) as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        assert "result" in await up.live.subscribe("memo://a")
        assert "result" in await up.live.subscribe("memo://b")
        await up.live.unsubscribe("memo://b")
        assert "result" in await up.live.set_log_level("debug")
        live.clear()
        await up.live.request(Call("ping"))
        await until(lambda: server.count("resources/subscribe") == 3)
        again = [
            seen.message["params"] for seen in server.seen if seen.method == "resources/subscribe"
        ]
        assert again[-1] == {"uri": "memo://a"}
        assert server.count("logging/setLevel") == 2
        updated = ("notifications/resources/updated", {"uri": "memo://a"})
        await until(lambda: up.said == [updated])


async def test_a_wish_that_was_refused_is_not_repeated() -> None:
    server = Scripted()

    async def answer(seen: Seen) -> Any:
        if seen.method == "resources/subscribe":
            return {"error": {"code": -32602, "message": "no such resource"}}
        return None

    server.answer = answer
    async with scripted(server) as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        assert "error" in await up.live.subscribe("memo://a")
        up.live.ended(up.live._session, ConnectionError())  # type: ignore[arg-type]
        await until(lambda: server.count("initialize") == 2)
        await up.connected()
        assert "result" in await up.live.request(Call("ping"))
        assert server.count("resources/subscribe") == 1
