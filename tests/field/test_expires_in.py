"""How often a provider is asked, for every life it may give its access tokens: measured.

The policy: at 80 % of the life, never two attempts within 10 s; a life that is not told is ended
by the server's 401 alone; and no login is left unrefreshed for longer than a week.
"""

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

import pytest

from mcpproxy.core.policy import DEFAULT_POLICY
from tests.custody.bench import HOUR, NAME, SECOND, virtually
from tests.field.provider import Manner, honest, with_fields, without_fields
from tests.field.scene import DAY, MINUTE, Scene
from tests.proof import record

TOLERANCE = 0.02
"""For the answer's way, which is no part of the policy, and for one refresh more or less."""

YEAR = 365 * DAY


@dataclass(frozen=True)
class Life:
    """`said` is what the provider says, `true` how long its tokens really live. `every` is the
    pause between two refreshes that the policy asks for; None: none at all.
    """

    said: timedelta | None
    true: timedelta
    watched: timedelta
    every: timedelta | None
    calls_every: timedelta | None = None

    @property
    def name(self) -> str:
        said = "none" if self.said is None else str(int(self.said.total_seconds()))
        return f"{said} s, {'called' if self.calls_every else 'idle'}"


WEEK = DEFAULT_POLICY.keep_alive
LIVES = (
    Life(5 * SECOND, 5 * SECOND, 2 * HOUR, 10 * SECOND),
    Life(5 * SECOND, 5 * SECOND, 2 * HOUR, 10 * SECOND, calls_every=7 * SECOND),
    Life(30 * SECOND, 30 * SECOND, 6 * HOUR, 24 * SECOND),
    Life(30 * SECOND, 30 * SECOND, 6 * HOUR, 24 * SECOND, calls_every=20 * SECOND),
    Life(5 * MINUTE, 5 * MINUTE, DAY, 4 * MINUTE),
    Life(5 * MINUTE, 5 * MINUTE, DAY, 4 * MINUTE, calls_every=3 * MINUTE),
    Life(HOUR, HOUR, 10 * DAY, 48 * MINUTE),
    Life(HOUR, HOUR, 10 * DAY, 48 * MINUTE, calls_every=11 * MINUTE),
    Life(YEAR, YEAR, 2 * YEAR, WEEK),
    Life(YEAR, YEAR, YEAR, WEEK, calls_every=7 * HOUR),
    Life(None, HOUR, 20 * WEEK, WEEK),
    Life(None, HOUR, 3 * DAY, HOUR, calls_every=6 * SECOND * 10),
)
"""The last: an hour, and the next call's 401 asks for a refresh."""


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.name)
@virtually
async def test_refreshes_are_as_many_as_the_policy_says(life: Life) -> None:
    measured, least = await rate(life)
    assert life.every is not None
    expected = HOUR / life.every
    assert measured == pytest.approx(expected, rel=TOLERANCE), f"{measured} instead of {expected}"
    assert least >= DEFAULT_POLICY.min_interval
    record(
        f"field-expires-in-{life.name.replace(', ', '-').replace(' ', '')}",
        goal=f"expires_in {life.name}: a refresh every {life.every}",
        held=f"within {TOLERANCE:.0%}",
        figures={
            "policy, refreshes per hour": round(expected, 4),
            "measured, refreshes per hour": round(measured, 4),
            "shortest pause in s": round(least.total_seconds(), 1),
        },
    )


async def rate(life: Life) -> tuple[float, timedelta]:
    """Refreshes per hour, and the shortest pause between two."""
    slowest = max(life.watched / 2000, 30 * SECOND)
    async with Scene(looked_every=slowest, tick=slowest) as scene:
        scene.log_in(life=life.true, said=life.said)
        await scene.start()
        if life.calls_every is not None:
            scene.call_every(life.calls_every)
        await scene.pass_time(life.watched)
        assert scene.truth().ended is None
        assert scene.calls.served == scene.calls.total
        times = [visit.at for visit in scene.provider.visits]
    pauses = [later - sooner for sooner, later in pairwise(times)]
    span = (times[-1] - times[0]) / 3600
    return (len(times) - 1) / span, timedelta(seconds=min(pauses))


UNTOLD: dict[str, Manner] = {
    "missing": without_fields("expires_in"),
    "null": with_fields(expires_in=None),
    "0": with_fields(expires_in=0),
    "-1": with_fields(expires_in=-1),
    "0 as a string": with_fields(expires_in="0"),
    "0.25": with_fields(expires_in=0.25),
    "true": with_fields(expires_in=True),
    "'3600abc'": with_fields(expires_in="3600abc"),
    "'never'": with_fields(expires_in="never"),
    "a list": with_fields(expires_in=[3600]),
    "an object": with_fields(expires_in={"seconds": 3600}),
    "absurd": with_fields(expires_in=10**12),
    "more absurd": with_fields(expires_in=10**400),
    "not a number": with_fields(expires_in="NaN"),
    "infinite": with_fields(expires_in="Infinity"),
    "a date": with_fields(expires_in="2026-01-01T00:00:00Z"),
}


@pytest.mark.parametrize("manner", UNTOLD.values(), ids=UNTOLD)
@virtually
async def test_a_life_that_says_nothing_is_ended_by_the_servers_401_alone(manner: Manner) -> None:
    """The tokens live an hour, whatever is said of them: one refresh an hour, no storm."""
    async with Scene() as scene:
        scene.log_in(life=HOUR)
        scene.provider.manner = manner
        await scene.start()
        scene.call_every(MINUTE)
        await scene.pass_time(12 * HOUR)
        assert scene.calls.served == scene.calls.total
        assert 11 <= scene.presented() <= 12
        scene.require_good()


TOLD: dict[str, Manner] = {
    "a number": honest,
    "a string": with_fields(expires_in="3600"),
    "a float": with_fields(expires_in=3600.0),
    "a string with a fraction": with_fields(expires_in="3600.5"),
    "white space": with_fields(expires_in=" 3600 "),
    "an exponent": with_fields(expires_in=3.6e3),
}


@pytest.mark.parametrize("manner", TOLD.values(), ids=TOLD)
@virtually
async def test_a_life_that_is_told_in_an_odd_way_is_understood(manner: Manner) -> None:
    async with Scene() as scene:
        scene.log_in(life=HOUR)
        scene.provider.manner = manner
        await scene.start()
        scene.call_every(10 * MINUTE)
        await scene.pass_time(12 * HOUR)
        assert scene.calls.replayed == 0
        scene.require_good(presented=14)


@virtually
async def test_a_life_much_shorter_than_told_costs_one_replay_each() -> None:
    """The provider says an hour and revokes after ten minutes."""
    async with Scene() as scene:
        scene.log_in(life=10 * MINUTE, said=HOUR)
        scene.provider.manner = with_fields(expires_in=3600)
        await scene.start()
        scene.call_every(MINUTE)
        await scene.pass_time(6 * HOUR)
        assert scene.calls.served == scene.calls.total
        assert scene.calls.replayed == scene.presented() <= 36
        scene.require_good()


@virtually
async def test_a_restart_knows_that_a_token_has_expired() -> None:
    """The time of its end is stored, not only how long it was to live."""
    async with Scene() as scene:
        scene.log_in()
        await scene.start()
        await scene.pass_time(MINUTE)
        await scene.stop()
        await scene.pass_time(2 * HOUR)
        await scene.start()
        assert await scene.call()
        assert scene.calls.replayed == 0
        scene.require_good(presented=1)
        assert scene.provider.visits_of(NAME)[0].at >= 2 * 3600
