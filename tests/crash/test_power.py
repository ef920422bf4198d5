"""A power cut at any operation of the disk: the vault opens, and every login can go on."""

import pytest

from tests.crash.power import lose_power, on_a_disk_that_lies
from tests.proof import record

REFRESHES = 500
SEED = 1


@pytest.mark.timeout(300)
def test_no_power_cut_corrupts_the_vault_or_takes_a_login_back() -> None:
    losses = lose_power(refreshes=REFRESHES, every=150, subsets=2, seed=SEED)
    record(
        "power-loss",
        goal="whatever a power cut leaves of the writes, the vault opens and holds for every login "
        "a token that its provider takes",
        held=f"{losses.images} disks opened, {len(losses.wrong)} with a loss",
        figures={
            "refreshes recorded": losses.refreshes,
            "operations of the disk": losses.operations,
            "disks opened": losses.images,
            "corrupt, or a login gone back": len(losses.wrong),
            "seed": losses.seed,
        },
    )
    assert losses.refreshes >= REFRESHES
    assert losses.images > 1000
    assert not losses.wrong, losses.wrong[:5]


def test_a_disk_that_does_not_sync_is_found_out() -> None:
    losses = lose_power(refreshes=20, every=10, subsets=4, seed=SEED, disk=on_a_disk_that_lies)
    assert losses.wrong
