"""Resources, prompts, completion and logs of several upstreams at one endpoint."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import mcp_types as types
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from mcpproxy.core.model import Upstream
from mcpproxy.gateway.access import Caller, Permit
from tests.gateway.hostile import Scripted, Seen, scripted
from tests.gateway.library import FOLDER, GREETING, LINKED, Library
from tests.gateway.world import FAST, KEY, Site, running, until
from tests.peers.mcp_client import connect, text

pytestmark = [
    pytest.mark.anyio,
    # What the stateless era deprecates is what these tests are about.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
ERAS = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
UPSTREAM_ERAS = pytest.mark.parametrize("era", ["legacy", "modern"])


@dataclass
class World:
    """Two libraries behind a gateway."""

    site: Site
    one: Library
    two: Library

    @asynccontextmanager
    async def client(
        self, mode: str = "legacy", *, at: str = "", caller: str = "owner", **options: Any
    ) -> AsyncIterator[Client]:
        headers = {"X-API-Key": KEY, "X-Caller": caller}
        url = self.site.url + at
        async with connect(url, headers=headers, mode=mode, **options) as client:
            yield client


CALLERS = {
    "owner": Caller("owner"),
    "half": Caller("half", servers=frozenset({"one"})),
    "denied": Caller("denied", denied=frozenset({"two"})),
    "writer": Caller("writer", permits=frozenset({Permit.WRITE})),
    "tooled": Caller("tooled", tools=frozenset({"one:link"})),
}


def who(scope: Mapping[str, Any]) -> Caller | None:
    return CALLERS[dict(scope["headers"]).get(b"x-caller", b"owner").decode()]


@asynccontextmanager
async def libraries(era: str = "both", routing_mode: str = "direct") -> AsyncIterator[World]:
    one, two = Library("one"), Library("two")
    async with one.over_http(era) as first, two.over_http(era) as second:
        upstreams = (Upstream("one", url=first), Upstream("two", url=second))
        async with running(*upstreams, who=who, routing_mode=routing_mode) as site:
            await site.connected("one", "two")
            yield World(site, one, two)


def words(read: Any) -> list[tuple[str, str]]:
    return [(str(content.uri), content.text) for content in read.contents]


async def refused(request: Any) -> MCPError:
    with pytest.raises(MCPError) as caught:
        await request
    return caught.value


# --- lists and items ----------------------------------------------------------------------------


@ERAS
@UPSTREAM_ERAS
@pytest.mark.parametrize("at", ["/all", "/call"])
async def test_everything_of_all_upstreams_is_listed_and_can_be_asked_for(
    mode: str, era: str, at: str
) -> None:
    async with libraries(era) as world, world.client(mode, at=at) as client:
        resources = (await client.list_resources()).resources
        assert [str(each.uri) for each in resources] == [f"one+{GREETING}", f"two+{GREETING}"]
        for each in resources:
            own = str(each.uri).partition("+")[0]
            read = await client.read_resource(str(each.uri))
            assert words(read) == [(str(each.uri), f"{GREETING} of {own}")]
        templates = (await client.list_resource_templates()).resource_templates
        assert [each.uri_template for each in templates] == ["one+note://{id}", "two+note://{id}"]
        expanded = templates[1].uri_template.replace("{id}", "7")
        assert words(await client.read_resource(expanded)) == [(expanded, "note://7 of two")]
        prompts = (await client.list_prompts()).prompts
        assert [each.name for each in prompts] == ["one__review", "two__review"]
        for prompt in prompts:
            got = await client.get_prompt(prompt.name, {"what": "it"})
            said = got.messages[0].content
            assert isinstance(said, types.TextContent)
            assert said.text == f"review it, {prompt.name[:3]}"


@ERAS
async def test_contents_of_a_resource_can_be_read_by_the_uris_they_come_with(mode: str) -> None:
    async with libraries() as world, world.client(mode) as client:
        contents = words(await client.read_resource(f"two+{FOLDER}"))
        assert [uri for uri, _ in contents] == [f"two+{FOLDER}", f"two+{GREETING}"]
        again = await client.read_resource(contents[1][0])
        assert words(again) == [(f"two+{GREETING}", f"{GREETING} of two")]


@ERAS
async def test_a_link_in_a_result_can_be_read_as_it_stands_there(mode: str) -> None:
    async with libraries() as world, world.client(mode) as client:
        error = await refused(client.read_resource(LINKED))
        assert "one+note://linked, two+note://linked" in error.message  # both have a template
        answer = await client.call_tool("two__link", {})
        link = answer.content[0]
        assert isinstance(link, types.ResourceLink)
        assert link.uri == LINKED


async def test_a_link_to_what_only_one_server_can_have_is_read_there() -> None:
    async with scripted(Scripted(answer=links("folder://one"))) as url:
        library = Library("two")
        async with (
            library.over_http() as other,
            running(Upstream("plain", url=url), Upstream("two", url=other)) as site,
        ):
            await site.connected("plain", "two")
            async with connect(site.url, headers={"X-API-Key": KEY}, mode="legacy") as client:
                assert (await refused(client.read_resource("folder://one"))).code == -32002
                await client.call_tool("plain__echo", {})
                read = await client.read_resource("folder://one")
                assert words(read) == [("folder://one", "found")]
                read = await client.read_resource(GREETING)
                assert words(read) == [(GREETING, f"{GREETING} of two")]


def result(**members: Any) -> dict[str, Any]:
    return {"result": members}


def links(uri: str) -> Any:
    """A server whose tool links to a resource that no list shows."""

    async def answer(seen: Seen) -> Any:
        if seen.method == "tools/call":
            return result(content=[{"type": "resource_link", "uri": uri, "name": "it"}])
        if seen.method == "resources/read":
            return result(contents=[{"uri": seen.message["params"]["uri"], "text": "found"}])
        return None

    return answer


async def test_what_there_is_not_is_said_to_be_not_there_in_each_era() -> None:
    async with libraries() as world:
        async with world.client("legacy") as client:
            for uri in ("nothing://1", "three+note://1", "plain", ""):
                error = await refused(client.read_resource(uri))
                assert (error.code, error.data) == (-32002, {"uri": uri})
            error = await refused(client.read_resource("one+nothing://1"))
            assert error.code == -32002
            for name in ("one__nothing", "three__review", "review", ""):
                assert (await refused(client.get_prompt(name))).code == -32602
        async with world.client("2026-07-28") as client:
            assert (await refused(client.read_resource("nothing://1"))).code == -32602


@ERAS
@UPSTREAM_ERAS
async def test_arguments_are_completed_by_the_server_whose_they_are(mode: str, era: str) -> None:
    async with libraries(era) as world, world.client(mode) as client:
        argument = {"name": "what", "value": "a"}
        prompt = types.PromptReference(name="two__review")
        done = await client.complete(prompt, argument)
        assert done.completion.values == ["a, review of two"]
        template = types.ResourceTemplateReference(uri="one+note://{id}")
        done = await client.complete(template, {"name": "id", "value": "b"})
        assert done.completion.values == ["b, note://{id} of one"]
        unknown = types.PromptReference(name="three__review")
        assert (await refused(client.complete(unknown, argument))).code == -32602


# --- introduction -------------------------------------------------------------------------------


@ERAS
async def test_capabilities_and_instructions_are_those_of_all_upstreams(mode: str) -> None:
    auto = "auto" if mode != "legacy" else mode  # pinned, it asks for no introduction
    async with libraries() as world, world.client(auto) as client:
        declared = client.server_capabilities
        assert declared is not None
        assert declared.prompts is not None
        assert declared.prompts.list_changed
        assert declared.resources is not None
        assert declared.resources.subscribe
        assert declared.completions is not None
        said = (client.instructions or "").splitlines()
        assert said[-2:] == ["one: The library of one.", "two: The library of two."]


async def test_what_no_upstream_has_is_not_declared() -> None:
    async with scripted(Scripted()) as url, running(Upstream("plain", url=url)) as site:
        await site.connected("plain")
        async with connect(site.url, headers={"X-API-Key": KEY}, mode="legacy") as client:
            declared = client.server_capabilities
            assert declared is not None
            assert declared.tools is not None
            assert (declared.prompts, declared.resources, declared.completions) == (None,) * 3
            assert (await client.list_prompts()).prompts == []


# --- access -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "reached"), [("half", ["one"]), ("denied", ["one"]), ("writer", []), ("tooled", [])]
)
@ERAS
async def test_what_a_caller_may_not_reach_does_not_exist_for_it(
    mode: str, caller: str, reached: list[str]
) -> None:
    async with libraries() as world, world.client(mode, caller=caller) as client:
        resources = [str(each.uri) for each in (await client.list_resources()).resources]
        assert resources == [f"{server}+{GREETING}" for server in reached]
        prompts = [each.name for each in (await client.list_prompts()).prompts]
        assert prompts == [f"{server}__review" for server in reached]
        templates = (await client.list_resource_templates()).resource_templates
        assert len(templates) == len(reached)
        there, absent = f"two+{GREETING}", "three+note://1"
        errors = [await refused(client.read_resource(uri)) for uri in (there, absent)]
        assert len({error.message.split(":")[0] for error in errors}) == 1
        assert len({error.code for error in errors}) == 1
        assert (await refused(client.get_prompt("two__review"))).code == -32602
        reference = types.PromptReference(name="two__review")
        assert (await refused(client.complete(reference, {"name": "a", "value": ""}))).code
        if reached:
            # What two servers have is one's own when the other is not there.
            assert words(await client.read_resource(LINKED)) == [(LINKED, f"{LINKED} of one")]


@pytest.mark.parametrize("caller", ["writer", "tooled"])
async def test_at_its_own_face_a_server_has_only_tools_for_who_may_not_read(caller: str) -> None:
    async with libraries() as world, world.client(at="/s/one", caller=caller) as client:
        declared = client.server_capabilities
        assert declared is not None
        assert declared.tools is not None
        assert (declared.prompts, declared.resources) == (None, None)
        for request in (client.list_resources(), client.read_resource(GREETING)):
            assert (await refused(request)).code == -32601


# --- what upstreams say ------------------------------------------------------------------------


class Ears:
    """What a client hears besides answers."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    async def __call__(self, message: Any) -> None:
        self.heard.append(message)

    def of(self, kind: type) -> list[Any]:
        return [message for message in self.heard if isinstance(message, kind)]


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
async def test_lists_that_changed_are_told_once_and_show_what_is_new(era: str) -> None:
    async with libraries(era) as world:
        ears, other = Ears(), Ears()
        async with (
            world.client(message_handler=ears) as client,
            world.client(caller="denied", message_handler=other),
        ):
            await client.list_prompts()
            await until(lambda: world.site.gateway._changes.is_quiet)
            for each in (ears, other):
                each.heard.clear()
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


async def raw(client: Client, method: str, params: dict[str, Any]) -> Any:
    """The result of any request, as it came."""
    return await client.session._dispatcher.send_raw_request(method, params)


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
