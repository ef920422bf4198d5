"""Logins at a provider, in a data directory, and their servers in a configuration."""

import random
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.crash.provider_process import ProviderProcess
from tests.crash.seeding import a_login, seed


def sow(
    provider: ProviderProcess, data_dir: Path, *, life: float, spread: float = 0.0, number: int = 1
) -> None:
    """Store a login of every name that the provider knows. Their first tokens live for `life`
    seconds, or for up to `spread` less.
    """
    chance = random.Random(number)
    lives = ((name, life - chance.uniform(0, spread)) for name in provider.names)
    seed(
        data_dir,
        [
            a_login(provider.ground, provider.origin, name, life=timedelta(seconds=left))
            for name, left in lives
        ],
    )


def servers(provider: ProviderProcess, names: Iterable[str]) -> list[dict[str, Any]]:
    """The configuration's `mcpServers` for these logins."""
    return [
        {"name": name, "url": f"{provider.origin}/mcp/{name}", "protocol": "streamable-http"}
        for name in names
    ]
