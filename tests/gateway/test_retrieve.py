"""Mode retrieve_tools: short answers, whole ones on demand, and long results that are read on."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from mcp import Client

from mcpproxy.core.model import Upstream
from mcpproxy.core.notices import ToolsRetrieved
from mcpproxy.gateway.access import Caller, Permit
from mcpproxy.gateway.catalog import Catalog
from mcpproxy.gateway.modes.compact import Compact, compact, tokens
from tests.discovery.evaluation import as_tool
from tests.gateway.peers import http_server
from tests.gateway.world import FAST, KEY, Site, running
from tests.peers.mcp_client import connect, text
from tests.peers.process import free_port

pytestmark = pytest.mark.anyio
HEADERS = {"X-API-Key": KEY}
LINES = "\n".join(f"line {n}" for n in range(2000))


def short_of(name: str = "t", description: str = "", **schema: Any) -> Compact:
    catalog = Catalog()
    definition = {"name": name, "description": description, "inputSchema": schema}
    catalog.replace("s", (as_tool(definition),))
    return compact(catalog.of("s")[0])


# --- a tool in a few words ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("description", "line"),
    [
        ("Reads a file from disk. Use it with care.", "Reads a file from disk."),
        ("Reads e.g. a file.\nAnd more of that.", "Reads e.g. a file."),
        ("Reads a whole file from disk\n\nArgs:\n  path", "Reads a whole file from disk"),
        ("x" * 500, "x" * 159 + "…"),
        ("", ""),
    ],
)
def test_a_description_becomes_its_first_sentence(description: str, line: str) -> None:
    assert short_of(description=description).description == line


def test_required_parameters_have_types_and_others_a_question_mark() -> None:
    properties: Mapping[str, object] = {
        "path": {"type": "string"},
        "lines": {"type": "array", "items": {"type": "integer"}},
        "mode": {"type": "string", "enum": ["fast", "slow"]},
        "owner": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "size": {"type": ["number", "null"]},
        "odd": True,
        "head": {"type": "number"},
    }
    required = ["path", "lines", "mode", "owner", "size", "odd", "missing"]
    assert short_of(type="object", properties=properties, required=required).args == (
        "path: string, lines: integer[], mode: fast|slow, owner: string, size: number, odd: any, "
        "missing: any, head?"
    )


@pytest.mark.parametrize(
    "schema", [{}, {"properties": 5}, {"properties": {"a": 1}, "required": 7}, {"required": [1]}]
)
def test_an_odd_schema_costs_its_arguments_only(schema: dict[str, Any]) -> None:
    assert short_of("odd", **schema).name == "s:odd"


def test_many_optional_parameters_are_cut_short() -> None:
    args = short_of(properties={f"p{n}": {} for n in range(50)}).args
    assert args.endswith("p7?, ...")


# --- searching --------------------------------------------------------------------------------


async def search(client: Client, **arguments: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a model reads, and what a program may read beside it."""
    answer = await client.call_tool("retrieve_tools", arguments)
    return json.loads(text(answer)), dict(answer.meta or {})


async def test_an_answer_is_short_and_tells_what_it_saves() -> None:
    async with http_server() as http, running(Upstream("remote", url=http)) as site:
        await site.connected("remote")
        async with connect(f"{site.url}/call", headers=HEADERS) as client:
            answer, meta = await search(client, query="sum of numbers")
            assert answer["tools"][0] == {
                "name": "remote:add",
                "description": "Add two numbers.",
                "call_with": "call_tool_write",
                "args": "a: integer, b: integer",
            }
            told = [notice for notice in site.heard.notices if isinstance(notice, ToolsRetrieved)]
            spent = meta["mcpproxy/tokens"]
            assert spent["answer"] == tokens(len(json.dumps(answer, separators=(",", ":"))))
            assert spent["answer"] < spent["all_tools"]
            assert told == [
                ToolsRetrieved(len(answer["tools"]), spent["answer"], spent["all_tools"])
            ]


async def test_whole_definitions_come_on_demand_and_limits_hold() -> None:
    limits = replace(FAST, tools_limit=2)
    async with http_server() as http, running(Upstream("r", url=http), limits=limits) as site:
        await site.connected("r")
        async with connect(f"{site.url}/call", headers=HEADERS) as client:
            query = "echo text, add numbers, report progress, fail for a reason"
            assert len((await search(client, query=query))[0]["tools"]) == 2
            assert len((await search(client, query=query, limit=3))[0]["tools"]) == 3
            full, _ = await search(client, query="add numbers", detail="full")
            assert full["tools"][0]["inputSchema"]["properties"]["a"]["type"] == "integer"
            assert full["tools"][0]["call_with"] == "call_tool_write"
            nothing, _ = await search(client, query="zzzz qqqq")
            assert nothing == {"tools": [], "hint": "No tool has any of these words. Try others."}
            wrong = await client.call_tool("retrieve_tools", {"query": "x", "detail": "huge"})
            assert wrong.is_error


async def test_a_search_names_the_servers_whose_tools_nobody_knows_yet() -> None:
    limits = replace(FAST, first_list_wait=timedelta(milliseconds=100))
    away = Upstream("away", url=f"http://127.0.0.1:{free_port()}/mcp")
    async with (
        http_server() as http,
        running(Upstream("remote", url=http), away, limits=limits) as site,
    ):
        await site.connected("remote")
        async with connect(f"{site.url}/call", headers=HEADERS) as client:
            answer, _ = await search(client, query="sum of numbers")
            assert answer["tools"][0]["name"] == "remote:add"
            assert "not known: away. upstream_servers says why" in answer["hint"]


async def test_rest_and_agents_find_the_same() -> None:
    async with http_server() as http, running(Upstream("remote", url=http)) as site:
        await site.connected("remote")
        async with connect(f"{site.url}/call", headers=HEADERS) as client:
            for query in ("sum of numbers", "say it back"):
                found = await site.gateway.search_tools(query, 10)
                names = [f"{entry.server}:{entry.name}" for entry, _ in found]
                answer, _ = await search(client, query=query)
                assert [tool["name"] for tool in answer["tools"]] == names


# --- long results -----------------------------------------------------------------------------


async def read_on(client: Client, first: list[str]) -> str:
    """All that a result says, by following its notes."""
    *texts, said = first
    whole = "".join(texts)
    while "read_cache" in said:
        asked = json.loads(said[said.index("{") : said.index("}") + 1])
        answer = await client.call_tool("read_cache", asked)
        more, said = [block.text for block in answer.content]  # type: ignore[union-attr]
        whole += more
    return whole


async def echo(client: Client, tool: str, arguments: Mapping[str, object]) -> list[str]:
    answer = await client.call_tool(tool, dict(arguments))
    return [block.text for block in answer.content]  # type: ignore[union-attr]


THROUGH = {"name": "remote:echo", "args": {"text": LINES}}


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_long_result_is_cut_and_read_to_its_end(mode: str) -> None:
    limits = replace(FAST, response_limit=5000)
    async with http_server() as http, running(Upstream("remote", url=http), limits=limits) as site:
        await site.connected("remote")
        async with connect(f"{site.url}/call", headers=HEADERS, mode=mode) as client:
            first = await echo(client, "call_tool_read", THROUGH)
            assert sum(map(len, first)) < 5500
            assert await read_on(client, first) == LINES


async def test_only_where_read_cache_is_offered_anything_is_cut() -> None:
    limits = replace(FAST, response_limit=5000)
    async with http_server() as http, running(Upstream("remote", url=http), limits=limits) as site:
        await site.connected("remote")
        for place, tool in (("/all", "remote__echo"), ("/s/remote", "echo")):
            async with connect(site.url + place, headers=HEADERS) as client:
                assert await echo(client, tool, {"text": LINES}) == [LINES]
    unlimited = replace(FAST, response_limit=0)
    async with http_server() as http, running(Upstream("remote", url=http), limits=unlimited) as at:
        await at.connected("remote")
        async with connect(f"{at.url}/call", headers=HEADERS) as client:
            assert "read_cache" not in {tool.name for tool in (await client.list_tools()).tools}
            assert await echo(client, "call_tool_read", THROUGH) == [LINES]


async def test_nobody_reads_what_was_kept_for_another() -> None:
    def who(scope: Mapping[str, Any]) -> Caller:
        name = dict(scope["headers"]).get(b"x-caller", b"anna").decode()
        return Caller(name, frozenset({Permit.READ}))

    async def first_of(site: Site) -> list[str]:
        async with connect(f"{site.url}/call", headers={"X-Caller": "anna"}) as client:
            return await echo(client, "call_tool_read", THROUGH)

    limits = replace(FAST, response_limit=5000)
    async with (
        http_server() as http,
        running(Upstream("remote", url=http), limits=limits, who=who) as site,
    ):
        await site.connected("remote")
        said = (await first_of(site))[-1]
        asked = json.loads(said[said.index("{") : said.index("}") + 1])
        async with connect(f"{site.url}/call", headers={"X-Caller": "bert"}) as client:
            refused = await client.call_tool("read_cache", asked)
            assert refused.is_error
            assert "line " not in refused.content[0].text  # type: ignore[union-attr]
        async with connect(f"{site.url}/call", headers={"X-Caller": "anna"}) as client:
            assert not (await client.call_tool("read_cache", asked)).is_error
