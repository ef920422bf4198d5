"""An upstream's connection: what breaks it, what does not, and how it comes back."""

import asyncio
import itertools
import json
import time
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from mcpproxy.core.connection import ConnectionState, Trouble
from mcpproxy.core.errors import UpstreamError
from mcpproxy.core.model import Secret, Upstream
from mcpproxy.gateway.limits import GatewayLimits
from tests.gateway.calls import call, failing
from tests.gateway.hostile import Raw, Scripted, Seen, scripted
from tests.gateway.peers import http_server, make_server
from tests.gateway.world import FAST, health, running, until
from tests.peers.process import free_port

pytestmark = pytest.mark.anyio


# --- versions and transports ------------------------------------------------------------------


@pytest.mark.parametrize("known", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
@pytest.mark.parametrize("refusal", ["http", "rpc"])
async def test_a_server_that_refuses_newer_versions_is_asked_for_older_ones(
    known: str, refusal: str
) -> None:
    async def answer(seen: Seen) -> Raw | dict[str, Any] | None:
        if seen.method != "initialize" or seen.message["params"]["protocolVersion"] == known:
            return None
        if refusal == "http":
            return Raw(400, b"unsupported protocol version", "text/plain")
        return {"error": {"code": -32602, "message": "Unsupported protocol version"}}

    server = Scripted(answer)
    async with scripted(server) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        assert (await call(site, {"a": 1}))["content"][0]["text"] == '{"a": 1}'
        begun = next(seen for seen in server.seen if seen.method == "initialize")
        assert begun.headers["mcp-method"] == "initialize"
        after = next(seen for seen in server.seen if seen.method == "tools/list")
        assert "mcp-method" not in after.headers
        assert after.headers["mcp-protocol-version"] == known
        assert after.headers["mcp-session-id"] == "s1"


@pytest.mark.parametrize("status", [401, 403, 408, 429, 502, 503, 504])
async def test_a_refusal_that_says_nothing_about_the_protocol_tries_no_other(status: int) -> None:
    async def answer(seen: Seen) -> Raw | None:
        return Raw(status, b"no", "text/plain")

    server = Scripted(answer)
    async with scripted(server) as url, running(Upstream("up", url=url)) as site:
        await until(lambda: site.gateway.connection("up").trouble is not None)
        assert {(seen.http_method, seen.method) for seen in server.seen} == {
            ("POST", "server/discover")
        }


async def test_a_page_that_is_not_mcp_is_named_as_such() -> None:
    async def answer(seen: Seen) -> Raw | None:
        return Raw(200, b"<html>Welcome</html>", "text/html")

    async with scripted(Scripted(answer)) as url, running(Upstream("up", url=url)) as site:
        assert "text/html" in await failing(site, Trouble.NOT_MCP)


async def test_a_redirect_is_not_followed_and_its_target_is_told() -> None:
    async def answer(seen: Seen) -> Raw | None:
        return Raw(307, headers={"Location": "http://127.0.0.1:1/elsewhere"})

    async with scripted(Scripted(answer)) as url, running(Upstream("up", url=url)) as site:
        assert "http://127.0.0.1:1/elsewhere" in await failing(site, Trouble.NOT_MCP)


async def test_nobody_there_is_a_network_trouble_with_a_short_reason() -> None:
    url = f"http://127.0.0.1:{free_port()}/mcp"
    async with running(Upstream("up", url=url)) as site:
        assert await failing(site, Trouble.NETWORK) == "connection refused"
        assert site.gateway.connection("up").retry_at is not None


async def test_a_url_that_is_none_is_a_configuration_trouble() -> None:
    async with running(Upstream("up", url="ftp://example.com")) as site:
        assert "ftp://example.com" in await failing(site, Trouble.CONFIGURATION)


# --- coming back ------------------------------------------------------------------------------


async def test_an_upstream_that_starts_later_is_connected_by_itself() -> None:
    server = make_server()
    refused = Upstream("up", url=f"http://127.0.0.1:{free_port()}/mcp")
    async with running(refused) as site:
        await failing(site, Trouble.NETWORK)
        async with http_server(server) as url:
            await site.gateway.apply({"up": Upstream("up", url=url)})
            await site.connected("up")


async def test_a_session_that_the_server_forgot_is_made_anew_under_the_callers_feet() -> None:
    server = Scripted()
    live = {"s1"}

    async def answer(seen: Seen) -> Raw | None:
        if seen.method == "initialize":
            server.session_id = f"s{server.count('initialize')}"
            live.add(server.session_id)
            return None
        return None if seen.headers.get("mcp-session-id") in live else Raw(404)

    server.answer = answer
    async with scripted(server) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        live.clear()
        assert (await call(site, {"n": 1}))["content"][0]["text"] == '{"n": 1}'
        assert server.count("initialize") == 2


async def test_a_server_that_says_400_to_a_forgotten_session_gets_a_new_one_too() -> None:
    server = Scripted()
    forgotten: set[str] = set()

    async def answer(seen: Seen) -> Raw | None:
        if seen.method == "initialize":
            server.session_id = f"s{server.count('initialize')}"
            return None
        if seen.headers.get("mcp-session-id") not in forgotten:
            return None
        error = {"code": -32000, "message": "Bad Request: No valid session ID provided"}
        return Raw(400, json.dumps({"jsonrpc": "2.0", "error": error, "id": None}).encode())

    server.answer = answer
    async with scripted(server) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        forgotten.add("s1")
        assert "content" in await call(site)


async def test_an_error_answer_with_status_400_stays_the_servers_answer() -> None:
    async def answer(seen: Seen) -> Raw | None:
        if seen.method != "tools/call":
            return None
        error = {"code": -32602, "message": "bad argument"}
        body = {"jsonrpc": "2.0", "error": error, "id": seen.message["id"]}
        return Raw(400, json.dumps(body).encode())

    server = Scripted(answer)
    async with scripted(server) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        with pytest.raises(UpstreamError, match="bad argument"):
            await call(site)
        assert server.count("initialize") == 1


async def test_a_call_to_an_upstream_that_is_down_tries_at_once() -> None:
    slow = GatewayLimits(reconnect_base=timedelta(milliseconds=1), reconnect_cap=timedelta(hours=1))
    down = {"is": True}

    async def answer(seen: Seen) -> Raw | None:
        return Raw(503) if down["is"] else None

    server = Scripted(answer)
    async with scripted(server) as url, running(Upstream("up", url=url), limits=slow) as site:
        await until(lambda: server.count("server/discover") >= 12)
        # Between two attempts: one under way, or just over, would bring its 503 to the call.
        looks = itertools.count()
        await until(lambda: site.gateway.connection("up").retry_at is not None and next(looks) > 0)
        down["is"] = False
        assert "content" in await call(site)


async def test_a_stream_that_is_closed_at_once_is_asked_for_less_and_less_often() -> None:
    async def answer(seen: Seen) -> Raw | None:
        if seen.http_method != "GET":
            return None
        return Raw(200, b": hello\n\n", "text/event-stream")

    limits = replace(
        FAST, reconnect_base=timedelta(milliseconds=10), reconnect_cap=timedelta(seconds=60)
    )
    server = Scripted(answer)
    asked: list[float] = []

    def gets() -> int:
        return sum(1 for seen in server.seen if seen.http_method == "GET")

    async with (
        scripted(server) as url,
        running(Upstream("up", url=url), limits=limits) as site,
    ):
        await site.connected("up")
        while len(asked) < 6:
            await until(lambda: gets() > len(asked))
            asked.append(time.monotonic())
        waits = [later - earlier for earlier, later in pairwise(asked)]
        assert waits[-1] >= 0.15  # 10, 20, 40, 80, 160 ms
        assert server.count("tools/list") <= 2


async def test_an_attempt_that_runs_shows_no_old_failure_and_no_time_that_is_past() -> None:
    gate = asyncio.Event()

    async def answer(seen: Seen) -> Raw | None:
        if server.count("server/discover") > 1:
            await gate.wait()
        return Raw(503)

    server = Scripted(answer)
    async with scripted(server) as url, running(Upstream("up", url=url)) as site:
        await until(lambda: site.gateway.connection("up").error is not None)
        assert site.gateway.connection("up").retry_at is not None
        await until(lambda: server.count("server/discover") > 1)
        connection = site.gateway.connection("up")
        assert connection.state is ConnectionState.CONNECTING
        assert connection.retry_at is None
        assert health(site.gateway, "up").line == "Connecting"
        assert "503" in (connection.error or "")
        gate.set()
        await until(lambda: site.gateway.connection("up").state is ConnectionState.ERROR)


async def test_an_attempt_that_runs_does_not_take_back_that_a_login_is_needed() -> None:
    gate = asyncio.Event()

    async def answer(seen: Seen) -> Raw | None:
        if server.count("server/discover") > 1:
            await gate.wait()
        return Raw(401)

    server = Scripted(answer)
    async with scripted(server) as url, running(Upstream("up", url=url)) as site:
        await until(lambda: server.count("server/discover") > 1)
        assert site.gateway.connection("up").trouble is Trouble.LOGIN_NEEDED
        gate.set()


@pytest.mark.parametrize(
    ("name", "value"), [("X-Key", "one\r\ntwo"), ("X-Key", "nul\0"), ("X Key", "x"), ("", "x")]
)
async def test_a_header_that_http_cannot_carry_is_a_configuration_trouble(
    name: str, value: str
) -> None:
    async with scripted(Scripted()) as url:
        upstream = Upstream("up", url=url, headers={name: Secret(value)})
        async with running(upstream) as site:
            error = await failing(site, Trouble.CONFIGURATION)
            assert repr(name) in error
            assert value not in error or value == "x"


async def test_a_session_id_that_no_header_can_carry_is_named_as_such() -> None:
    async with (
        scripted(Scripted(session_id="abc\udcff")) as url,
        running(Upstream("up", url=url)) as site,
    ):
        assert "Mcp-Session-Id" in await failing(site, Trouble.NOT_MCP)


async def test_waking_tries_at_once_and_notices_a_dead_connection() -> None:
    slow = GatewayLimits(reconnect_base=timedelta(hours=1), reconnect_cap=timedelta(hours=1))
    down = {"is": True}

    async def answer(seen: Seen) -> Raw | None:
        return Raw(503) if down["is"] else None

    async with (
        scripted(Scripted(answer)) as url,
        running(Upstream("up", url=url), limits=slow) as site,
    ):
        await failing(site, Trouble.UPSTREAM)
        down["is"] = False
        site.gateway.wake()
        await site.connected("up")


async def test_only_what_changed_restarts() -> None:
    one, two = Scripted(), Scripted()
    async with scripted(one) as url, scripted(two) as other:
        before = {"one": Upstream("one", url=url), "two": Upstream("two", url=other)}
        async with running(*before.values()) as site:
            await site.connected("one", "two")
            changed = Upstream("two", url=other, headers={"X-Team": Secret("blue")})
            await site.gateway.apply({"one": before["one"], "two": changed})
            await until(lambda: two.count("initialize") == 2)
            await site.connected("two")
            assert one.count("initialize") == 1
            assert two.seen[-1].headers["x-team"] == "blue"
            await site.gateway.apply({"two": Upstream("two", url=other, enabled=False)})
            assert site.gateway.tools() == []
            assert site.gateway.connection("two").state is ConnectionState.DISCONNECTED


async def test_a_misconfigured_upstream_is_never_contacted_and_says_why() -> None:
    server = Scripted()
    async with scripted(server) as url:
        upstream = Upstream("up", url=url, problem="headers: ${env:TOKEN} is not set")
        async with running(upstream) as site:
            assert await failing(site, Trouble.CONFIGURATION) == upstream.problem
            with pytest.raises(UpstreamError, match="TOKEN"):
                await call(site)
            site.gateway.wake()
            with pytest.raises(UpstreamError, match="TOKEN"):
                await call(site)
    assert server.seen == []


async def test_a_disabled_or_quarantined_upstream_is_never_contacted() -> None:
    server = Scripted()
    async with scripted(server) as url:
        upstreams = (
            Upstream("off", url=url, enabled=False),
            Upstream("held", url=url, quarantined=True),
            Upstream("up", url=url, headers={"X-Which": Secret("up")}),
        )
        async with running(*upstreams) as site:
            await site.connected("up")
            assert {seen.headers.get("x-which") for seen in server.seen} == {"up"}


async def test_a_call_that_waits_for_an_upstream_which_is_stopped_is_told_at_once() -> None:
    hanging = asyncio.Event()

    async def answer(seen: Seen) -> Raw | None:
        hanging.set()
        await asyncio.sleep(60)
        return None

    patient = GatewayLimits(reconnect_wait=timedelta(hours=1))
    async with (
        scripted(Scripted(answer)) as url,
        running(Upstream("up", url=url), limits=patient) as site,
    ):
        await hanging.wait()
        waiting = asyncio.create_task(call(site))
        await asyncio.sleep(0)
        await site.gateway.apply({})
        with pytest.raises(UpstreamError, match="up was switched off: nothing was sent"):
            await asyncio.wait_for(waiting, 5)
