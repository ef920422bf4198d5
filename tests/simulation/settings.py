"""Worlds in which a certain kind of bug shows soon."""

from dataclasses import replace
from typing import Any, Final

from tests.simulation.faults import HOURS, Fault, FaultRates
from tests.simulation.provider import Rotation
from tests.simulation.run import Setting
from tests.simulation.world import Machines

HOUR: Final = 3600.0
YEAR: Final = 365 * 24 * HOUR

ON_DISK: Final = Setting(logins=5, lives=(300.0, 3600.0))
"""Fewer logins: each re-read of a vault on disk opens every one of them."""

HOSTS: Final = Setting(
    processes=4,
    machines=Machines(hosts=3, skew=2.0),
    rates=FaultRates(hours={k: v for k, v in HOURS.items() if k is not Fault.SUSPEND}),
)
"""Three machines, each with a boot and clocks of its own, at one store. Machines that serve others
together do not sleep; a process that stands still for minutes is among their troubles.
"""

YEARS: Final = Setting(
    logins=60,
    machines=Machines(tick=HOUR),
    calls=(0.25 * HOUR, 4 * HOUR),
    lives=(300.0, YEAR),
    bend=0.2,
    rates=FaultRates(hours={fault: hours * 40 for fault, hours in HOURS.items()}),
)
"""Logins of every life from five minutes to a year, kept for months; most live long."""

YEARS_ON_DISK: Final = replace(YEARS, logins=12)

BUSY: Final = Setting(
    logins=6,
    calls=(1.0, 20.0),
    lives=(300.0, 600.0),
    rates=FaultRates(wire=0.15, hours={**HOURS, Fault.NETWORK_CHANGE: 0.5}),
)
"""Short lives, many calls, much trouble on the wire: most bugs show here."""


def _with_rates(**changes: Any) -> Setting:
    return replace(BUSY, rates=replace(BUSY.rates, **changes))


SLOW: Final = _with_rates(wire=0.7, wire_faults=(Fault.SLOW,))
FULL_DISKS: Final = _with_rates(store=0.02)
ENDINGS: Final = _with_rates(hours={Fault.LOGIN_ENDED: 0.2, Fault.CLOCK_STEP: 0.5})
PAUSES: Final = _with_rates(paused=0.01)
JAMMED: Final = replace(
    _with_rates(
        wire=0.0,
        crash=0.0,
        paused=0.0,
        store=0.3,
        store_faults=(Fault.STORE_FULL, Fault.STORE_READ_ONLY),
        hours={},
    ),
    rotations=(Rotation.STRICT,),
    odd=0.0,
    processes=9,
    calls=(20.0, 60.0),
)
RESTARTS: Final = _with_rates(
    wire=0.7, wire_faults=(Fault.SLOW,), crash=0.0, hours={Fault.TERMINATED: 0.03}
)
IMPATIENT: Final = replace(
    _with_rates(
        wire=0.7,
        wire_faults=(Fault.SLOW,),
        crash=0.0,
        paused=0.0,
        caller_gone=0.8,
        hours={Fault.TOKEN_REVOKED: 0.02},
    ),
    rotations=(Rotation.STRICT,),
    calls=(0.5, 5.0),
)

ODD: Final = replace(BUSY, odd=1.0)
FORGETS_OR_HURRIES: Final = (Fault.CLOCK_STEP, Fault.BACKUP_RESTORED)
EARLY: Final = replace(
    _with_rates(wire=0.1, hours={k: v for k, v in HOURS.items() if k not in FORGETS_OR_HURRIES}),
    rotations=tuple(rotation for rotation in Rotation if rotation is not Rotation.NONE),
    lives=(900.0, 3600.0),
    early=0.7,
)
"""Providers that refuse to refresh a living access token. A clock that is set ahead makes us ask
them too early, and a vault of before forgets what they taught; one that never rotates would refuse
to repeat an answer that was lost."""

CLOCKS: Final = _with_rates(wire=0.05, hours={Fault.CLOCK_STEP: 0.3})
LOCKED: Final = _with_rates(hours={Fault.KEY_LOCKED: 0.8})
UNREACHABLE: Final = _with_rates(wire=0.7, wire_faults=(Fault.REFUSED, Fault.DNS, Fault.TLS))
OUTAGES: Final = _with_rates(
    hours={Fault.OUTAGE: 1.0, Fault.SUSPEND: 2.0, Fault.NETWORK_CHANGE: 0.3}
)

SETTINGS: Final = {
    "busy": BUSY,
    "clocks": CLOCKS,
    "early": EARLY,
    "endings": ENDINGS,
    "full disks": FULL_DISKS,
    "impatient": IMPATIENT,
    "jammed": JAMMED,
    "locked": LOCKED,
    "odd": ODD,
    "outages": OUTAGES,
    "pauses": PAUSES,
    "restarts": RESTARTS,
    "slow": SLOW,
    "unreachable": UNREACHABLE,
}
