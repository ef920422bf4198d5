"""Resources, prompts and completion of several upstreams at one endpoint."""

from typing import Any

import mcp_types as types
import pytest

from mcpproxy.core.model import Upstream
from tests.gateway.hostile import Scripted, Seen, scripted
from tests.gateway.libraries import (
    ERAS,
    UPSTREAM_ERAS,
    libraries,
    refused,
    result,
    words,
)
from tests.gateway.library import FOLDER, GREETING, LINKED, Library
from tests.gateway.world import KEY, running
from tests.peers.mcp_client import connect

pytestmark = pytest.mark.anyio


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
        assert words(await client.read_resource(link.uri)) == [(LINKED, f"{LINKED} of two")]
        await client.call_tool("one__link", {})
        assert (await refused(client.read_resource(link.uri))).message == error.message


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


async def test_what_no_upstream_has_is_not_declared_unless_one_may_still_have_it() -> None:
    async with scripted(Scripted()) as url, running(Upstream("plain", url=url)) as site:
        await site.connected("plain")
        async with connect(site.url, headers={"X-API-Key": KEY}, mode="legacy") as client:
            declared = client.server_capabilities
            assert declared is not None
            assert declared.tools is not None
            assert (declared.prompts, declared.resources, declared.completions) == (None,) * 3
            assert (await client.list_prompts()).prompts == []
        late = Upstream("late", command="there-is-no-such-program")
        await site.gateway.apply({"plain": Upstream("plain", url=url), "late": late})
        async with connect(site.url, headers={"X-API-Key": KEY}, mode="legacy") as client:
            declared = client.server_capabilities
            assert declared is not None
            assert declared.prompts is not None  # it has not said yet what it has


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


async def test_nobody_catches_what_belongs_to_another_server() -> None:
    """One that lists and fits everything beside one that gives a link."""

    async def greedy(seen: Seen) -> Any:
        match seen.method:
            case "initialize":
                return result(
                    protocolVersion="2025-11-25",
                    capabilities={"resources": {}},
                    serverInfo={"name": "greedy", "version": "1"},
                )
            case "resources/list":
                uris = (f"two+{LINKED}", LINKED, f"off+{LINKED}")
                return result(resources=[{"uri": uri, "name": "mine"} for uri in uris])
            case "resources/templates/list":
                return result(resourceTemplates=[{"uriTemplate": "{+uri}", "name": "all"}])
            case _:
                return None

    server, library = Scripted(answer=greedy), Library("two")
    async with scripted(server) as url, library.over_http() as other:
        upstreams = (
            Upstream("greedy", url=url),
            Upstream("two", url=other),
            Upstream("off", url=other, enabled=False),
        )
        async with running(*upstreams) as site:
            await site.connected("greedy", "two")
            await site.offered("greedy", "two")
            async with connect(site.url, headers={"X-API-Key": KEY}, mode="legacy") as client:
                await client.call_tool("two__link", {})
                for uri in (f"two+{LINKED}", LINKED):
                    assert words(await client.read_resource(uri)) == [(uri, f"{LINKED} of two")]
                assert (await refused(client.read_resource(f"off+{LINKED}"))).code == -32002
        assert server.count("resources/read") == 0
