"""One daemon that is killed again and again, and one provider that it keeps logins at.

Law: the daemon gets what a machine that crashes gives it and no more: what a kill left open it may
settle before the provider's replay window closes, as no kill follows in the window's later part.
"""

import os
import queue
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.crash.ground import ACCEPTED, Policy, Verdict, names
from tests.crash.provider_process import ProviderProcess
from tests.crash.record import Event, Kill, Record
from tests.crash.seeding import stored, token_index
from tests.crash.stage import servers, sow
from tests.crash.zygote import Zygote
from tests.e2e.daemon import Daemon
from tests.peers.process import wait_until

SCALED: Final = {
    "min_interval": "1s",
    "backoff_base": "1s",
    "backoff_cap": "2s",
    "confirm_after": "1s",
    "probe_after": "3s",
    "connect_timeout": "2s",
    "answer_timeout": "5s",
    "lease_ttl": "10s",
}
"""The policy, about ten times as fast; the providers' replay window stays 30 s."""

LIFE: Final = 4.0
HOLD: Final = (0.02, 0.4)
"""Seconds for which an answer is held back: kills land between rotation and commit."""

SLOWEST_START: Final = 15.0
"""Seconds until the first refresh of a daemon's life, on a machine that is busy."""

LONGEST_RUN: Final = 1.5
"""Seconds that a daemon has, from its first refresh on, unless it is left alone."""

UNEASY: Final = 10.0
"""Seconds since the first use of a token whose successor was not seen: now it is left alone."""

PATIENCE: Final = 60.0
"""The longest a daemon may take, left alone, to settle what a kill left open; usually five."""

AFRESH: Final = 20
"""One life in so many begins as a shell begins it; the others are spared a second of loading."""

LOST: Final = "grant_lost_in_transit"
"""What health says of a login whose answer a kill has lost, at a strict provider."""

SHOWN: Final = 1
"""For each policy, how many logins have their server configured; a refresh needs none."""


class Victim(Daemon):
    """A daemon that nobody waits for: what it does shows at the provider."""

    _pid = 0
    _afresh = False

    def fork(self, zygote: Zygote) -> None:
        """Begin a life that was loaded before."""
        self._pid, self._afresh = zygote.spawn(), False

    def execute(self) -> None:
        """Begin a life as a shell does."""
        self._awaited = False
        self.process.start()
        self._awaited = True
        self._pid, self._afresh = self.process.pid, True

    def kill_now(self) -> Kill:
        """Raises AssertionError if it had ended by itself."""
        before = time.monotonic()
        assert self._lives(), f"the daemon ended by itself:\n{self.output()[-4000:]}"
        os.kill(self._pid, signal.SIGKILL)
        while self._lives():
            time.sleep(0.0005)
        return Kill(before, time.monotonic())

    def end(self) -> None:
        """Whatever still lives."""
        if self._pid and self._lives():
            os.kill(self._pid, signal.SIGKILL)
        self.process.kill()

    def end_in_order(self) -> None:
        os.kill(self._pid, signal.SIGTERM)
        wait_until(lambda: not self._lives(), deadline=15, what="the daemon ends in order")

    _awaited = True

    def _is_ready(self) -> bool:
        return not self._awaited or super()._is_ready()

    def _lives(self) -> bool:
        """Whether any thread of it does: the first one may be gone before the others."""
        if self._afresh:
            return self.process.running
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Toll:
    """What a series of kills came to. `struck` counts those that hit a token under way."""

    seed: int
    kills: int
    struck: int
    refreshes: int
    lost: tuple[str, ...]
    controls_lost: tuple[str, ...]
    unexplained: int
    strangers: int
    untrue: tuple[str, ...]
    seconds: float

    @property
    def share(self) -> float:
        return self.struck / self.kills if self.kills else 0.0


class Arena:
    """A provider, a daemon, and `count` logins of every policy in turn."""

    def __init__(
        self,
        directory: Path,
        *,
        number: int,
        count: int = 30,
        bug: str = "none",
        patience: float = PATIENCE,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._seed = number
        self._random = random.Random(number)
        kinds = (Policy.LEEWAY, Policy.UNTIL_USED, Policy.STRICT, Policy.LEEWAY, Policy.UNTIL_USED)
        self.names = names(count, *kinds)
        self.provider = ProviderProcess(directory, self.names, seed=number, life=LIFE)
        self._directory = directory
        self._bug = bug
        self._patience = patience
        self._kills: list[Kill] = []
        self._first_used: dict[str, tuple[int, float]] = {}

    def run(self, kills: int) -> Toll:
        """Kill the daemon that often, let it settle, and count."""
        begun = time.monotonic()
        with self.provider:
            self.provider.behave(hold=HOLD)
            victim = self._victim = self._prepare()
            command, log = victim.process.argv[1:], victim.process.log_path
            try:
                with Zygote(command, victim.command_environment(), log, self._bug) as zygote:
                    for number in range(kills):
                        self._begin(zygote, number)
                        self._wait_for_a_moment()
                        self._calm_down()
                        self._kills.append(victim.kill_now())
                        victim.process.kill()
                    self._begin(zygote, 0)
                    self._settle()
                return self._count(begun)
            finally:
                victim.end()

    def _begin(self, zygote: Zygote, number: int) -> None:
        if self._bug == "none" and number % AFRESH == 0:
            self._victim.execute()
        else:
            self._victim.fork(zygote)

    def _prepare(self) -> Victim:
        sow(
            self.provider,
            self._directory / "data",
            life=LIFE,
            spread=0.75 * LIFE,
            number=self._seed,
        )
        self._shown = [
            name
            for kind in Policy
            for name in [each for each in self.names if each.startswith(kind)][:SHOWN]
        ]
        return Victim(
            self._directory, servers=servers(self.provider, self._shown), oauth_refresh=SCALED
        )

    # --- when to kill -------------------------------------------------------------------------

    def _wait_for_a_moment(self) -> None:
        """A moment of the provider's work, mostly; else any moment, those of the start too."""
        self._hear()
        draw = self._random.random()
        if draw < 0.15:
            time.sleep(self._random.uniform(0, LONGEST_RUN))
            return
        begun = self._next(time.monotonic() + SLOWEST_START)
        limit = time.monotonic() + LONGEST_RUN
        what, after = ("presented", HOLD[1]) if draw < 0.7 else ("answered", 0.01)
        for _ in range(self._random.randint(0, 5)):
            while begun is not None and (event := self._next(limit)) and event.what != what:
                pass
        time.sleep(self._random.uniform(0, after))

    def _calm_down(self) -> None:
        """Leave it alone while a replay window threatens to close."""
        self._hear()
        limit = time.monotonic() + self._patience
        while self._is_uneasy() and self._next(limit) is not None:
            pass

    def _is_uneasy(self) -> bool:
        now = time.monotonic()
        return any(
            name.startswith(Policy.LEEWAY) and now - used_at > UNEASY
            for name, (_, used_at) in self._first_used.items()
        )

    def _hear(self) -> None:
        """What the provider has done meanwhile."""
        while self._next(0.0) is not None:
            pass

    def _next(self, limit: float) -> Event | None:
        left = limit - time.monotonic()
        try:
            event = self.provider.events.get(timeout=left) if left > 0 else self._waiting()
        except queue.Empty:
            return None
        if event.verdict in (Verdict.REUSE, Verdict.ENDED):
            self._first_used.pop(event.grant, None)
        elif event.what == "presented":
            index = self._first_used.get(event.grant, (0, 0.0))[0]
            if event.index > index:
                self._first_used[event.grant] = (event.index, event.at)
        return event

    def _waiting(self) -> Event:
        return self.provider.events.get_nowait()

    # --- what became of it ----------------------------------------------------------------------

    def _settle(self) -> None:
        """Left alone, the daemon refreshes whatever is not lost, twice; then it ends in order."""
        self._hear()
        alive = set(self._alive(self.provider.record()))
        self._settled_at = time.monotonic()
        refreshed: Counter[str] = Counter()
        limit = self._settled_at + self._patience
        while any(refreshed[name] < 2 for name in alive):
            event = self._next(limit)
            if event is None:
                break  # those that were not refreshed are counted as lost
            if event.what == "presented" and event.verdict in ACCEPTED:
                refreshed[event.grant] += 1
            elif event.what == "presented":
                alive.discard(event.grant)
        self._untrue = self._untruths(self.provider.record().ended())
        self._victim.end_in_order()

    def _untruths(self, ended: set[str]) -> tuple[str, ...]:
        """Where health says something else than the provider's record does."""
        untrue = []
        for name in self._shown:
            health = self._victim.server(name)["health"]
            is_true = health["cause"] == LOST if name in ended else health["action"] != "login"
            if not is_true:
                untrue.append(f"{name}: {health['cause']}")
        return tuple(untrue)

    def _alive(self, record: Record) -> list[str]:
        ended = record.ended()
        return [name for name in self.names if name not in ended]

    def _count(self, begun: float) -> Toll:
        record, grants = self.provider.record(), stored(self._directory / "data")
        lost = set(record.ended())
        for name in self._alive(record):
            story = record.by_grant[name]
            newest = max((each.index for each in story), default=1)
            grant = grants.get(name)
            held = token_index(grant) if grant else 0
            refreshed = sum(each.accepted and each.at > self._settled_at for each in story) >= 2
            if not refreshed or held <= newest:
                lost.add(name)
        controls = {name for name in lost if name.startswith(Policy.STRICT)}
        return Toll(
            seed=self._seed,
            kills=len(self._kills),
            struck=sum(map(bool, record.struck(self._kills))),
            refreshes=record.accepted(),
            lost=tuple(sorted(lost - controls)),
            controls_lost=tuple(sorted(controls)),
            unexplained=len(record.unexplained(self._kills)),
            strangers=record.strangers(),
            untrue=self._untrue,
            seconds=time.monotonic() - begun,
        )
