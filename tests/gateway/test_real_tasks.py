"""Tasks through one endpoint between the official SDKs' clients and servers, of each generation."""

import asyncio
import json
from typing import Any

import pytest

from mcpproxy.core.model import Secret, Transport, Upstream
from tests.gateway.libraries import refused
from tests.gateway.peers import http_server
from tests.gateway.task_peers import TasksOfClient, asked, make_server
from tests.gateway.world import KEY, Site, running
from tests.peers.everything import stdio_command
from tests.peers.mcp_client import connect, text
from tests.peers.process import NODE_DIR, ROOT, node

pytestmark = pytest.mark.anyio
RESEARCH = "simulate-research-query"
CLIENT = [node(), str(NODE_DIR / "task_client.mjs")]


def researcher(name: str, command: list[str], **env: Secret) -> Upstream:
    """A server over stdio whose tool is research, which must be a task."""
    program, *args = command
    return Upstream(name, transport=Transport.STDIO, command=program, args=tuple(args), env=env)


async def seen_by(client: list[str], site: Site, **job: Any) -> Any:
    """What the client's program says of its tasks."""
    process = await asyncio.create_subprocess_exec(
        *client, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    given = json.dumps({"url": site.url, "headers": {"X-API-Key": KEY}, **job}).encode()
    async with asyncio.timeout(60):
        said, _ = await process.communicate(given)
    assert process.returncode == 0
    return json.loads(said)


async def tasks_work(client: list[str], one: Upstream, two: Upstream) -> None:
    """At `one` and `two`: to their end, with a question, given up, and listed."""
    async with running(one, two) as site:
        await site.connected("one", "two")
        topics = {"one": {"topic": "ducks"}, "two": {"topic": "python", "ambiguous": True}}
        calls = [{"name": f"{on}__{RESEARCH}", "arguments": topics[on]} for on in topics]
        cancel = {"name": f"one__{RESEARCH}", "arguments": {"topic": "geese"}}
        seen = await seen_by(client, site, calls=calls, cancel=cancel)
    ducks, python = seen["calls"]
    for name, call in (("one", ducks), ("two", python)):
        assert call["error"] is None, call
        assert call["taskId"].startswith(f"{name}+")
        assert {state[0] for state in call["states"]} == {call["taskId"]}
    assert "# Research Report: ducks" in ducks["text"]
    assert "python (as a test)" in python["text"]
    assert seen["asked"] == [python["taskId"]]
    assert seen["given_up"]["status"] == seen["given_up"]["then"] == "cancelled"
    ids = [ducks["taskId"], python["taskId"], seen["given_up"]["taskId"]]
    assert sorted(seen["listed"]) == sorted(ids)
    assert seen["unknown"] == -32602


async def test_tasks_of_2025_work_between_the_reference_server_and_the_sdks_client() -> None:
    one, two = (researcher(name, stdio_command()) for name in ("one", "two"))
    await tasks_work(CLIENT, one, two)


async def test_tasks_of_the_extension_work_between_two_servers_and_a_client_of_the_sdk() -> None:
    (one, of_one), (two, of_two) = make_server("one"), make_server("two")
    async with (
        http_server(one) as first,
        http_server(two) as second,
        running(Upstream("one", url=first), Upstream("two", url=second)) as site,
    ):
        await site.connected("one", "two")
        tasks = TasksOfClient()
        headers = {"X-API-Key": KEY, "X-Caller": "ada"}
        options: dict[str, Any] = {"mode": "2026-07-28", "extensions": [tasks]}
        async with connect(site.url, headers=headers, **options) as client:
            for name in ("one", "two"):
                assert text(await client.call_tool(f"{name}__whose", {})) == f"{name}'s"
            states = ["input_required", "completed"]
            assert tasks.seen == {"one+1": states, "two+1": states}
            done = await asked(client.session, "tasks/cancel", "two+1")
            assert done["resultType"] == "complete"
            assert of_one.tasks[0]["status"] == "completed"
            assert of_two.tasks[0]["status"] == "cancelled"
            error = await refused(asked(client.session, "tasks/get", "two+2"))
            assert error.code == -32602
        stranger = {**headers, "X-Caller": "eve"}
        async with connect(site.url, headers=stranger, **options) as client:
            assert (await refused(asked(client.session, "tasks/get", "one+1"))).code == -32602
        async with connect(site.url, headers=headers, mode="2026-07-28") as unaware:
            assert text(await unaware.call_tool("one__whose", {})) == "one's"
        assert len(of_one.tasks) == 1
