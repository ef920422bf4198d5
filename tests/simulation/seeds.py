"""A seed of the long run: which world it is, and what it showed.

Law: a module of its own, since processes that run seeds beside each other import it by its name.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.simulation.engines import Engine, MemoryEngine, SqliteEngine
from tests.simulation.loop import run_virtually
from tests.simulation.run import Outcome, Setting, simulate
from tests.simulation.settings import HOSTS, ON_DISK, YEARS, YEARS_ON_DISK

SHARED_MEMORY = Path("/dev/shm")

WORLDS: dict[str, tuple[Setting, ...]] = {
    "memory": (Setting(), YEARS, HOSTS, YEARS, YEARS, YEARS),
    "sqlite": (ON_DISK, YEARS_ON_DISK),
}
"""By turns: a seed says which."""


@contextmanager
def an_engine(name: str) -> Iterator[Engine]:
    """The engine of that name on an empty vault."""
    if name == "memory":
        yield MemoryEngine()
        return
    where = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where, prefix="mcpproxy-sim-") as directory:
        yield SqliteEngine(Path(directory))


def run_seed(engine: str, seed: int, refreshes: int) -> Outcome:
    worlds = WORLDS[engine]
    with an_engine(engine) as opened:
        setting = worlds[seed % len(worlds)]
        return run_virtually(simulate(seed, opened, refreshes=refreshes, setting=setting))
