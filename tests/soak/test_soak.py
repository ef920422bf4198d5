"""Nothing grows with the number of refreshes."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from tests.proof import record
from tests.simulation.loop import run_virtually
from tests.soak.soak import Provider, Size, soak

SHARED_MEMORY: Final = Path("/dev/shm")

WARM_UP: Final = 2_500
"""Until each ledger is full, and each bounded queue."""

REFRESHES: Final = 5_000
PER: Final = 100_000

MOST_OBJECTS: Final = 2_000
MOST_KIB: Final = 20_000
"""In a hundred thousand refreshes: what an allocator's pages come and go by."""


def soak_on_memory_disk(*, warm_up: int, refreshes: int) -> tuple[Size, Size, Provider]:
    """Soak on a vault in memory where there is one: a hundred thousand syncs take a disk hours."""
    where = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with TemporaryDirectory(dir=where, prefix="mcpproxy-soak-") as vault:
        return run_virtually(soak(Path(vault), warm_up=warm_up, refreshes=refreshes))


def growth(before: int, after: int, refreshes: int) -> int:
    """What it would come to in a hundred thousand refreshes."""
    return (after - before) * PER // refreshes


def complaints(before: Size, after: Size, refreshes: int) -> list[str]:
    """What grew."""
    objects = growth(before.objects, after.objects, refreshes)
    resident = growth(before.resident_kib, after.resident_kib, refreshes)
    grown = {
        "descriptors": after.descriptors > before.descriptors,
        "tasks": after.tasks > before.tasks,
        f"{objects} objects": objects >= MOST_OBJECTS,
        f"{resident} KiB": resident >= MOST_KIB,
        "the vault": after.vault_bytes > before.vault_bytes * 1.1,
    }
    return [what for what, has in grown.items() if has]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_memory_descriptors_and_tasks_do_not_grow_with_the_refreshes() -> None:
    before, after, provider = soak_on_memory_disk(warm_up=WARM_UP, refreshes=REFRESHES)
    assert provider.refused == 0
    assert complaints(before, after, REFRESHES) == []
    record(
        "soak",
        goal="no growth of memory, descriptors and tasks per 100,000 refreshes after warm-up",
        held="held",
        figures={
            "refreshes": REFRESHES,
            "objects, per 100,000": growth(before.objects, after.objects, REFRESHES),
            "resident KiB, per 100,000": growth(before.resident_kib, after.resident_kib, REFRESHES),
            "descriptors": after.descriptors - before.descriptors,
            "tasks": after.tasks - before.tasks,
            "vault bytes": after.vault_bytes - before.vault_bytes,
            "lost": provider.refused,
        },
    )


def test_what_grew_is_found() -> None:
    size = Size(objects=1000, resident_kib=1000, descriptors=10, tasks=3, vault_bytes=1000)
    leaky = Size(objects=1200, resident_kib=3000, descriptors=11, tasks=4, vault_bytes=1200)
    assert complaints(size, size, REFRESHES) == []
    assert len(complaints(size, leaky, REFRESHES)) == 5
