"""Real servers of other people behind mcpproxy, used by the official SDK's client in both eras.

From npm: everything (resources, prompts, completion, sampling, elicitation; over stdio and
Streamable HTTP), filesystem, memory. From PyPI: time.
"""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import Client

from tests.conformance.suites import PACKAGES
from tests.conformance.through import endpoint, proxy
from tests.e2e.daemon import Daemon
from tests.peers import everything, time_server
from tests.peers.everything import EverythingServer
from tests.peers.mcp_client import connect, text
from tests.peers.process import node

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

ERAS = ["legacy", "2026-07-28"]
EVERYTHING = ["everything-stdio", "everything-http"]


def started(name: str, argv: list[str], **more: Any) -> dict[str, Any]:
    """An entry of the configuration for a program."""
    return {"name": name, "command": argv[0], "args": argv[1:], **more}


def of_npm(package: str) -> list[str]:
    return [node(), str(PACKAGES / package / "dist" / "index.js")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a file in it."""
    made = tmp_path_factory.mktemp("files").resolve()
    (made / "letter.txt").write_text("Dear reader")
    return made


@pytest.fixture(scope="module")
def daemon(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    where = tmp_path_factory.mktemp("real")
    memory = {"MEMORY_FILE_PATH": str(where / "memory.jsonl")}
    with (
        EverythingServer(where) as over_http,
        proxy(
            where,
            started("everything-stdio", everything.stdio_command()),
            {"name": "everything-http", "url": over_http.url},
            started("files", [*of_npm("server-filesystem"), str(place)]),
            started("memory", of_npm("server-memory"), env=memory),
            started("time", time_server.stdio_command()),
        ) as running,
    ):
        yield running


class Person:
    """Answers what a client is asked, and remembers it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def sample(self, context: Any, params: types.CreateMessageRequestParams) -> Any:
        self.asked.append("sampling")
        return types.CreateMessageResult(
            role="assistant", content=types.TextContent(text="A model says hello"), model="none"
        )

    async def elicit(self, context: Any, params: types.ElicitRequestParams) -> Any:
        self.asked.append("elicitation")
        return types.ElicitResult(action="accept", content={"name": "Anna", "check": True})

    def connect(self, url: str, era: str) -> AbstractAsyncContextManager[Client]:
        return connect(
            url,
            mode=era,
            sampling_callback=self.sample,
            elicitation_callback=self.elicit,
        )


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("name", EVERYTHING)
async def test_resources_prompts_and_completion_come_through(
    name: str, era: str, daemon: Daemon
) -> None:
    async with Person().connect(endpoint(daemon, name), era) as client:
        resources = (await client.list_resources()).resources
        read = await client.read_resource(resources[0].uri)
        assert read.contents[0].uri == resources[0].uri
        templates = (await client.list_resource_templates()).resource_templates
        assert any("{resourceId}" in template.uri_template for template in templates)
        dynamic = await client.read_resource("demo://resource/dynamic/text/7")
        assert "7" in str(dynamic.contents[0])
        names = {prompt.name for prompt in (await client.list_prompts()).prompts}
        assert {"simple-prompt", "args-prompt"} <= names
        prompt = await client.get_prompt("args-prompt", {"city": "Vienna"})
        assert "Vienna" in str(prompt.messages[0].content)
        found = await client.complete(
            types.PromptReference(name="completable-prompt"), {"name": "department", "value": "E"}
        )
        assert found.completion.values


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize(
    ("tool", "asked", "arguments"),
    [
        ("trigger-sampling-request", "sampling", {"prompt": "Say hello", "maxTokens": 50}),
        ("trigger-elicitation-request", "elicitation", {}),
    ],
)
async def test_a_server_asks_the_client_behind_the_call(
    tool: str, asked: str, arguments: dict[str, Any], name: str, era: str, daemon: Daemon
) -> None:
    person = Person()
    async with person.connect(endpoint(daemon, name), era) as client:
        answer = await client.call_tool(tool, arguments)
    assert person.asked == [asked], answer
    heard = {"sampling": "A model says hello", "elicitation": "Anna"}
    assert heard[asked] in text(answer)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("name", EVERYTHING)
async def test_pictures_and_structured_content_come_through(
    name: str, era: str, daemon: Daemon
) -> None:
    async with Person().connect(endpoint(daemon, name), era) as client:
        picture = await client.call_tool("get-tiny-image", {})
        assert any(isinstance(part, types.ImageContent) for part in picture.content)
        weather = await client.call_tool("get-structured-content", {"location": "New York"})
        assert weather.structured_content


@pytest.mark.parametrize("era", ERAS)
async def test_files_are_read_through_it(era: str, daemon: Daemon, place: Path) -> None:
    async with Person().connect(endpoint(daemon, "files"), era) as client:
        answer = await client.call_tool("read_text_file", {"path": str(place / "letter.txt")})
        assert "Dear reader" in text(answer)


async def test_all_of_them_are_used_at_one_endpoint(daemon: Daemon) -> None:
    for name in (*EVERYTHING, "files", "memory", "time"):
        endpoint(daemon, name)
    async with Person().connect(f"{daemon.origin}/mcp", "auto") as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {"files__read_text_file", "memory__read_graph", "time__convert_time"} <= names
        noted = {"entities": [{"name": "Anna", "entityType": "person", "observations": ["kind"]}]}
        await client.call_tool("memory__create_entities", noted)
        assert "Anna" in text(await client.call_tool("memory__read_graph", {}))
        wanted = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
        assert "21:00" in text(await client.call_tool("time__convert_time", wanted))
