"""Nothing grows with the number of refreshes."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from tests.proof import record
from tests.simulation.loop import run_virtually
from tests.soak.soak import Size, soak

SHARED_MEMORY: Final = Path("/dev/shm")

WARM_UP: Final = 2_500
"""Until each ledger is full, and each bounded queue."""

REFRESHES: Final = 5_000
PER: Final = 100_000


def growth(before: int, after: int) -> int:
    """What it would come to in a hundred thousand refreshes."""
    return (after - before) * PER // REFRESHES


def judge(before: Size, after: Size) -> None:
    assert after.descriptors == before.descriptors
    assert after.tasks == before.tasks
    assert growth(before.objects, after.objects) < 2_000
    assert growth(before.resident_kib, after.resident_kib) < 20_000
    assert after.vault_bytes <= before.vault_bytes * 1.1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_memory_descriptors_and_tasks_do_not_grow_with_the_refreshes() -> None:
    where = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with TemporaryDirectory(dir=where, prefix="mcpproxy-soak-") as vault:
        before, after, provider = run_virtually(
            soak(Path(vault), warm_up=WARM_UP, refreshes=REFRESHES)
        )
    assert provider.refused == 0
    judge(before, after)
    record(
        "soak",
        goal="no growth of memory, descriptors and tasks per 100,000 refreshes after warm-up",
        held="held",
        figures={
            "refreshes": REFRESHES,
            "objects, per 100,000": growth(before.objects, after.objects),
            "resident KiB, per 100,000": growth(before.resident_kib, after.resident_kib),
            "descriptors": after.descriptors - before.descriptors,
            "tasks": after.tasks - before.tasks,
            "vault bytes": after.vault_bytes - before.vault_bytes,
            "lost": provider.refused,
        },
    )
