"""Configuration files for tests."""

from collections.abc import Mapping
from pathlib import Path

from mcpproxy.config.load import load
from mcpproxy.config.locate import Location
from mcpproxy.config.settings import Settings

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
