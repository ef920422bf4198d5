"""Troubles that meet the whole world, one machine of it, or one login: outages, sleep, clocks that
are set, vaults that are put back, logins that end.
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mcpproxy.core.model import Grant
from tests.simulation.faults import Fault

if TYPE_CHECKING:
    from tests.simulation.wire import Flight
    from tests.simulation.world import World

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR
YEAR: Final = 365 * DAY

OUTAGES: Final = (60.0, 900.0, HOUR, 2 * HOUR, 2 * HOUR)
OUTAGE_SHOWS_AS: Final = (
    Fault.REFUSED,
    Fault.DNS,
    Fault.TLS,
    Fault.HTTP_502,
    Fault.HTTP_503,
    Fault.HTTP_530,
    Fault.PORTAL,
    Fault.SILENCE_BEFORE,
)
CLOCK_STEPS: Final = (-5 * HOUR, -HOUR, -360.0, 360.0, HOUR, 5 * HOUR, -DAY, DAY, -YEAR, YEAR)


class Trouble:
    """Makes them happen."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._outage_until = 0.0
        self._outage = Fault.REFUSED
        self.longest_outage = 0.0
        self._break_next = self._has_backup = False

    def outage(self, server: str) -> Fault | None:
        """How the provider's being down shows for this login now; None: it is there."""
        world, now = self._world, self._world.now()
        if now >= self._outage_until or world.faults.is_quiet(server, now):
            return None
        return self._outage

    def go_down(self, seconds: float, shows_as: Fault) -> None:
        """The provider is down from now on."""
        self.longest_outage = max(self.longest_outage, seconds)
        self._outage_until, self._outage = self._world.now() + seconds, shows_as
        self._world.trace("world", "OUTAGE", detail=f"{seconds:.0f}: {shows_as}")

    def befall(self, fault: Fault) -> None:
        """One of the troubles that come by the hour."""
        world = self._world
        happened = True
        match fault:
            case Fault.OUTAGE:
                self.go_down(world.random.choice(OUTAGES), world.random.choice(OUTAGE_SHOWS_AS))
            case Fault.SUSPEND:
                self._suspend(world.random.uniform(0.05, 9) * HOUR)
            case Fault.CLOCK_STEP:
                self._step_clock()
            case Fault.NETWORK_CHANGE:
                world.trace("world", "NETWORK CHANGE")
                world.checks.woke()
                for process in world.running():
                    process.manager.network_changed()
            case Fault.TERMINATED:
                happened = self._terminate()
            case Fault.KEY_LOCKED:
                happened = self._lock_key()
            case Fault.BACKUP_RESTORED:
                self._back_up()
                return
            case Fault.LEASE_LOST:
                self._break_next = True
                return
            case Fault.ENDPOINT_MOVED | Fault.ISSUER_RENAMED:
                self._befall_issuer(fault)
            case _:
                self._befall_login(fault)
        if happened:
            world.faults.count(fault)

    def _befall_login(self, fault: Fault) -> None:
        world = self._world
        server = world.random.choice(world.provider.families()).server
        world.trace("world", fault.name, server)
        if fault is Fault.TOKEN_REVOKED:
            world.provider.revoke_access(server)
        elif fault is Fault.LOGIN_ENDED:
            world.provider.end(server, world.now())
        elif fault is Fault.CLIENT_ENDED:
            world.provider.end_client(server, world.now())

    def _befall_issuer(self, fault: Fault) -> None:
        """A new release: the token endpoint moves; what its metadata says of itself may be wrong
        for an hour, and then nobody may believe the rest of it.
        """
        world = self._world
        issuer = world.random.choice(world.authority.all())
        world.trace("world", fault.name, detail=issuer.url)
        issuer.move()
        if fault is Fault.ISSUER_RENAMED:
            issuer.name = "https://staging.example.com"
            loop = asyncio.get_running_loop()
            loop.call_later(HOUR, setattr, issuer, "name", issuer.url)

    # --- machines -------------------------------------------------------------------------------

    def _step_clock(self) -> None:
        world = self._world
        host = world.random.choice(world.hosts)
        if len(world.hosts) == 1:
            step = world.random.choice(CLOCK_STEPS)
        else:
            skew = world.machines.skew
            step = world.random.uniform(-skew, skew) - host.clock.offset()
        world.trace(f"host-{host.number}", "CLOCK STEP", detail=step)
        host.clock.step(timedelta(seconds=step))
        world.checks.clock_stepped(step)

    def _suspend(self, seconds: float) -> None:
        """The lid is closed: time goes on, nothing of ours does, connections break."""
        world = self._world
        world.trace("world", "SUSPEND", detail=f"{seconds:.0f}")
        for flight in world.flights:
            flight.cut()
        world.provider.outlive()
        world.clock.sleep(timedelta(seconds=seconds))
        world.checks.woke()

    def _terminate(self) -> bool:
        """SIGTERM for one; not on a full disk, where what is in its hands could not be saved."""
        world = self._world
        if not world.disk.takes_writes() or not world.running():
            return False
        process = world.random.choice(world.running())
        world.trace(process.name, "SIGTERM")
        stop = process.run(process.terminate())
        stop.set_name("SIGTERM")
        return True

    # --- the store ------------------------------------------------------------------------------

    def _lock_key(self) -> bool:
        """The keyring is locked for a while; not while an answer is in somebody's hands."""
        world = self._world
        if world.faults.any_quiet(world.now()) or any(p.stopping for p in world.processes):
            return False
        world.disk.lock_key(world.random.choice((30.0, 600.0, 2 * HOUR)))
        return True

    def _back_up(self) -> None:
        """The vault is copied away, and put back some time later; one copy at a time."""
        world = self._world
        if self._has_backup:
            return
        self._has_backup = True
        world.engine.back_up()
        world.errand(self._restore(dict(world.durable), world.random.uniform(0.1, 3.0) * HOUR))

    async def _restore(self, backup: Mapping[str, Grant], seconds: float) -> None:
        """A vault of before the last login or in the middle of a refresh is another story."""
        world = self._world
        await asyncio.sleep(seconds)
        self._has_backup = False
        same = all(world.durable[s].login_id == grant.login_id for s, grant in backup.items())
        busy = any(grant.attempt is not None for grant in world.durable.values())
        if not same or busy or not world.disk.takes_writes() or world.faults.ceased:
            return
        world.trace("world", "BACKUP RESTORED")
        world.faults.count(Fault.BACKUP_RESTORED)
        world.engine.restore()
        for server, grant in backup.items():
            if grant != world.durable[server]:
                world.provider.family(server).copied = True
            world.forget_older(server)
            world.remember(grant)
        world.checks.restored()
        world.truth.restored()

    def sent(self, flight: "Flight") -> None:
        """A request is under way: a lease that is to be lost is lost now. Its answer comes soon,
        and who takes over waits for it.
        """
        world = self._world
        if self._break_next and flight.fault is None:
            self._break_next = False
            world.trace("world", "LEASE LOST", flight.server)
            world.faults.count(Fault.LEASE_LOST)
            world.engine.break_lease(f"grant:{flight.server}")
