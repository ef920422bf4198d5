"""Tasks of several servers at one endpoint, by hand: each by its name, for its caller alone."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from mcpproxy.core.control import Control, Profile, Tier
from mcpproxy.core.model import Upstream
from mcpproxy.core.notices import ItemAsked
from mcpproxy.gateway.access import Caller
from tests.gateway.by_hand import META, MODERN, Peer, a_peer, streaming
from tests.gateway.tasked import ABLE, DECLARED, LINK, RELATED, Extended, Tasked
from tests.gateway.test_asked_back import begun
from tests.gateway.world import Site, running, serving, until, without_lifespan

pytestmark = pytest.mark.anyio
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"


def callers(scope: Mapping[str, Any]) -> Caller | None:
    """Everybody has a name and some limit, so that nobody sees what is nobody's."""
    name = dict(scope["headers"]).get(b"x-caller", b"ada").decode()
    return Caller(name, denied=frozenset({"elsewhere"}))


@dataclass
class Servers:
    """Their ids are the same; `plain` has no tasks at all."""

    one: Tasked
    two: Tasked
    plain: Tasked
    new: Extended
    other: Extended

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[list[Upstream]]:
        """All of them on one port."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            name = scope["path"].strip("/")
            await vars(self)[name].scripted(scope, receive, send)

        async with serving(without_lifespan(app)) as origin:
            yield [Upstream(name, url=f"{origin}/{name}") for name in vars(self)]


def servers() -> Servers:
    return Servers(Tasked(), Tasked(), Tasked(able=None), Extended(), Extended())


@asynccontextmanager
async def world(here: Servers | None = None, **fields: Any) -> AsyncIterator[tuple[Site, Servers]]:
    here = here or servers()
    async with here.serving() as upstreams, running(*upstreams, **fields) as site:
        await site.connected(*vars(here))
        yield site, here


@asynccontextmanager
async def client(site: Site, at: str = "", caller: str = "ada") -> AsyncIterator[Peer]:
    """A client of 2025-11-25 with a session."""
    async with a_peer(site, at) as peer:
        peer.headers["X-Caller"] = caller
        yield await begun(peer)


async def asked(peer: Peer, method: str, **params: Any) -> Any:
    message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    return (await peer.post(message)).json()


async def wished(peer: Peer, tool: str) -> Any:
    return await asked(peer, "tools/call", name=tool, arguments={}, task={"ttl": 1000})


async def stateless(peer: Peer, method: str, declares: Any = DECLARED, **params: Any) -> Any:
    """A request of a client of 2026-07-28."""
    meta = {**META, CAPABILITIES: declares}
    message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": {**params, "_meta": meta}}
    name = params.get("taskId", params.get("name"))
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
    if name is not None:
        headers["Mcp-Name"] = name
    return (await peer.post(message, **headers)).json()


# --- 2025-11-25 ---------------------------------------------------------------------------------


async def test_a_task_is_found_at_its_server_by_a_name_that_says_which() -> None:
    async with world() as (site, here), client(site) as peer:
        for name, server in (("one", here.one), ("two", here.two)):
            made = (await wished(peer, f"{name}__echo"))["result"]
            assert made["task"]["taskId"] == f"{name}+t+1"
            assert made["_meta"] == {"x-kept": [1]}
            assert server.asked("tools/call")[0]["task"] == {"ttl": 1000}
            for method, status in (("tasks/get", "working"), ("tasks/cancel", "cancelled")):
                state = (await asked(peer, method, taskId=f"{name}+t+1"))["result"]
                assert (state["taskId"], state["status"]) == (f"{name}+t+1", status)
                assert [each["taskId"] for each in server.asked(method)] == ["t+1"]
            done = (await asked(peer, "tasks/result", taskId=f"{name}+t+1"))["result"]
            assert done["_meta"] == {RELATED: {"taskId": f"{name}+t+1", "x": 1}}
            assert done["structuredContent"] == {"taskId": "own"}
            read = await asked(peer, "resources/read", uri=LINK["uri"])
            assert "Several" in str(read) if name == "two" else "error" not in read, read


async def test_a_task_exists_for_its_caller_alone() -> None:
    async with (
        world(who=callers) as (site, _),
        client(site) as ada,
        client(site, caller="eve") as eve,
    ):
        await wished(ada, "one__echo")
        for method in ("tasks/get", "tasks/cancel", "tasks/result"):
            refused = (await asked(eve, method, taskId="one+t+1"))["error"]
            unknown = (await asked(eve, method, taskId="one+no"))["error"]
            assert refused["code"] == unknown["code"] == -32602
            assert refused["message"].replace("t+1", "no") == unknown["message"]
        assert (await asked(eve, "tasks/list"))["result"] == {"tasks": []}
        listed = (await asked(ada, "tasks/list"))["result"]["tasks"]
        assert [each["taskId"] for each in listed] == ["one+t+1"]


async def test_an_id_of_no_task_is_refused_in_words() -> None:
    unknown = ("", "t+1", "+t+1", "one+", "nowhere+t+1", "ONE+t+1", "plain+t+1", "new+t+1", "one")
    async with world() as (site, here), client(site) as peer:
        for task_id in unknown:
            for method in ("tasks/get", "tasks/result", "tasks/cancel"):
                error = (await asked(peer, method, taskId=task_id))["error"]
                assert error["code"] == -32602
                assert error["message"].startswith(f"Task not found: {task_id}")
        assert here.one.asked("tasks/get") == here.one.asked("tasks/cancel") == []
        assert (await asked(peer, "tasks/get", taskId="one+no"))["error"]["code"] == -32602
        for wrong in ({}, {"taskId": 7}, {"taskId": None}):
            error = (await asked(peer, "tasks/get", **wrong))["error"]
            assert (error["code"], error["message"]) == (-32602, "tasks/get needs a taskId")


async def test_its_state_is_told_to_its_caller_under_its_name() -> None:
    async with (
        world(who=callers) as (site, here),
        client(site) as ada,
        client(site, "/s/one") as single,
        client(site, caller="eve") as eve,
    ):
        here.one.says = "completed"
        await wished(ada, "one__echo")
        async with (
            streaming(ada, "GET") as heard,
            streaming(single, "GET") as plain,
            streaming(eve, "GET") as foreign,
        ):
            sessions = list(site.gateway._down.sessions)
            await until(lambda: sum(each.standing is not None for each in sessions) == 3)
            await wished(ada, "one__echo")
            for stream, name in ((heard, "one+t+1"), (plain, "t+1")):
                told = await stream.next()
                assert told["method"] == "notifications/tasks/status"
                assert (told["params"]["taskId"], told["params"]["status"]) == (name, "completed")
            site.gateway.end_streams()
            assert await foreign.next() is None


async def test_a_name_holds_over_our_restart() -> None:
    here = servers()
    async with here.serving() as upstreams:
        async with running(*upstreams) as site, client(site) as peer:
            await site.connected(*vars(here))
            made = (await wished(peer, "two__echo"))["result"]["task"]["taskId"]
        async with running(*upstreams) as site, client(site) as peer:
            found = (await asked(peer, "tasks/get", taskId=made))["result"]
            assert found["taskId"] == made
        assert len(here.two.asked("tasks/get")) == 1
        assert here.one.asked("tasks/get") == []


async def test_a_profile_has_the_tasks_of_its_servers() -> None:
    control = Control(profiles={"p": Profile("p", frozenset({"two"}), routing_mode="direct")})
    async with (
        world(control=control) as (site, _),
        client(site) as all_servers,
        client(site, "/p/p") as profile,
    ):
        await wished(all_servers, "one__echo")
        await wished(all_servers, "two__echo")
        assert (await asked(profile, "tasks/get", taskId="one+t+1"))["error"]["code"] == -32602
        assert "result" in await asked(profile, "tasks/get", taskId="two+t+1")
        listed = (await asked(profile, "tasks/list"))["result"]["tasks"]
        assert [each["taskId"] for each in listed] == ["two+t+1"]


async def test_a_task_is_there_where_the_tool_that_made_it_may_be_called() -> None:
    one = frozenset({"one"})
    profiles = {
        "denied": Profile("denied", one, deny=("one:echo",), routing_mode="direct"),
        "reading": Profile("reading", one, max_tier=Tier.READ, routing_mode="direct"),
        "whole": Profile("whole", one, routing_mode="direct"),
    }
    async with world(control=Control(profiles=profiles)) as (site, here), client(site) as peer:
        await wished(peer, "one__echo")
        for profile in ("denied", "reading"):
            async with client(site, f"/p/{profile}") as limited:
                for method in ("tasks/get", "tasks/result", "tasks/cancel"):
                    error = (await asked(limited, method, taskId="one+t+1"))["error"]
                    assert error["message"].startswith("Task not found")
                assert (await asked(limited, "tasks/list"))["result"]["tasks"] == []
        assert here.one.asked("tasks/cancel") == here.one.asked("tasks/result") == []
        async with client(site, "/p/whole") as whole:
            assert "result" in await asked(whole, "tasks/get", taskId="one+t+1")


async def test_tasks_are_declared_as_what_the_servers_have_together() -> None:
    here = servers()
    here.one.able = {"requests": {"tools": {"call": {}}}}
    here.two.able = {"list": {}}
    async with world(here) as (site, _), a_peer(site) as peer:
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t"}}
        capabilities = (await asked(peer, "initialize", **hello))["result"]["capabilities"]
        assert capabilities["tasks"] == {k: v for k, v in ABLE.items() if k != "cancel"}
        assert "extensions" not in capabilities
        found = (await stateless(peer, "server/discover"))["result"]["capabilities"]
        assert found["extensions"] == DECLARED["extensions"]
        assert "tasks" not in found


async def test_a_servers_own_method_takes_its_turn_and_is_told_whatever_it_is_called() -> None:
    async with world() as (site, _), client(site, "/s/plain") as peer:
        for method in ("secrets/list", "tools/list", "tasks/list", "resources/list"):
            await asked(peer, method)
        told = [notice for notice in site.heard.notices if isinstance(notice, ItemAsked)]
        assert [each.method for each in told] == ["secrets/list"]


async def test_no_tasks_are_declared_for_a_server_that_was_never_there() -> None:
    here = servers()
    async with here.serving() as upstreams:
        plain = next(each for each in upstreams if each.name == "plain")
        dead = Upstream("dead", url="http://127.0.0.1:9/mcp")
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t"}}
        async with running(plain, dead) as site, a_peer(site) as peer:

            async def declared() -> tuple[bool, bool]:
                old = (await asked(peer, "initialize", **hello))["result"]["capabilities"]
                new = (await stateless(peer, "server/discover"))["result"]["capabilities"]
                return "tasks" in old, "extensions" in new

            await site.connected("plain")
            await declared()
            await until(lambda: site.gateway.connection("dead").error is not None)
            assert await declared() == (False, False)
            await site.gateway.apply({each.name: each for each in upstreams})
            await site.connected(*vars(here))
            assert await declared() == (True, True)


async def test_a_wish_for_a_task_is_passed_over_where_the_server_makes_none() -> None:
    here = servers()
    here.two.able = {"list": {}}
    async with world(here) as (site, _), client(site) as peer:
        for name, server in (("plain", here.plain), ("two", here.two)):
            answer = (await wished(peer, f"{name}__echo"))["result"]
            assert answer["content"][0]["text"] == "{}"
            assert "task" not in server.asked("tools/call")[0]


async def test_a_wish_is_not_lost_at_a_server_that_was_restarted_just_now() -> None:
    async with world() as (site, _), client(site) as peer:
        await site.gateway.restart("one")
        assert site.gateway._pool.get("one").agreed is None
        assert (await wished(peer, "one__echo"))["result"]["task"]["taskId"] == "one+t+1"


async def test_a_wrapped_call_makes_a_task_too() -> None:
    async with world(routing_mode="retrieve_tools") as (site, _), client(site) as peer:
        made = await asked(
            peer,
            "tools/call",
            name="call_tool_destructive",
            arguments={"name": "one:echo", "args": {}},
            task={},
        )
        assert made["result"]["task"]["taskId"] == "one+t+1"
        assert "result" in await asked(peer, "tasks/get", taskId="one+t+1")


# --- 2026-07-28 ---------------------------------------------------------------------------------


async def test_a_task_of_the_extension_is_found_asked_answered_and_done_by_its_name() -> None:
    async with world() as (site, here), a_peer(site) as peer:
        for name, server in (("new", here.new), ("other", here.other)):
            made = (await stateless(peer, "tools/call", name=f"{name}__echo", arguments={}))[
                "result"
            ]
            shown = f"{name}+t+1"
            assert (made["resultType"], made["taskId"]) == ("task", shown)
            state = (await stateless(peer, "tasks/get", taskId=shown))["result"]
            assert (state["taskId"], state["status"]) == (shown, "input_required")
            assert state["inputRequests"]["q"]["params"] == {"message": "Sure?"}
            answers = {"q": {"action": "accept"}}
            updated = await stateless(peer, "tasks/update", taskId=shown, inputResponses=answers)
            assert updated["result"]["resultType"] == "complete"
            assert server.answers == answers
            done = (await stateless(peer, "tasks/get", taskId=shown))["result"]
            assert done["result"]["content"] == [LINK]
            assert (await stateless(peer, "tasks/cancel", taskId=shown))["result"]
            assert server.headers("tasks/get") == ["t+1", "t+1"]
            assert server.headers("tasks/update") == server.headers("tasks/cancel") == ["t+1"]


async def test_a_task_of_the_extension_exists_for_its_caller_alone() -> None:
    async with world(who=callers) as (site, here), a_peer(site) as peer:
        await stateless(peer, "tools/call", name="new__echo", arguments={})
        peer.headers["X-Caller"] = "eve"
        for method in ("tasks/get", "tasks/update", "tasks/cancel"):
            error = (await stateless(peer, method, taskId="new+t+1", inputResponses={}))["error"]
            assert error["code"] == -32602
        assert here.new.answers is None


async def test_who_does_not_declare_the_extension_gets_results_and_no_tasks() -> None:
    async with world() as (site, _), a_peer(site) as peer:
        answer = await stateless(peer, "tools/call", {}, name="new__echo", arguments={})
        assert answer["result"]["resultType"] == "complete"
        for method in ("tasks/get", "tasks/update", "tasks/cancel"):
            error = (await stateless(peer, method, {}, taskId="new+t+1"))["error"]
            assert (error["code"], error["data"]) == (-32021, {"requiredCapabilities": DECLARED})


async def test_headers_that_name_another_task_are_refused() -> None:
    async with world() as (site, here), a_peer(site) as peer:
        meta = {**META, CAPABILITIES: DECLARED}
        params = {"taskId": "new+t+1", "_meta": meta}
        message = {"jsonrpc": "2.0", "id": 7, "method": "tasks/get", "params": params}
        headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tasks/get"}
        for name in ({}, {"Mcp-Name": "other+t+1"}):
            answer = (await peer.post(message, **headers, **name)).json()
            assert answer["error"]["code"] == -32020
        assert here.new.headers("tasks/get") == []


# --- across the eras ----------------------------------------------------------------------------


async def test_nothing_is_bridged_between_the_two_kinds_of_tasks() -> None:
    async with world() as (site, here), client(site) as old, a_peer(site) as new:
        assert (await wished(old, "new__echo"))["result"]["content"]
        call = await stateless(new, "tools/call", name="one__echo", arguments={}, task={})
        assert call["result"]["resultType"] == "complete"
        assert "task" not in here.one.asked("tools/call")[0]
        for method in ("tasks/list", "tasks/result"):
            assert (await stateless(new, method, taskId="one+t+1"))["error"]["code"] == -32601
        assert (await asked(old, "tasks/update", taskId="new+t+1"))["error"]["code"] == -32601
        assert (await asked(old, "tasks/get", taskId="new+t+1"))["error"]["code"] == -32602
        assert (await stateless(new, "tasks/get", taskId="one+t+1"))["error"]["code"] == -32602
