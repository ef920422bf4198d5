"""When each login has to be looked at next, so that nobody looks at all of them all the time.

Law: an index over what `plan` says, never a source of truth. Whatever changes a login's facts
touches it here; and as nothing that is only remembered may be trusted, the refresh loop touches
every login again and again.
"""

import heapq
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

NEVER: Final = timedelta.max


class Agenda:
    """Servers by the moment, in elapsed time, at which they are due for a look."""

    def __init__(self) -> None:
        self._touched: dict[str, None] = {}
        self._due_at: dict[str, timedelta] = {}
        self._heap: list[tuple[timedelta, str]] = []

    def touch(self, servers: Iterable[str]) -> None:
        """Look at these with the next look."""
        self._touched.update(dict.fromkeys(servers))

    def put(self, server: str, at: timedelta) -> None:
        """Look at it at this moment, and not at the one that was planned before."""
        if self._due_at.get(server) != at:
            self._due_at[server] = at
            heapq.heappush(self._heap, (at, server))

    def drop(self, server: str) -> None:
        """It is gone, or busy; whoever ends that touches it."""
        self._touched.pop(server, None)
        self._due_at.pop(server, None)

    def take(self, elapsed: timedelta) -> list[str]:
        """What is to be looked at now, each once; the touched ones first."""
        heap, due = self._heap, self._touched
        self._touched = {}
        while heap and heap[0][0] <= elapsed:
            at, server = heapq.heappop(heap)
            if self._due_at.get(server) == at:
                del self._due_at[server]
                due[server] = None
        return list(due)

    def next_at(self) -> timedelta:
        """When somebody has to look again; NEVER when nothing is planned."""
        if self._touched:
            return timedelta(0)
        heap = self._heap
        while heap and self._due_at.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else NEVER
