"""Who holds a lease: one store instance of one process of one boot.

Law: the dead hold nothing. A holder of another boot, or whose process is gone, is broken at once;
anybody else keeps a lease until it expires by the elapsed time of the boot.
"""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from mcpproxy.storage import processes


@dataclass(frozen=True, slots=True)
class Holder:
    """`instance` tells apart several stores in one process; the rest names the process."""

    boot_id: str
    pid_space: str
    pid: int
    pid_started: str
    instance: str

    def __str__(self) -> str:
        return f"{self.pid}-{self.instance}"


IsAlive = Callable[[Holder], bool]


def this_process() -> Holder:
    """A new holder in this very process."""
    pid = os.getpid()
    return Holder(
        boot_id=processes.boot_id(),
        pid_space=processes.pid_space(),
        pid=pid,
        pid_started=processes.started(pid) or "",
        instance=secrets.token_hex(4),
    )


def is_alive(holder: Holder) -> bool:
    """Whether this holder's process may still run. Only proof of the contrary answers False."""
    here = processes.boot_id()
    if here and holder.boot_id and holder.boot_id != here:
        return False
    if holder.pid_space != processes.pid_space():
        return True
    began = processes.started(holder.pid)
    if began is None:
        return False
    return not began or not holder.pid_started or began == holder.pid_started


@dataclass(frozen=True, slots=True)
class Claim:
    """The record of a lease. `holder` is None once it was given back; `fence` is never reset."""

    holder: Holder | None
    fence: int
    since: timedelta
    until: timedelta

    def stands(self, elapsed: timedelta, is_alive: IsAlive) -> bool:
        """Whether this claim still keeps others out at `elapsed`.

        A claim from the future of this boot's elapsed time was made in another boot.
        """
        if self.holder is None or self.until <= elapsed or self.since > elapsed:
            return False
        return is_alive(self.holder)
