"""Edits are picked up while running; a broken one changes nothing."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mcpproxy.config.changes import Changes, diff
from mcpproxy.config.load import load
from mcpproxy.config.locate import stamp
from mcpproxy.config.settings import Settings
from mcpproxy.config.watch import watch
from mcpproxy.core.errors import McpproxyError
from tests.config.files import KEY, loaded, location, with_servers

pytestmark = pytest.mark.anyio

ONE = with_servers('[{"name": "a", "command": "x"}]')
TWO = with_servers('[{"name": "a", "command": "x"}, {"name": "b", "command": "y"}]')


class EndOfScriptError(Exception):
    """All edits are made and looked at."""


async def seen(
    directory: Path, *edits: Callable[[Path], None] | None
) -> list[Settings | McpproxyError]:
    """What a watcher tells while these edits are made, one before each poll."""
    there = location(directory, ONE)
    script = iter(edits)
    told: list[Settings | McpproxyError] = []

    async def tick() -> None:
        try:
            edit = next(script)
        except StopIteration:
            raise EndOfScriptError from None
        if edit:
            edit(there.config_path)

    path = there.config_path
    try:
        async for _ in watch(lambda: {path: stamp(path)}, {path: stamp(path)}, tick=tick):
            try:
                told.append(load(there, {}))
            except McpproxyError as error:
                told.append(error)
    except EndOfScriptError:
        return told


def writing(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(text)

    return write


def replacing(text: str) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        other = path.with_suffix(".new")
        other.write_text(text)
        os.replace(other, path)

    return replace


@pytest.mark.parametrize("edit", [writing(TWO), replacing(TWO)])
async def test_an_edit_is_told_once_it_has_settled(
    tmp_path: Path, edit: Callable[[Path], None]
) -> None:
    (settings,) = await seen(tmp_path, None, edit, None, None, None)
    assert isinstance(settings, Settings)
    assert list(settings.upstreams) == ["a", "b"]


async def test_an_editor_that_saves_in_steps_is_waited_for(tmp_path: Path) -> None:
    told = await seen(tmp_path, writing(""), writing(TWO[:20]), writing(TWO), None, None)
    assert [type(news) for news in told] == [Settings]


async def test_a_broken_edit_is_told_once_and_its_repair_too(tmp_path: Path) -> None:
    told = await seen(tmp_path, writing("{"), None, None, None, writing(TWO), None, None)
    assert [isinstance(news, Settings) for news in told] == [False, True]


async def test_a_file_taken_away_is_told_and_its_return_too(tmp_path: Path) -> None:
    told = await seen(tmp_path, Path.unlink, None, None, writing(TWO), None, None)
    assert [isinstance(news, Settings) for news in told] == [False, True]


async def test_a_file_that_nobody_touches_tells_nothing(tmp_path: Path) -> None:
    assert await seen(tmp_path, None, None, None) == []


# --- what is different ----------------------------------------------------------------------


def test_only_what_changed_is_named(tmp_path: Path) -> None:
    old = loaded(
        tmp_path,
        with_servers(
            '[{"name": "same", "command": "x"}, {"name": "gone", "command": "x"},'
            ' {"name": "moved", "url": "https://a.example"}]'
        ),
    )
    new = loaded(
        tmp_path,
        f'{{"api_key": "{KEY}", "listen": "127.0.0.1:9", "trusted_hosts": ["h"],'
        ' "routing_mode": "direct", "mcpServers": ['
        '{"name": "moved", "url": "https://b.example"}, {"name": "new", "command": "x"},'
        ' {"name": "same", "command": "x"}]}',
    )
    assert diff(old, new) == Changes(
        added=("new",),
        removed=("gone",),
        changed=("moved",),
        settings=("trusted_hosts",),
        restart=("listen", "routing_mode"),
    )


def test_a_secret_that_changed_is_a_change(tmp_path: Path) -> None:
    text = with_servers('[{"name": "a", "command": "x", "env": {"K": "${env:K}"}}]')
    old, new = (loaded(tmp_path, text, {"K": value}) for value in "12")
    assert diff(old, new) == Changes(changed=("a",))


def test_the_same_file_read_twice_is_no_change(tmp_path: Path) -> None:
    assert diff(loaded(tmp_path, TWO), loaded(tmp_path, TWO)) == Changes()
