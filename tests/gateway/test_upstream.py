"""An upstream's connection: what breaks it, what does not, and how it comes back."""

import asyncio
import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from mcpproxy.core.errors import LoginRequired, RefreshPending, UpstreamError
from mcpproxy.core.model import ConnectionState, Secret, Trouble, Upstream
from mcpproxy.gateway.limits import GatewayLimits
from tests.gateway.hostile import TOOL, Raw, Scripted, Seen, event, scripted
from tests.gateway.peers import http_server, make_server
from tests.gateway.world import FAST, Site, running, until
from tests.peers.process import free_port

pytestmark = pytest.mark.anyio
TIMEOUT = timedelta(seconds=10)


async def call(site: Site, arguments: Any = None, timeout: timedelta = TIMEOUT) -> Any:
    """Call the tool `echo` of `up`; its result."""
    given = json.dumps(arguments or {}).encode()
    return json.loads(await site.gateway.call_tool("up", "echo", given, timeout=timeout))


async def failing(site: Site, trouble: Trouble) -> str:
    """Wait until `up` is in this trouble; the error that is shown."""
    await until(
        lambda: site.gateway.connection("up").trouble is trouble,
        lambda: site.gateway.connection("up"),
    )
    return site.gateway.connection("up").error or ""


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
        after = next(seen for seen in server.seen if seen.method == "tools/list")
        assert after.headers["mcp-protocol-version"] == known
        assert after.headers["mcp-session-id"] == "s1"


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 503])
async def test_a_refusal_that_says_nothing_about_the_protocol_tries_no_other(status: int) -> None:
    async def answer(seen: Seen) -> Raw | None:
        return Raw(status, b"no", "text/plain")

    server = Scripted(answer)
    async with scripted(server) as url, running(Upstream("up", url=url)) as site:
        await until(lambda: site.gateway.connection("up").trouble is not None)
        asked = [seen for seen in server.seen if seen.http_method == "GET"]
        versions = {
            seen.message["params"]["protocolVersion"] for seen in server.seen if seen.message
        }
        assert not asked
        assert versions == {"2025-11-25"}


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
        await until(lambda: server.count("initialize") >= 12)
        down["is"] = False
        assert "content" in await call(site)


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
        with pytest.raises(UpstreamError, match="stopped or restarted"):
            await asyncio.wait_for(waiting, 5)


# --- hostile answers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        {"name": 5, "inputSchema": {}},
        {"inputSchema": {}},
        {"name": "", "inputSchema": {}},
        {"name": "x" * 300, "inputSchema": {}},
        {"name": "no-schema"},
        {"name": "schema", "inputSchema": []},
        {"name": "words", "inputSchema": {}, "description": 7},
        {"name": "hints", "inputSchema": {}, "annotations": {"readOnlyHint": "yes"}},
        "not an object",
        None,
        TOOL,
    ],
)
async def test_a_malformed_tool_hides_itself_and_not_the_list(broken: object) -> None:
    server = Scripted(tools=[broken, TOOL, {**TOOL, "name": "other"}])
    async with scripted(server) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        assert [tool.name for tool in site.gateway.tools("up")] == ["echo", "other"]
        assert any("hidden tool" in line for line in site.heard.lines)


async def test_a_page_that_repeats_for_ever_ends_at_a_bound() -> None:
    async def answer(seen: Seen) -> dict[str, Any] | None:
        if seen.method != "tools/list":
            return None
        n = int(seen.message.get("params", {}).get("cursor", 0))
        tool = {**TOOL, "name": f"tool{n}"}
        return {"result": {"tools": [tool], "nextCursor": str(n + 1)}}

    async with scripted(Scripted(answer)) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        assert len(site.gateway.tools("up")) == FAST.max_pages


async def test_an_answer_over_the_limit_fails_its_call_alone() -> None:
    limits = GatewayLimits(max_message=100_000)

    async def answer(seen: Seen) -> dict[str, Any] | None:
        if seen.method == "tools/call" and seen.message["params"]["arguments"].get("big"):
            return {"result": {"content": [{"type": "text", "text": "x" * 200_000}]}}
        return None

    async with (
        scripted(Scripted(answer)) as url,
        running(Upstream("up", url=url), limits=limits) as site,
    ):
        await site.connected("up")
        with pytest.raises(UpstreamError, match="larger than 100000 bytes"):
            await call(site, {"big": True})
        assert "content" in await call(site, {"big": False})


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"jsonrpc":"2.0","id":99999,"result":{}}', b"[" * 100_000]
)
async def test_an_answer_that_is_none_is_an_error_and_nothing_else_breaks(body: bytes) -> None:
    async def answer(seen: Seen) -> Raw | None:
        broken = seen.method == "tools/call" and seen.message["params"]["arguments"].get("broken")
        return Raw(200, body) if broken else None

    async with scripted(Scripted(answer)) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        with pytest.raises(UpstreamError):
            await call(site, {"broken": True})
        assert "content" in await call(site)


async def test_a_server_that_never_answers_times_out_and_is_told() -> None:
    async def answer(seen: Seen) -> Raw | None:
        if seen.method == "tools/call":
            await asyncio.sleep(60)
        return None

    server = Scripted(answer)
    async with scripted(server) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        with pytest.raises(UpstreamError, match="did not answer"):
            await call(site, timeout=timedelta(milliseconds=100))
        await until(lambda: server.count("notifications/cancelled") == 1)
        cancelled = next(seen for seen in server.seen if seen.method == "notifications/cancelled")
        called = next(seen for seen in server.seen if seen.method == "tools/call")
        assert cancelled.message["params"]["requestId"] == called.message["id"]


async def test_a_stream_that_ends_early_is_resumed_by_its_last_event_id() -> None:
    async def answer(seen: Seen) -> Raw | None:
        if seen.method == "tools/call":
            server.tools = [seen.message["id"]]
            note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {}}
            body = b"id: e0\nretry: 10\ndata:\n\n" + event(note, id="e1")
            return Raw(200, body, "text/event-stream")
        if seen.http_method == "GET" and seen.headers.get("last-event-id") == "e1":
            answered = {"jsonrpc": "2.0", "id": server.tools[0], "result": {"content": []}}
            return Raw(200, event(answered), "text/event-stream")
        return None

    server = Scripted(answer)
    async with scripted(server) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        assert await call(site) == {"content": []}
        assert not [line for line in site.heard.lines if "ignored" in line]


async def test_unknown_fields_pass_both_ways_untouched() -> None:
    async def answer(seen: Seen) -> dict[str, Any] | None:
        if seen.method != "tools/call":
            return None
        return {
            "result": {"content": [], "x-new": {"deep": [1, None, {"a": "ü"}]}, "_meta": {"k": 1}}
        }

    server = Scripted(answer)
    async with scripted(server) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        result = await call(site, {"keep": [None, 1.50, "é"]})
        assert result["x-new"] == {"deep": [1, None, {"a": "ü"}]}
        sent = next(seen for seen in server.seen if seen.method == "tools/call")
        assert sent.message["params"]["arguments"] == {"keep": [None, 1.5, "é"]}


async def test_what_a_server_asks_of_us_is_answered() -> None:
    asked = [
        {"jsonrpc": "2.0", "id": "p", "method": "ping"},
        {"jsonrpc": "2.0", "id": "s", "method": "sampling/createMessage", "params": {}},
    ]

    async def answer(seen: Seen) -> Raw | None:
        if seen.method != "tools/call":
            return None
        own = {"jsonrpc": "2.0", "id": seen.message["id"], "result": {"content": []}}
        body = b"".join(event(message) for message in (*asked, own))
        return Raw(200, body, "text/event-stream")

    server = Scripted(answer)
    async with scripted(server) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        await call(site)

        def replies() -> dict[str, Any]:
            return {s.message["id"]: s.message for s in server.seen if s.message and not s.method}

        await until(lambda: len(replies()) == 2)
        assert replies()["p"]["result"] == {}
        assert replies()["s"]["error"]["code"] == -32601


# --- credentials ------------------------------------------------------------------------------


@dataclass
class Tokens:
    """A TokenSource whose answers a test decides."""

    current: str | None = "old"
    fresh: str = "new"
    trouble: Exception | None = None
    rejected: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)

    def peek(self, server: str, url: str) -> Secret | None:
        return Secret(self.current) if self.current else None

    async def token(self, server: str, url: str) -> Secret | None:
        if self.trouble is not None:
            raise self.trouble
        return None

    async def challenged(self, server: str, url: str, rejected: Secret) -> Secret:
        self.rejected.append(rejected.reveal())
        if self.trouble is not None:
            raise self.trouble
        self.current = self.fresh
        return Secret(self.fresh)

    async def accepted(self, server: str, token: Secret) -> None:
        self.taken.append(token.reveal())


def guarded(good: set[str]) -> Scripted:
    async def answer(seen: Seen) -> Raw | None:
        token = seen.headers.get("authorization", "").removeprefix("Bearer ")
        if token in good:
            return None
        return Raw(401, headers={"WWW-Authenticate": 'Bearer resource_metadata="https://x"'})

    return Scripted(answer)


async def test_a_401_is_challenged_once_and_the_call_replayed_once() -> None:
    server, tokens = guarded({"new"}), Tokens()
    async with scripted(server) as url, running(Upstream("up", url=url), tokens=tokens) as site:
        await site.connected("up")
        assert "content" in await call(site)
        assert tokens.rejected[0] == "old"
        assert set(tokens.taken) == {"new"}
        assert server.count("tools/call") == 1


async def test_a_token_that_is_refused_though_fresh_is_no_loop() -> None:
    server, tokens = guarded(set()), Tokens()
    async with scripted(server) as url, running(Upstream("up", url=url), tokens=tokens) as site:
        await failing(site, Trouble.LOGIN_NEEDED)
        tries = server.count("initialize")
        assert tries <= 2 * len(tokens.rejected)
        assert not tokens.taken


async def test_without_a_login_a_401_says_that_one_is_needed_and_keeps_its_challenge() -> None:
    async with (
        scripted(guarded(set())) as url,
        running(Upstream("up", url=url), tokens=Tokens(current=None)) as site,
    ):
        assert "login" in await failing(site, Trouble.LOGIN_NEEDED)
        assert site.gateway.challenge("up") == 'Bearer resource_metadata="https://x"'


@pytest.mark.parametrize(
    "trouble",
    [
        LoginRequired("Not logged in", next_step="mcpproxy auth login up"),
        RefreshPending("The token is being refreshed", retry_at=None),
    ],
)
async def test_trouble_with_the_token_reaches_the_caller_as_itself(trouble: Exception) -> None:
    server, tokens = guarded({"good"}), Tokens(current="good")
    async with scripted(server) as url, running(Upstream("up", url=url), tokens=tokens) as site:
        await site.connected("up")
        tokens.current, tokens.trouble = None, trouble
        with pytest.raises(type(trouble)):
            await call(site)


async def test_a_configured_authorization_header_takes_the_tokens_place() -> None:
    headers = {"authorization": Secret("Bearer mine"), "Mcp-Session-Id": Secret("theirs")}
    server = guarded({"mine"})
    async with scripted(server) as url:
        upstream = Upstream("up", url=url, headers=headers)
        async with running(upstream, tokens=Tokens()) as site:
            await site.connected("up")
            assert server.seen[0].headers.get("mcp-session-id") is None


async def test_a_403_that_asks_for_more_scope_says_which_and_keeps_its_challenge() -> None:
    wanted = 'Bearer error="insufficient_scope", scope="files:write"'

    async def answer(seen: Seen) -> Raw | None:
        if seen.method == "tools/call":
            return Raw(403, headers={"WWW-Authenticate": wanted})
        return None

    async with scripted(Scripted(answer)) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        with pytest.raises(UpstreamError, match="files:write") as raised:
            await call(site)
        assert raised.value.next_step == "log in with: mcpproxy auth login up"
        assert site.gateway.challenge("up") == wanted
        assert site.gateway.connection("up").state is ConnectionState.CONNECTED


async def test_a_tool_that_is_not_listed_is_not_called() -> None:
    server = Scripted(tools=[{"name": "hidden"}, TOOL])
    async with scripted(server) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        with pytest.raises(UpstreamError, match="up has no tool hidden"):
            await site.gateway.call_tool("up", "hidden", b"{}", timeout=TIMEOUT)
        assert server.count("tools/call") == 0
