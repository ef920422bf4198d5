"""Configuration files for tests."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from mcpproxy.config.load import load
from mcpproxy.config.locate import Location
from mcpproxy.config.settings import Settings
from mcpproxy.core.errors import ConfigError

KEY = "a-key-for-tests-0123456789"


def location(directory: Path, text: str | None = None) -> Location:
    """A place for a file in `directory`, with this text in it."""
    path = directory / "mcp_config.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    return Location(path, directory / "data")


def loaded(directory: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    return load(location(directory, text), environ or {})


def with_servers(servers: str) -> str:
    return f'{{"api_key": "{KEY}", "mcpServers": {servers}}}'


def problems(directory: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    """One line for each problem that this file has."""
    with pytest.raises(ConfigError) as caught:
        loaded(directory, text, environ)
    assert caught.value.exit_code == 4
    assert caught.value.next_step
    return list(caught.value.problems)


def problem(directory: Path, text: str) -> str:
    (told,) = problems(directory, text)
    return told
