"""What the end-to-end tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.world import Builder, Stage


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = Stage(tmp_path_factory.mktemp("stage"))
    yield made
    made.close()


@pytest.fixture
def builder(stage: Stage, tmp_path: Path) -> Iterator[Builder]:
    with Builder(stage, tmp_path) as made:
        yield made
