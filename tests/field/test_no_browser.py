"""A browser is opened by a command that a person has typed, and by nothing else; and the judge of
the scenarios sees what it is there to see.
"""

import ast
import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from mcpproxy.core.errors import LoginRequired
from mcpproxy.core.notices import LoginBegan, LoginLost
from tests.builders import SERVER_URL
from tests.custody.bench import HOUR, NAME, error_reply, virtually
from tests.custody.desk import a_desk
from tests.field.provider import error
from tests.field.scene import FalseAlarm, Scene

SOURCE = Path(__file__).parents[2] / "src" / "mcpproxy"

COMMANDS = {"cli/login.py", "demo/story.py"}
"""`mcpproxy auth login` and `mcpproxy demo`."""


def importers(module: str) -> set[str]:
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if module in names:
                found.add(path.relative_to(SOURCE).as_posix())
    return found


def test_only_commands_can_open_a_browser() -> None:
    assert importers("webbrowser") == COMMANDS


@virtually
async def test_no_login_is_begun_by_itself_however_long_one_is_needed() -> None:
    """With the real desk for logins beside custody: it waits to be asked."""
    async with a_desk() as desk:
        desk.manager.adopt(desk.bench.store())
        desk.bench.endpoint.replies = [error_reply()]
        for _ in range(12):
            await asyncio.sleep(1200)
            with suppress(LoginRequired):
                await desk.manager.token(NAME, SERVER_URL)
        assert desk.bench.notices.of(LoginLost)
        assert desk.bench.notices.of(LoginBegan) == []
        assert desk.logins.pending(NAME) is None


@virtually
async def test_a_scenario_in_which_a_login_is_begun_fails() -> None:
    """The judge of the scenarios does see it."""
    with pytest.raises(AssertionError, match="a browser was opened"):
        async with Scene() as scene:
            scene.notices.publish(LoginBegan(NAME, "flow-1"))


async def refused_twice() -> None:
    """More than custody can know better: it asks twice."""
    async with Scene() as scene:
        scene.log_in()
        scene.provider.script += [error("invalid_grant"), error("invalid_grant")]
        await scene.start()
        await scene.pass_time(HOUR)


async def deleted_and_found_again() -> None:
    """As if nobody remembered that the provider has ended it."""
    async with Scene() as scene:
        scene.log_in()
        scene.provider.truth.end(NAME, scene.provider.now())
        for _ in range(2):
            await scene.start()
            await scene.pass_time(2 * HOUR)
            await scene.stop()
            stored = scene.stored
            scene.put(replace(stored, refusals=None, revision=stored.revision + 1))


@virtually
async def test_a_scenario_in_which_a_good_login_is_called_dead_fails() -> None:
    with pytest.raises(FalseAlarm, match="login required"):
        await refused_twice()


@virtually
async def test_a_scenario_in_which_a_dead_login_is_hammered_fails() -> None:
    with pytest.raises(AssertionError, match="invalid_grant"):
        await deleted_and_found_again()
