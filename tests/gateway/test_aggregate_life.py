"""What the upstreams behind one endpoint say by themselves, and their troubles."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import mcp_types as types
import pytest
from mcp.server.subscriptions import ResourceUpdated

from mcpproxy.core.model import Upstream
from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.pages import PAGE_ITEMS
from tests.gateway.hostile import Scripted, Seen, scripted
from tests.gateway.libraries import (
    UPSTREAM_ERAS,
    Ears,
    libraries,
    raw,
    refused,
    result,
    words,
)
from tests.gateway.library import GREETING, Library
from tests.gateway.world import FAST, KEY, running, until
from tests.peers.mcp_client import connect, text

pytestmark = [
    pytest.mark.anyio,
    # What the stateless era deprecates is what these tests are about.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


# --- what upstreams say ------------------------------------------------------------------------


@UPSTREAM_ERAS
async def test_updates_reach_who_subscribed_by_the_uri_they_subscribed_to(era: str) -> None:
    async with libraries(era) as world:
        here, there, single = Ears(), Ears(), Ears()
        async with (
            world.client(message_handler=here) as a,
            world.client(message_handler=there) as b,
            world.client(at="/s/one", message_handler=single) as c,
        ):
            await a.session.subscribe_resource(f"one+{GREETING}")
            await b.session.subscribe_resource(f"two+{GREETING}")
            await c.session.subscribe_resource(GREETING)
            if era == "legacy":
                assert world.one.watched == world.two.watched == {GREETING}
            await a.call_tool("one__touch", {"uri": GREETING})
            updated = types.ResourceUpdatedNotification
            await until(lambda: bool(here.of(updated) and single.of(updated)))
            assert str(here.of(updated)[0].params.uri) == f"one+{GREETING}"
            assert str(single.of(updated)[0].params.uri) == GREETING
            await a.session.unsubscribe_resource(f"one+{GREETING}")
            await b.call_tool("two__touch", {"uri": GREETING})
            await until(lambda: bool(there.of(updated)))
            assert len(here.of(updated)) == 1
        if era == "legacy":
            await until(
                lambda: not world.one.watched | world.two.watched, lambda: world.one.watched
            )


@UPSTREAM_ERAS
async def test_a_stateless_client_hears_of_what_it_listens_for(era: str) -> None:
    async with libraries(era) as world:
        async with (
            world.client("2026-07-28") as client,
            client.listen(
                prompts_list_changed=True, resource_subscriptions=[f"two+{GREETING}", "three+x://"]
            ) as heard,
        ):
            assert heard.honored.resource_subscriptions == [f"two+{GREETING}"]
            await client.call_tool("one__touch", {"uri": GREETING})
            await client.call_tool("two__touch", {"uri": GREETING})
            async with asyncio.timeout(20):
                async for event in heard:
                    if isinstance(event, ResourceUpdated):
                        assert event.uri == f"two+{GREETING}"
                        break
        await until(lambda: len(world.site.gateway._subscriptions) == 0)


@UPSTREAM_ERAS
async def test_lists_that_changed_are_told_once_and_show_what_is_new(era: str) -> None:
    async with libraries(era) as world:
        ears, other = Ears(), Ears()
        async with (
            world.client(message_handler=ears) as client,
            world.client(caller="denied", message_handler=other),
        ):
            await client.list_prompts()
            await client.call_tool("two__grow", {})
            prompts, resources = (
                types.PromptListChangedNotification,
                types.ResourceListChangedNotification,
            )
            await until(lambda: bool(ears.of(prompts) and ears.of(resources)))
            names = [each.name for each in (await client.list_prompts()).prompts]
            assert names == ["one__review", "two__new", "two__review"]
            uris = [str(each.uri) for each in (await client.list_resources()).resources]
            assert "two+note://new" in uris
            assert len(ears.of(prompts)) == len(ears.of(resources)) == 1
            assert other.heard == []


async def test_the_most_verbose_level_that_anybody_wants_is_asked_for() -> None:
    async with libraries("legacy") as world:
        heard, spared = Ears(), Ears()
        async with (
            world.client(message_handler=heard) as a,
            world.client(message_handler=spared) as b,
            world.client(at="/s/one") as c,
        ):
            await b.session.set_logging_level("error")
            await until(lambda: world.one.heard == world.two.heard == ["error"])
            await a.session.set_logging_level("debug")
            await until(lambda: world.two.heard == ["error", "debug"])
            await c.session.set_logging_level("critical")
            assert world.one.heard[-1] == "debug"
            for level in ("info", "error"):
                await a.call_tool("two__say", {"level": level})
            logs = types.LoggingMessageNotification
            await until(lambda: len(heard.of(logs)) == 2 and bool(spared.of(logs)))
            assert [each.params.logger for each in heard.of(logs)] == ["two/pen"] * 2
            assert [each.params.level for each in spared.of(logs)] == ["error"]
            loud = raw(a, "logging/setLevel", {"level": "loud"})
            assert (await refused(loud)).code == -32602


async def test_a_level_that_nobody_wants_any_more_is_asked_for_no_more() -> None:
    async with libraries("legacy") as world:
        async with world.client() as a:
            await a.session.set_logging_level("error")
            async with world.client(at="/s/one") as b:
                await b.session.set_logging_level("debug")
                await until(lambda: world.one.heard == ["error", "debug"])
            await until(lambda: world.one.heard == ["error", "debug", "error"])
            assert world.two.heard == ["error"]
        await until(lambda: world.one.heard[3:] == world.two.heard[1:] == ["info"])


# --- trouble ------------------------------------------------------------------------------------


async def test_a_server_that_is_gone_is_an_error_that_says_so_and_stays_listed() -> None:
    library = Library("one")
    async with running(limits=replace(FAST, reconnect_wait=FAST.reconnect_cap)) as site:
        async with library.over_http() as url:
            await site.gateway.start({"one": Upstream("one", url=url)})
            await site.connected("one")
            async with connect(site.url, headers={"X-API-Key": KEY}, mode="legacy") as client:
                await client.list_resources()
        async with connect(site.url, headers={"X-API-Key": KEY}, mode="legacy") as client:
            assert len((await client.list_resources()).resources) == 1
            error = await refused(client.read_resource(f"one+{GREETING}"))
            assert "one is not available" in error.message


async def test_a_broken_item_hides_itself_shows_in_health_and_not_in_its_list() -> None:
    async def answer(seen: Seen) -> Any:
        match seen.method:
            case "initialize":
                return result(
                    protocolVersion="2025-11-25",
                    capabilities={"tools": {}, "prompts": {}, "resources": {}},
                    serverInfo={"name": "x", "version": "1"},
                )
            case "prompts/list":
                return result(prompts=[{"name": "good"}, {"name": "bad", "arguments": 7}])
            case "resources/list":
                return result(resources=[{"uri": "x://1"}])
            case _:
                return None

    async with scripted(Scripted(answer=answer)) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        headers = {"X-API-Key": KEY}
        for at, name in (("", "up__good"), ("/s/up", "good")):
            async with connect(site.url + at, headers=headers, mode="legacy") as client:
                prompts = (await client.list_prompts()).prompts
                assert [each.name for each in prompts] == [name]
                assert (await client.list_resources()).resources == []
        connection = site.gateway.connection("up")
        await until(lambda: site.gateway.connection("up").hidden == 3, lambda: connection)
        lines = [line for line in site.heard.lines if "hidden" in line]
        assert len(lines) == 3, lines  # a template list that is none is hidden as a whole


async def test_tasks_are_seen_by_their_callers_alone() -> None:
    async def answer(seen: Seen) -> Any:
        match seen.method:
            case "tools/call":
                return result(task={"taskId": "t1", "status": "working"})
            case "tasks/list":
                return result(tasks=[{"taskId": "t1"}, {"taskId": "t0"}])
            case "tasks/get":
                return result(taskId=seen.message["params"]["taskId"], status="working")
            case _:
                return None

    def two(scope: Mapping[str, Any]) -> Caller | None:
        name = dict(scope["headers"])[b"x-caller"].decode()
        return Caller(name, servers=frozenset({"up"}))

    async with (
        scripted(Scripted(answer=answer)) as url,
        running(Upstream("up", url=url), who=two) as site,
    ):
        await site.connected("up")
        seen: dict[str, Any] = {}
        for name in ("mine", "yours"):
            headers = {"X-API-Key": KEY, "X-Caller": name}
            async with connect(f"{site.url}/s/up", headers=headers, mode="legacy") as client:
                if name == "mine":
                    call = {"name": "echo", "arguments": {}, "task": {"ttl": 1000}}
                    await raw(client, "tools/call", call)
                listed = await raw(client, "tasks/list", {})
                seen[name] = [task["taskId"] for task in listed["tasks"]]
                if name == "mine":
                    assert (await raw(client, "tasks/get", {"taskId": "t1"}))["status"] == "working"
                else:
                    error = await refused(raw(client, "tasks/get", {"taskId": "t1"}))
                    assert error.code == -32602
        assert seen == {"mine": ["t1"], "yours": []}


async def test_a_wish_for_a_task_is_passed_over_where_nobody_could_ask_for_it() -> None:
    server = Scripted()
    async with scripted(server) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        async with connect(site.url, headers={"X-API-Key": KEY}, mode="legacy") as client:
            call = {"name": "up__echo", "arguments": {"a": 1}, "task": {"ttl": 1000}}
            assert (await raw(client, "tools/call", call))["content"][0]["text"] == '{"a": 1}'
            assert (await refused(raw(client, "tasks/list", {}))).code == -32601
        called = next(seen for seen in server.seen if seen.method == "tools/call")
        assert "task" not in called.message["params"]


async def test_a_long_list_comes_in_pages_and_a_cursor_of_before_a_change_is_refused() -> None:
    names = [f"p{number}" for number in range(2 * PAGE_ITEMS)]

    async def answer(seen: Seen) -> Any:
        if seen.method == "initialize":
            return result(
                protocolVersion="2025-11-25",
                capabilities={"prompts": {}},
                serverInfo={"name": "x", "version": "1"},
            )
        if seen.method == "prompts/list":
            return result(prompts=[{"name": name} for name in names])
        return None

    async with scripted(Scripted(answer=answer)) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        async with connect(site.url, headers={"X-API-Key": KEY}, mode="legacy") as client:
            first = await client.list_prompts()
            assert first.next_cursor is not None
            second = await client.list_prompts(cursor=first.next_cursor)
            assert second.next_cursor is None
            both = [each.name for each in (*first.prompts, *second.prompts)]
            assert both == sorted(f"up__{name}" for name in names)
            names.append("new")
            live = site.gateway._pool.get("up")
            live._offering.heard("notifications/prompts/list_changed")
            await until(lambda: len(live.offer.prompts) == len(names))
            error = await refused(client.list_prompts(cursor=first.next_cursor))
            assert error.code == -32602
            assert "changed since" in error.message


async def test_requests_of_every_kind_go_on_side_by_side() -> None:
    async with libraries() as world, world.client("2026-07-28") as client:
        answers = await asyncio.gather(
            *(client.read_resource(f"one+note://{number}") for number in range(20)),
            *(client.get_prompt("two__review", {"what": str(number)}) for number in range(20)),
            *(client.call_tool("one__touch", {"uri": "note://1"}) for _ in range(5)),
        )
        reads = [words(answer)[0][1] for answer in answers[:20]]
        assert reads == [f"note://{number} of one" for number in range(20)]
        assert text(answers[-1]) == "done"
