"""The sqlite engine's Lease: one row a name, taken and given back under the vault's write lock.

Law: the row stays when the lease is given back, so that its fence never goes back either.
"""

from datetime import timedelta
from typing import Final

from mcpproxy.core.ports import Clock, LeaseHold
from mcpproxy.storage.connection import Connection
from mcpproxy.storage.database import Database
from mcpproxy.storage.holder import Claim, Holder, IsAlive
from mcpproxy.storage.runner import Runner

_MICROSECOND: Final = timedelta(microseconds=1)


class SqliteLease:
    """The Lease port over a Database, for one holder."""

    def __init__(
        self, database: Database, runner: Runner, clock: Clock, holder: Holder, is_alive: IsAlive
    ) -> None:
        self._database = database
        self._runner = runner
        self._clock = clock
        self._is_alive = is_alive
        self.holder = holder

    async def acquire(self, name: str, ttl: timedelta) -> LeaseHold | None:
        def take(db: Connection) -> LeaseHold | None:
            # Read under the write lock: waiting for it may have taken a while.
            elapsed = self._clock.elapsed()
            claim = _load(db, name)
            if claim and claim.stands(elapsed, self._is_alive):
                return None
            fence = claim.fence + 1 if claim else 1
            _save(db, name, Claim(self.holder, fence, elapsed, elapsed + ttl))
            return LeaseHold(name, str(self.holder), fence, elapsed + ttl)

        def work() -> LeaseHold | None:
            # Who is refused needs no write lock: many may ask while one works, and must not queue
            # in front of what that one has to write.
            claim = self._database.read(lambda db: _load(db, name))
            if claim and claim.stands(self._clock.elapsed(), self._is_alive):
                return None
            return self._database.write(take)

        return await self._runner.run(work)

    async def release(self, hold: LeaseHold) -> None:
        def give_back(db: Connection) -> None:
            claim = _load(db, hold.name)
            if claim and claim.holder == self.holder and claim.fence == hold.fence:
                _save(db, hold.name, Claim(None, claim.fence, claim.since, claim.until))

        await self._runner.run(lambda: self._database.write(give_back))


def _load(db: Connection, name: str) -> Claim | None:
    rows = db.execute(
        "SELECT boot_id, pid_space, pid, pid_started, instance, fence, since_us, until_us "
        "FROM leases WHERE name = ?",
        (name,),
    )
    if not rows:
        return None
    *who, fence, since_us, until_us = rows[0]
    holder = Holder(*who) if who[-1] is not None else None
    return Claim(holder, fence, since_us * _MICROSECOND, until_us * _MICROSECOND)


def _save(db: Connection, name: str, claim: Claim) -> None:
    held = claim.holder
    who = (
        (held.boot_id, held.pid_space, held.pid, held.pid_started, held.instance)
        if held
        else (None,) * 5
    )
    db.execute(
        "INSERT OR REPLACE INTO leases (name, boot_id, pid_space, pid, pid_started, instance, "
        "fence, since_us, until_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (name, *who, claim.fence, claim.since // _MICROSECOND, claim.until // _MICROSECOND),
    )
