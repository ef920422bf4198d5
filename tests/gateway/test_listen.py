"""`subscriptions/listen` towards stateless clients."""

import json
from typing import Any

import pytest

from mcpproxy.core.model import Upstream
from mcpproxy.gateway.hub import News
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.wire import jsonrpc
from tests.gateway.by_hand import META, MODERN, a_peer, a_site, streaming
from tests.gateway.peers import http_server, make_server
from tests.gateway.world import KEY, Site, running, until
from tests.peers.mcp_client import connect

pytestmark = pytest.mark.anyio
HEADERS = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "subscriptions/listen"}
ID = "io.modelcontextprotocol/subscriptionId"
TOOLS, PROMPTS = "notifications/tools/list_changed", "notifications/prompts/list_changed"


def listen(listen_id: Any, **wanted: Any) -> dict[str, Any]:
    params = {"notifications": wanted, "_meta": META}
    return {"jsonrpc": "2.0", "id": listen_id, "method": "subscriptions/listen", "params": params}


def say(site: Site, method: str, **params: Any) -> None:
    message = {"jsonrpc": "2.0", "method": method, **({"params": params} if params else {})}
    site.gateway._hub.publish(News("up", method, jsonrpc.members(jsonrpc.encode(message))))


async def test_the_acknowledgment_comes_first_and_only_what_was_asked_for_follows() -> None:
    async with a_site() as site, a_peer(site) as peer:
        asked = listen("l-1", toolsListChanged=True, promptsListChanged=False, unknown=1)
        async with streaming(peer, "POST", asked, **HEADERS) as stream:
            first = await stream.next()
            assert first["method"] == "notifications/subscriptions/acknowledged"
            assert first["params"] == {
                "_meta": {ID: "l-1"},
                "notifications": {"toolsListChanged": True},
            }
            say(site, PROMPTS)
            say(site, "notifications/message", level="error", data="x")
            say(site, TOOLS, _meta={"kept": 1})
            heard = await stream.next()
            assert heard["method"] == TOOLS
            assert heard["params"] == {"_meta": {"kept": 1, ID: "l-1"}}


async def test_two_subscriptions_of_one_client_are_told_apart() -> None:
    async with a_site() as site, a_peer(site) as peer:
        tools, prompts = listen(1, toolsListChanged=True), listen(2, promptsListChanged=True)
        async with (
            streaming(peer, "POST", tools, **HEADERS) as one,
            streaming(peer, "POST", prompts, **HEADERS) as two,
        ):
            assert (await one.next())["params"]["_meta"] == {ID: 1}
            assert (await two.next())["params"]["_meta"] == {ID: 2}
            say(site, PROMPTS)
            say(site, TOOLS)
            assert (await one.next())["method"] == TOOLS
            assert (await two.next())["params"]["_meta"] == {ID: 2}


async def test_a_stream_ends_as_the_protocol_wants_it_when_we_go() -> None:
    async with (
        a_site() as site,
        a_peer(site) as peer,
        streaming(peer, "POST", listen(7, toolsListChanged=True), **HEADERS) as stream,
    ):
        await stream.next()
        site.gateway.end_streams()
        assert await stream.next() == {
            "jsonrpc": "2.0",
            "id": 7,
            "result": {"resultType": "complete", "_meta": {ID: 7}},
        }
        assert await stream.next() is None


async def test_a_client_that_goes_away_leaves_nothing_behind() -> None:
    async with a_site() as site, a_peer(site) as peer:
        async with streaming(peer, "POST", listen(7, toolsListChanged=True), **HEADERS) as stream:
            await stream.next()
            assert len(site.gateway._down.listens) == 1
        await until(lambda: len(site.gateway._down.listens) == 0)
        assert len(site.gateway._hub) == 0


@pytest.mark.parametrize("wanted", [{"toolsListChanged": "yes"}, {"resourceSubscriptions": [1]}])
async def test_a_filter_that_is_none_is_refused(wanted: Any) -> None:
    async with a_site() as site, a_peer(site) as peer:
        answer = await peer.post(listen(1, **wanted), **HEADERS)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == -32602


async def test_subscriptions_are_bounded() -> None:
    limits = GatewayLimits(max_listens=1)
    async with (
        a_site(limits=limits) as site,
        a_peer(site) as peer,
        streaming(peer, "POST", listen(1), **HEADERS) as stream,
    ):
        await stream.next()
        assert "error" in (await peer.post(listen(2), **HEADERS)).json()


async def test_a_client_that_does_not_read_is_sent_away() -> None:
    async with (
        a_site(limits=GatewayLimits(max_queued_notices=4)) as site,
        a_peer(site) as peer,
        streaming(peer, "POST", listen(1, toolsListChanged=True), **HEADERS) as stream,
    ):
        await stream.next()
        for _ in range(10):
            say(site, TOOLS)
        heard = [await stream.next()]
        while heard[-1] is not None:
            heard.append(await stream.next())
        assert heard[-2]["result"]["resultType"] == "complete"


async def test_the_official_client_hears_that_tools_changed() -> None:
    async with http_server(make_server()) as http, running(Upstream("remote", url=http)) as site:
        await site.connected("remote")
        headers = {"X-API-Key": KEY}
        async with (
            connect(site.url, headers=headers, mode="2026-07-28") as client,
            client.listen(tools_list_changed=True) as heard,
        ):
            await site.gateway.apply({})
            event = await anext(aiter(heard))
            assert type(event).__name__ == "ToolsListChanged"


@pytest.mark.parametrize(
    "asked",
    [
        listen("x" * 300, toolsListChanged=True),
        listen(1, resourceSubscriptions=["a://" + "x" * 300_000]),
        listen(1, toolsListChanged=True, unknown="x" * 300_000),
        listen(1, toolsListChanged=True) | {"unknown": "x" * 300_000},
        json.dumps(listen(1, toolsListChanged=True)).encode() + b" " * 300_000,
    ],
)
async def test_a_subscription_that_would_keep_much_is_refused(asked: Any) -> None:
    async with a_site() as site, a_peer(site) as peer:
        answer = await peer.post(asked, **HEADERS)
        assert answer.status_code == 400
        assert "too long" in answer.json()["error"]["message"]
        assert len(site.gateway._down.listens) == 0
