"""The guard's own program: `+GROUP` and `-GROUP` lines on stdin; at its end, all groups end.

Law: standard library only, and little of it: it runs as `python -I -S` beside every daemon that
has stdio upstreams.
"""

import os
import signal
import sys
import time

GRACE_SECONDS = 2.0
POLL_SECONDS = 0.05


def groups_at_end() -> set[int]:
    """Read until the pipe closes; what is still watched then."""
    groups: set[int] = set()
    for line in sys.stdin.buffer:
        group = int(line[1:])
        if line[:1] == b"+":
            groups.add(group)
        else:
            groups.discard(group)
    return groups


def signal_all(groups: set[int], number: int) -> set[int]:
    """Signal every group; those that were still there."""
    alive = set()
    for group in groups:
        try:
            os.killpg(group, number)
            alive.add(group)
        except (ProcessLookupError, PermissionError):
            continue
    return alive


def main() -> None:
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    alive = signal_all(groups_at_end(), signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while alive and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        alive = signal_all(alive, 0)
    signal_all(alive, signal.SIGKILL)


if __name__ == "__main__":
    main()
