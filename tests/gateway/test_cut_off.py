"""Calls that outlast the server they were made to, or mcpproxy itself: what their callers read."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mcpproxy.core.control import Bounds, Control
from mcpproxy.core.errors import UpstreamUnavailable
from mcpproxy.gateway.under_way import UnderWay
from tests.gateway.by_hand import Peer, a_peer, messages_of, modern, tool_call
from tests.gateway.calls import TIMEOUT
from tests.gateway.test_asking_back import a_process
from tests.gateway.world import Site, running, until

pytestmark = pytest.mark.anyio

NOT_KNOWN = "mcpproxy is stopping: whether up carried this out is not known. Call again."
NOT_SENT = "mcpproxy is stopping: nothing was sent. Call again."


def waits(request_id: int) -> dict[str, Any]:
    call = tool_call(request_id)
    return {**call, "params": {"name": "up__wait", "arguments": {}}}


async def said(asking: "asyncio.Task[Any]") -> str:
    """The text of a tool's error."""
    response = await asyncio.wait_for(asking, 20)
    assert response.status_code == 200
    result = messages_of(response)[-1]["result"]
    assert result["isError"] is True
    return str(result["content"][0]["text"])


@contextlib.asynccontextmanager
async def a_site(tmp_path: Path, **options: Any) -> AsyncIterator[tuple[Site, Peer]]:
    async with running(a_process(tmp_path), **options) as site, a_peer(site) as peer:
        await site.connected("up")
        yield site, peer


async def active(site: Site, count: int) -> None:
    loads = site.gateway.governor.loads
    await until(lambda: {load.server: load.active for load in loads()}.get("up") == count)


async def test_whoever_still_waits_when_we_stop_reads_that_nobody_knows_what_came_of_it(
    tmp_path: Path,
) -> None:
    async with a_site(tmp_path) as (site, peer):
        message, headers = modern("tools/call", name="up__wait", arguments={})
        stateless = asyncio.create_task(peer.post(message, **headers, **{"Mcp-Name": "up__wait"}))
        await active(site, 1)
        await peer.begin()
        session = asyncio.create_task(peer.post(waits(1)))
        owner = asyncio.create_task(site.gateway.call_tool("up", "wait", b"{}", timeout=TIMEOUT))
        await active(site, 3)
        site.gateway.cut_off()
        assert await said(stateless) == NOT_KNOWN
        assert await said(session) == NOT_KNOWN
        with pytest.raises(UpstreamUnavailable, match="is not known"):
            await owner


async def test_what_waits_for_its_turn_when_we_stop_was_not_sent(tmp_path: Path) -> None:
    one = Control(bounds=Bounds(at_once=1, waiting=5, patience=timedelta(minutes=1)))
    async with a_site(tmp_path, control=one) as (site, peer):
        await peer.begin()
        first = asyncio.create_task(peer.post(waits(1)))
        await active(site, 1)
        second = asyncio.create_task(peer.post(waits(2)))
        await until(lambda: site.gateway.governor.waiting() == 1)
        site.gateway.cut_off()
        assert (await said(first), await said(second)) == (NOT_KNOWN, NOT_SENT)


@pytest.mark.parametrize("how", ["restarted", "switched off"])
async def test_who_calls_a_server_that_is_taken_away_reads_why(tmp_path: Path, how: str) -> None:
    async with a_site(tmp_path) as (site, peer):
        await peer.begin()
        call = asyncio.create_task(peer.post(waits(1)))
        await active(site, 1)
        await (site.gateway.restart("up") if how == "restarted" else site.gateway.apply({}))
        told = f"up was {how}: whether up carried this out is not known. Call again."
        assert await said(call) == told


async def test_a_time_that_is_up_and_a_caller_who_gives_up_are_told_apart_from_our_end() -> None:
    under_way = UnderWay("up")

    async def wait() -> None:
        with under_way:
            under_way.over("up was restarted")
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await wait()
    under_way = UnderWay("up")
    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    under_way.cut_off("mcpproxy is stopping")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
