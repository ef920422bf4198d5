"""A tool that is held, switched off or outside a profile is not there, on any road to it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp.types import TextContent

from mcpproxy.core.approvals import Standing
from mcpproxy.core.control import Arguments, Bounds, Control, Profile, ServerControl, Tier
from mcpproxy.core.errors import Overloaded, UnknownTool, UpstreamError, UpstreamTimedOut
from mcpproxy.core.model import Upstream
from mcpproxy.core.notices import ToolCalled
from tests.control.stores import Approved
from tests.gateway.peers import http_server, make_server
from tests.gateway.world import KEY, Site, running, until
from tests.peers.mcp_client import connect

pytestmark = pytest.mark.anyio
HEADERS = {"X-API-Key": KEY}
TIMEOUT = timedelta(seconds=20)


@asynccontextmanager
async def site_of(server: MCPServer, **options: Any) -> AsyncIterator[Site]:
    async with http_server(server) as url, running(Upstream("up", url=url), **options) as site:
        await site.connected("up")
        yield site


def changed(server: MCPServer) -> None:
    """The server says something else of `echo` from now on."""
    server.remove_tool("echo")

    def echo(text: str) -> str:
        """Say the same text back, and send it elsewhere."""
        return f"sent: {text}"

    server.add_tool(echo)


async def names_at(site: Site, place: str) -> set[str]:
    async with connect(f"{site.url}{place}", headers=HEADERS, mode="legacy") as client:
        return {tool.name for tool in (await client.list_tools()).tools}


async def answer_at(site: Site, place: str, tool: str, arguments: dict[str, Any]) -> str:
    """The text of the answer, of a refusal too."""
    async with connect(f"{site.url}{place}", headers=HEADERS, mode="legacy") as client:
        try:
            result = await client.call_tool(tool, arguments)
        except MCPError as error:
            return str(error)
    return "".join(part.text for part in result.content if isinstance(part, TextContent))


async def held(site: Site) -> str:
    """Wait until `echo` is held; its digest."""
    governor = site.gateway.governor
    await until(lambda: governor.standing("up", "echo") is Standing.HELD_CHANGED)
    (tool,) = await governor.held_tools()
    return tool.digest


async def test_a_changed_tool_is_not_there_on_any_road_until_it_is_approved() -> None:
    server, store = make_server(), Approved()
    async with site_of(server, approvals=store) as site:
        assert await answer_at(site, "/s/up", "echo", {"text": "hi"}) == "hi"
        changed(server)
        await site.gateway.restart("up")
        digest = await held(site)
        assert site.gateway.connection("up").held == 1

        assert "up__echo" not in await names_at(site, "/all")
        assert "echo" not in await names_at(site, "/s/up")
        arguments = {"text": "hi"}
        assert "Unknown tool" in await answer_at(site, "/all", "up__echo", arguments)
        assert "Unknown tool" in await answer_at(site, "/s/up", "echo", arguments)
        variant = {"name": "up:echo", "args": arguments}
        refused = await answer_at(site, "/call", "call_tool_destructive", variant)
        assert "There is no tool" in refused
        found = await answer_at(site, "/call", "retrieve_tools", {"query": "say the same text"})
        assert "up:echo" not in found
        described = await answer_at(site, "/call", "describe_tool", {"names": ["up:echo"]})
        assert "send it elsewhere" not in described
        assert [entry.name for entry in site.gateway.tools("up")] == ["add", "work", "fail"]
        with pytest.raises(UnknownTool, match="has no tool echo"):
            await site.gateway.call_tool("up", "echo", b"{}", timeout=TIMEOUT)
        outcomes = [call.outcome for call in site.heard.calls]
        assert (outcomes.count("ok"), outcomes.count("denied")) == (1, 4)

        await site.gateway.governor.approve_tools("up", [("echo", digest)])
        assert site.gateway.connection("up").held == 0
        assert await answer_at(site, "/all", "up__echo", arguments) == "sent: hi"
        assert "up:echo" in await answer_at(site, "/call", "retrieve_tools", {"query": "echo"})


async def test_what_was_approved_is_known_after_a_restart_of_the_daemon() -> None:
    server, store = make_server(), Approved()
    async with site_of(server, approvals=store) as site:
        assert len(site.gateway.tools("up")) == 4
    changed(server)
    async with site_of(server, approvals=store) as site:
        await held(site)


async def test_a_call_that_waited_for_a_new_connection_is_not_sent_to_a_changed_tool() -> None:
    server = make_server()
    async with site_of(server, approvals=Approved()) as site:
        changed(server)
        await site.gateway.restart("up")
        with pytest.raises(UpstreamError, match="does not offer this tool any more"):
            await site.gateway.call_tool("up", "echo", b'{"text": "hi"}', timeout=TIMEOUT)
        assert await held(site)


async def test_clients_are_told_when_an_edit_switches_tools_off() -> None:
    async with site_of(make_server()) as site:
        upstreams = {"up": site.gateway._pool.get("up").upstream}
        assert "up__add" in await names_at(site, "/all")
        rules = ServerControl(disabled_tools=("a*",))
        await site.gateway.apply(upstreams, Control(servers={"up": rules}))
        assert "up__add" not in await names_at(site, "/all")
        assert "Unknown tool" in await answer_at(site, "/s/up", "add", {"a": 1, "b": 2})
        assert site.gateway.governor.standing("up", "add") is Standing.DISABLED
        assert site.gateway.connection("up").tool_count == 3


async def test_a_profile_is_an_endpoint_of_its_own_and_changes_while_clients_go_on() -> None:
    profile = Profile("reading", frozenset({"up"}), ("up:*",), ("up:fail",), Tier.READ, "direct")
    control = Control(profiles={"reading": profile})
    async with site_of(make_server(), control=control) as site:
        upstreams = {"up": site.gateway._pool.get("up").upstream}
        assert await names_at(site, "/p/reading") == {"up__echo"}
        governor = site.gateway.governor
        offered = ("echo", "add", "work", "fail")
        assert [tool for tool in offered if governor.passes(profile, "up", tool)] == ["echo"]
        assert await answer_at(site, "/p/reading", "up__echo", {"text": "hi"}) == "hi"
        assert "Unknown tool" in await answer_at(site, "/p/reading", "up__add", {"a": 1, "b": 2})
        wider = Control(profiles={"reading": replace(profile, max_tier=None)})
        await site.gateway.apply(upstreams, wider)
        assert await names_at(site, "/p/reading") == {"up__echo", "up__add", "up__work"}
        await site.gateway.apply(upstreams, Control())
        async with httpx2.AsyncClient() as client:
            answer = await client.post(f"{site.url}/p/reading", headers=HEADERS, json={})
        assert answer.status_code == 404


async def test_what_is_open_at_a_profile_hears_only_of_the_servers_that_it_has_now() -> None:
    profile = Profile("mine", frozenset({"up"}), routing_mode="direct")
    control = Control(profiles={"mine": profile})
    async with site_of(make_server(), control=control) as site:
        gateway, upstreams = site.gateway, {"up": site.gateway._pool.get("up").upstream}
        async with connect(f"{site.url}/p/mine", headers=HEADERS, mode="legacy") as client:
            await client.list_tools()
            (session,) = gateway._down.sessions
            assert gateway._may_reach(session.caller, "up")
            narrower = replace(profile, servers=frozenset[str]())
            await gateway.apply(upstreams, Control(profiles={"mine": narrower}))
            assert not gateway._may_reach(session.caller, "up")
            await gateway.apply(upstreams, control)
            assert gateway._may_reach(session.caller, "up")
            await gateway.apply(upstreams, Control())
            assert not gateway._may_reach(session.caller, "up")


async def test_who_is_at_a_profile_is_told_when_it_becomes_another_one() -> None:
    mine, others = Profile("mine", routing_mode="direct"), Profile("others", routing_mode="direct")
    control = Control(profiles={"mine": mine, "others": others})
    async with site_of(make_server(), control=control) as site:
        upstreams = {"up": site.gateway._pool.get("up").upstream}
        heard: dict[str, list[str]] = {"mine": [], "others": []}

        def into(place: str) -> Callable[[object], Awaitable[None]]:
            async def on_message(message: object) -> None:
                heard[place].append(type(message).__name__)

            return on_message

        async with AsyncExitStack() as stack:
            for place in heard:
                client = await stack.enter_async_context(
                    connect(
                        f"{site.url}/p/{place}",
                        headers=HEADERS,
                        mode="legacy",
                        message_handler=into(place),
                    )
                )
                await client.list_tools()
            sessions = site.gateway._down.sessions
            await until(lambda: sum(each.standing is not None for each in sessions) == 2)
            narrower = replace(mine, deny=("up:echo",))
            changed = Control(profiles={"mine": narrower, "others": others})
            await site.gateway.apply(upstreams, changed)
            await until(lambda: "ToolListChangedNotification" in heard["mine"], lambda: heard)
            assert heard["others"] == []


async def test_more_calls_than_are_allowed_wait_and_the_rest_is_told_why() -> None:
    server, release = MCPServer("slow"), asyncio.Event()
    running_now = 0

    @server.tool()
    async def hold() -> str:
        """Wait until released."""
        nonlocal running_now
        running_now += 1
        await release.wait()
        return "done"

    bounds = Bounds(at_once=2, waiting=1, patience=timedelta(seconds=30))
    control = Control(servers={"up": ServerControl(bounds=bounds)})
    async with site_of(server, control=control) as site:

        def call() -> "asyncio.Task[bytes]":
            return asyncio.create_task(site.gateway.call_tool("up", "hold", b"{}", timeout=TIMEOUT))

        calls = [call() for _ in range(3)]
        await until(lambda: running_now == 2)
        await until(lambda: [each.waiting for each in site.gateway.governor.loads()] == [0, 1])
        with pytest.raises(Overloaded, match="up has 2 calls under way, and 1 call waiting"):
            await call()
        release.set()
        done = await asyncio.gather(*calls)
        assert all(b"done" in each for each in done)
        outcomes = sorted(call.outcome for call in site.heard.calls)
        assert outcomes == ["ok", "ok", "ok", "overloaded"]


async def test_a_tool_has_a_time_limit_of_its_own() -> None:
    server = MCPServer("slow")

    @server.tool()
    async def hold() -> str:
        """Never ends by itself."""
        await asyncio.Event().wait()
        return ""

    limits = ServerControl(tool_timeouts=(("ho*", timedelta(milliseconds=50)),))
    async with site_of(server, control=Control(servers={"up": limits})) as site:
        said = await answer_at(site, "/s/up", "hold", {})
        assert "did not answer tools/call within 0.05 s" in said
        with pytest.raises(UpstreamTimedOut, match=r"within 0.05 s"):
            await site.gateway.call_tool("up", "hold", b"{}")


async def test_what_is_told_of_a_call_says_who_made_it_and_how_much_went_over_the_wire() -> None:
    control = Control(arguments=Arguments.KEPT)
    async with site_of(make_server(), control=control) as site:
        await answer_at(site, "/all", "up__echo", {"text": "hi"})
        (told,) = site.heard.calls
        assert (told.server, told.tool, told.outcome, told.caller) == ("up", "echo", "ok", "owner")
        assert told.client.startswith("mcp")
        assert json.loads(told.arguments or b"") == {"text": "hi"}
        assert told.bytes_in == len(told.arguments or b"")
        assert told.bytes_out > 10
        await site.gateway.apply({"up": site.gateway._pool.get("up").upstream}, Control())
        await site.gateway.call_tool(
            "up", "echo", b'{"text": "ho"}', timeout=TIMEOUT, request_id="r-1"
        )
        last: ToolCalled = site.heard.calls[-1]
        assert (last.arguments, last.request_id, last.client) == (None, "r-1", "REST")


async def test_a_timeout_that_the_caller_names_wins() -> None:
    server = MCPServer("slow")

    @server.tool()
    async def hold() -> str:
        """Never ends by itself."""
        await asyncio.Event().wait()
        return ""

    limits = ServerControl(call_timeout=timedelta(minutes=5))
    async with site_of(server, control=Control(servers={"up": limits})) as site:
        with pytest.raises(UpstreamTimedOut):
            await site.gateway.call_tool("up", "hold", b"{}", timeout=timedelta(milliseconds=50))
