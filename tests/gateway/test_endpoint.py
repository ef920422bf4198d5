"""The endpoint, judged by the official SDK's client, in both eras and over every transport."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from mcpproxy.core.model import Transport, Upstream
from mcpproxy.gateway.access import Caller, Permit
from tests.gateway.hostile import Raw, Scripted, Seen, scripted
from tests.gateway.peers import http_server, make_server, sse_server
from tests.gateway.world import KEY, running, until
from tests.peers.mcp_client import connect, text
from tests.peers.process import ROOT

pytestmark = pytest.mark.anyio
HEADERS = {"X-API-Key": KEY}
ERAS = pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
STDIO = Upstream(
    "local",
    command=sys.executable,
    args=("-m", "tests.gateway.stdio_peer"),
    working_dir=str(ROOT),
)


@ERAS
async def test_a_client_lists_and_calls_tools_of_upstreams_of_every_transport(mode: str) -> None:
    async with http_server() as http, sse_server() as sse:
        upstreams = (
            STDIO,
            Upstream("remote", url=http),
            Upstream("old", url=sse),
            Upstream("typed", url=http, transport=Transport.STREAMABLE_HTTP),
        )
        async with running(*upstreams) as site:
            await site.connected("local", "remote", "old", "typed")
            async with connect(site.url, headers=HEADERS, mode=mode) as client:
                names = {tool.name for tool in (await client.list_tools()).tools}
                assert {"local__echo", "remote__echo", "old__echo", "typed__add"} <= names
                for server in ("local", "remote", "old", "typed"):
                    answer = await client.call_tool(f"{server}__echo", {"text": server})
                    assert text(answer) == server
                total = await client.call_tool("remote__add", {"a": 2, "b": 3})
                assert total.structured_content == {"result": 5}


async def test_the_clients_own_choice_finds_the_newest_era() -> None:
    async with running() as site, connect(site.url, headers=HEADERS) as client:
        assert client.protocol_version == "2026-07-28"
        assert client.server_info is not None
        assert client.server_info.name == "mcpproxy"


@ERAS
async def test_a_single_upstream_passes_through_under_its_own_names(mode: str) -> None:
    async with http_server() as http, running(Upstream("remote", url=http)) as site:
        await site.connected("remote")
        async with connect(f"{site.url}/s/remote", headers=HEADERS, mode=mode) as client:
            if mode != "2026-07-28":  # pinned, it does not ask who the server is
                assert client.instructions == "The peer server."
            assert {"echo", "add"} <= {tool.name for tool in (await client.list_tools()).tools}
            assert text(await client.call_tool("echo", {"text": "hi"})) == "hi"
            read = await client.read_resource("memo://greeting")
            assert read.contents[0].text == "hello"  # type: ignore[union-attr]
            prompt = await client.get_prompt("review", {"code": "x = 1"})
            assert "x = 1" in prompt.messages[0].content.text  # type: ignore[union-attr]


@ERAS
async def test_progress_reaches_the_caller_under_its_own_token(mode: str) -> None:
    async with http_server() as http, running(STDIO, Upstream("remote", url=http)) as site:
        await site.connected("local", "remote")
        async with connect(site.url, headers=HEADERS, mode=mode) as client:
            for server in ("local", "remote"):
                heard: list[tuple[float, float | None]] = []

                async def on_progress(
                    done: float,
                    total: float | None,
                    message: str | None,
                    heard: list[tuple[float, float | None]] = heard,
                ) -> None:
                    heard.append((done, total))

                answer = await client.call_tool(
                    f"{server}__work", {"steps": 3}, progress_callback=on_progress
                )
                assert text(answer) == "done"
                assert heard == [(1, 3), (2, 3), (3, 3)]


@ERAS
async def test_an_upstream_in_trouble_is_a_tool_error_that_says_what_comes_next(mode: str) -> None:
    down: list[int] = []

    async def answer(seen: Seen) -> Raw | None:
        return Raw(503) if down else None

    async with scripted(Scripted(answer)) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        down.append(1)
        async with connect(site.url, headers=HEADERS, mode=mode) as client:
            result = await client.call_tool("up__echo", {})
            assert result.is_error
            assert "up is not available: HTTP 503" in result.content[0].text  # type: ignore[union-attr]
        assert [call.outcome for call in site.heard.calls] == ["unavailable"]


async def test_calls_are_told_with_their_outcome() -> None:
    async with http_server() as http, running(Upstream("remote", url=http)) as site:
        await site.connected("remote")
        async with connect(site.url, headers=HEADERS) as client:
            await client.call_tool("remote__echo", {"text": "x"})
            await client.call_tool("remote__fail", {"reason": "no"})
        told = [(call.server, call.tool, call.outcome) for call in site.heard.calls]
        assert told == [("remote", "echo", "ok"), ("remote", "fail", "error")]


async def test_a_legacy_client_hears_that_the_tools_changed_only_when_they_did() -> None:
    server = make_server()
    upstream = Upstream("local", command=sys.executable, args=("-c", "raise SystemExit(1)"))
    async with http_server(server) as http, running(Upstream("remote", url=http)) as site:
        await site.connected("remote")
        await site.offered("remote")
        heard: list[str] = []

        async def on_message(message: object) -> None:
            heard.append(type(message).__name__)

        async with listening(site.url, on_message) as client:
            await client.list_tools()
            await until(lambda: any(s.standing is not None for s in site.gateway._down.sessions))
            await site.gateway.apply({"remote": Upstream("remote", url=http), "local": upstream})
            await site.gateway.restart("remote")
            await site.connected("remote")
            await site.offered("remote")
            assert heard == []
            await site.gateway.apply({"local": upstream})
            kinds = ("PromptList", "ResourceList", "ToolList")
            told = [f"{kind}ChangedNotification" for kind in kinds]
            await until(lambda: sorted(heard) == told, lambda: heard)


@asynccontextmanager
async def listening(
    url: str, on_message: Callable[[object], Awaitable[None]]
) -> AsyncIterator[Client]:
    """A legacy client that hands on everything the server says by itself."""
    async with (
        httpx2.AsyncClient(headers=HEADERS, trust_env=False) as http,
        Client(
            streamable_http_client(url, http_client=http),
            mode="legacy",
            message_handler=on_message,
        ) as client,
    ):
        yield client


# --- retrieve_tools ---------------------------------------------------------------------------


@ERAS
async def test_tools_are_found_described_and_called_in_retrieve_mode(mode: str) -> None:
    async with (
        http_server() as http,
        running(STDIO, Upstream("remote", url=http), routing_mode="retrieve_tools") as site,
    ):
        await site.connected("local", "remote")
        async with connect(site.url, headers=HEADERS, mode=mode) as client:
            listed = {tool.name for tool in (await client.list_tools()).tools}
            assert listed == {
                "retrieve_tools",
                "describe_tool",
                "call_tool_read",
                "call_tool_write",
                "call_tool_destructive",
                "read_cache",
                "upstream_servers",
            }
            found = text(await client.call_tool("retrieve_tools", {"query": "add numbers"}))
            assert '"remote:add"' in found
            assert '"call_with":"call_tool_write"' in found
            described = await client.call_tool("describe_tool", {"names": ["remote:echo", "x"]})
            assert '"unknown":["x"]' in text(described)
            read = {"name": "remote:echo", "args": {"text": "hi"}}
            assert text(await client.call_tool("call_tool_read", read)) == "hi"
            write = {"name": "local:add", "args_json": '{"a": 1, "b": 2}'}
            assert text(await client.call_tool("call_tool_destructive", write)) == "3"
            servers = text(await client.call_tool("upstream_servers", {}))
            assert '"name":"remote"' in servers
            assert '"level":"healthy"' in servers


async def test_a_variant_that_is_too_weak_names_the_right_one() -> None:
    async with http_server() as http, running(Upstream("remote", url=http)) as site:
        await site.connected("remote")
        async with connect(f"{site.url}/call", headers=HEADERS) as client:
            call = {"name": "remote:add", "args": {"a": 1, "b": 2}}
            refused = await client.call_tool("call_tool_read", call)
            assert refused.is_error
            assert "call_tool_write" in refused.content[0].text  # type: ignore[union-attr]
            for wrong in ({}, {"name": 5}, {"name": "remote:none"}, {**call, "args": [1]}):
                assert (await client.call_tool("call_tool_write", wrong)).is_error
        assert {told.outcome for told in site.heard.calls} <= {"denied"}


async def test_both_modes_have_an_endpoint_of_their_own() -> None:
    async with http_server() as http, running(Upstream("remote", url=http)) as site:
        await site.connected("remote")
        async with connect(f"{site.url}/all", headers=HEADERS) as client:
            assert "remote__echo" in {tool.name for tool in (await client.list_tools()).tools}
        async with connect(f"{site.url}/call", headers=HEADERS) as client:
            assert "retrieve_tools" in {tool.name for tool in (await client.list_tools()).tools}


# --- access -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/s/remote"])
async def test_what_a_caller_may_not_call_is_not_listed_and_unknown(path: str) -> None:
    def reader(scope: object) -> Caller:
        return Caller("reader", frozenset({Permit.READ}), denied=frozenset({"other"}))

    async with http_server() as http:
        upstreams = (Upstream("remote", url=http), Upstream("other", url=http))
        async with running(*upstreams, who=reader) as site:
            await site.connected("remote", "other")
            prefix = "remote__" if not path else ""
            async with connect(site.url + path) as client:
                names = {tool.name for tool in (await client.list_tools()).tools}
                assert names == {f"{prefix}echo"}
                for hidden in (f"{prefix}add", f"{prefix}nonesuch", "other__echo"):
                    with pytest.raises(MCPError, match="Unknown tool"):
                        await client.call_tool(hidden, {"a": 1, "b": 2})
            async with connect(f"{site.url}/call") as client:
                names = {tool.name for tool in (await client.list_tools()).tools}
                assert "call_tool_write" not in names
                found = text(await client.call_tool("retrieve_tools", {"query": "echo add"}))
                assert '"remote:echo"' in found
                assert "remote:add" not in found
                assert "other:" not in found
