"""One world of each engine for the contract suite."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.storage.worlds import WORLDS, World


@pytest.fixture(params=sorted(WORLDS))
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    world = WORLDS[request.param](tmp_path / "data")
    yield world
    await world.close()
