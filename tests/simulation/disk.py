"""What is wrong with the store at the moment: full, read-only, its key locked.

Law: only one trouble that lasts at a time, and none while an answer may be in somebody's hands
that is about to be told to stop.
"""

from typing import TYPE_CHECKING

from mcpproxy.core.errors import StoreTrouble, StoreUnavailable, WrongKey
from tests.simulation.faults import ALL, Fault

if TYPE_CHECKING:
    from tests.simulation.world import World


class Disk:
    """Lasting troubles of the one store, in seconds of real time."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._trouble = StoreTrouble.FULL
        self._unwritable_until = 0.0
        self._locked_until = 0.0
        self.well_since = 0.0

    def takes_writes(self) -> bool:
        now = self._world.now()
        return now >= self._unwritable_until and now >= self._locked_until

    def was_well(self, since: float) -> bool:
        """Whether no trouble lasted from then on."""
        return self.well_since < since

    def meet(self) -> Fault | None:
        """What meets this write, if anything does; a trouble that lasts begins here."""
        world, now = self._world, self._world.now()
        stopping = any(process.stopping for process in world.processes)
        if not self.takes_writes() or stopping:
            return None
        fault = world.faults.store(now)
        if fault is not None:
            self.well_since = now
        if fault in (Fault.STORE_FULL, Fault.STORE_READ_ONLY):
            full = fault is Fault.STORE_FULL
            self._trouble = StoreTrouble.FULL if full else StoreTrouble.READ_ONLY
            self._unwritable_until = self._begin(fault, world.faults.between(1.0, 120.0))
        return fault

    def lock_key(self, seconds: float) -> None:
        """The keyring is locked: nothing sealed can be read or written."""
        self._locked_until = self._begin(Fault.KEY_LOCKED, seconds)

    def _begin(self, fault: Fault, seconds: float) -> float:
        until = self.well_since = self._world.now() + seconds
        self._world.faults.be_quiet(ALL, until)
        self._world.trace("world", fault.name, detail=f"{seconds:.0f}")
        return until

    def require_room(self) -> None:
        """Every write needs it, a lease's too."""
        if self._world.now() < self._unwritable_until:
            raise StoreUnavailable(f"the disk is {self._trouble}", trouble=self._trouble)

    def require_key(self) -> None:
        """Whatever is sealed needs it."""
        if self._world.now() < self._locked_until:
            raise WrongKey("the keyring is locked")
