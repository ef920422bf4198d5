"""Nothing stays behind of clients that left, processes that died and configurations that went."""

from typing import Final

import pytest

from tests.churn.churn import Left, churn
from tests.proof import record

pytestmark = pytest.mark.anyio

STEPS: Final = 2_000
PER: Final = 100_000

MOST_OBJECTS: Final = 20_000
MOST_KIB: Final = 40_000
"""In a hundred thousand steps: what caches that are still filling come to."""


def complaints(before: Left, after: Left, steps: int) -> list[str]:
    """What stayed behind."""
    objects = (after.objects - before.objects) * PER // steps
    resident = (after.resident_kib - before.resident_kib) * PER // steps
    stayed = {
        f"{after.tasks - before.tasks} tasks": after.tasks > before.tasks,
        f"{after.descriptors - before.descriptors} descriptors": (
            after.descriptors > before.descriptors
        ),
        f"{after.children - before.children} processes": after.children != before.children,
        f"{after.sessions} sessions": after.sessions > 0,
        f"{objects} objects": objects >= MOST_OBJECTS,
        f"{resident} KiB": steps >= PER and resident >= MOST_KIB,
    }
    return [what for what, has in stayed.items() if has]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_nothing_stays_behind_of_clients_that_come_cancel_and_go() -> None:
    before, after, story = await churn(STEPS)
    assert complaints(before, after, STEPS) == []
    assert set(story.statuses) <= {200, 404}
    assert story.statuses[200] > STEPS / 4
    assert story.answered > STEPS / 200
    record(
        "churn",
        goal="no task, descriptor, process, session or memory left by 100,000 steps of churn",
        held="held",
        figures={
            "steps": sum(story.done.values()),
            "tasks": after.tasks - before.tasks,
            "descriptors": after.descriptors - before.descriptors,
            "processes": after.children - before.children,
            "sessions": after.sessions,
            "objects": after.objects - before.objects,
        },
    )


def test_what_stayed_behind_is_found() -> None:
    clean = Left(9, 20, 1, 0, 90_000, 80_000)
    leaky = Left(10, 21, 2, 1, 91_000, 80_000)
    assert complaints(clean, clean, STEPS) == []
    assert len(complaints(clean, leaky, STEPS)) == 5
