"""One machine of the simulated world: its boot, its clocks, and the processes that run on it."""

from dataclasses import dataclass

from tests.simulation.clock import SimClock


@dataclass(slots=True)
class Host:
    """`number` names its boot too: a machine that boots anew is another one here."""

    number: int
    clock: SimClock

    @property
    def boot_id(self) -> str:
        return f"boot-{self.number}"
