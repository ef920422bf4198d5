"""Many processes with custody of the same logins: each token is presented once, by one of them."""

from pathlib import Path

import pytest

from tests.crash.ground import Policy, names
from tests.crash.provider_process import ProviderProcess
from tests.crash.racers import Racers
from tests.crash.seeding import stored, token_index
from tests.crash.stage import sow
from tests.proof import record

PROCESSES = 32
LOGINS = 50
GENERATIONS = 20
"""Of each login: a thousand in all."""
LIFE = 3.0
"""Seconds; the last token of a login lives for a year, so that a thousand is all there is."""


@pytest.mark.timeout(400)
def test_32_processes_on_one_data_directory_refresh_each_generation_once(tmp_path: Path) -> None:
    logins, wanted = names(LOGINS, Policy.STRICT), LOGINS * GENERATIONS
    with ProviderProcess(tmp_path, logins, life=LIFE, generations=GENERATIONS) as provider:
        provider.behave(hold=(0.0, 0.02))
        sow(provider, tmp_path / "data", life=LIFE, spread=0.8 * LIFE)
        with Racers(tmp_path / "data", PROCESSES) as racers:
            provider.wait_for(wanted, deadline=360)
            code = racers.end()
        seen = provider.record()
    record(
        "race",
        goal="32 processes that keep the same 50 logins make 1,000 refreshes of 1,000 generations",
        held=f"{len(seen.presentations)} refreshes at a provider that takes a token once",
        figures={
            "processes": len(racers.pids),
            "logins": LOGINS,
            "generations": wanted,
            "refreshes at the provider": len(seen.presentations),
            "tokens presented twice": len(seen.repeated()),
            "logins lost": len(seen.ended()),
        },
    )
    assert (len(racers.pids), code) == (PROCESSES, 0)
    assert len(seen.presentations) == seen.accepted() == wanted
    assert not seen.repeated()
    grants = stored(tmp_path / "data")
    assert {name: token_index(grants[name]) for name in logins} == dict.fromkeys(
        logins, GENERATIONS + 1
    )
