"""The provider as a test holds it: started, told how to behave, asked for its record.

Law: what happened is what the provider wrote down; no test counts by what it meant to do.
"""

import json
import queue
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.crash.ground import ACCEPTED, Ground, policies
from tests.crash.record import Event, Record
from tests.peers.process import Process, answers, free_port, http


class ProviderProcess:
    """`events` yields what the provider does, as it does it."""

    def __init__(
        self,
        directory: Path,
        names: Sequence[str],
        *,
        seed: int = 1,
        life: float = 4.0,
        generations: int = 0,
    ) -> None:
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.names = tuple(names)
        self.ground = Ground(seed, policies(names))
        """The books as they were at first: it knows every token, not what became of it."""
        numbers = (self.port, seed, life, generations)
        self.process = Process(
            "provider",
            [sys.executable, "-m", "tests.crash.provider", *map(str, numbers), *names],
            log_dir=directory,
            ready=lambda: answers(f"{self.origin}/record"),
        )
        self._feed: socket.socket | None = None
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def behave(self, **ways: Any) -> None:
        """Change how it behaves from now on; see provider.Ways."""
        with http(5.0) as client:
            client.post(f"{self.origin}/ways", json=ways).raise_for_status()

    def wait_for(self, number: int, deadline: float) -> list[Event]:
        """The next `number` presentations that it took, as they come."""
        end, seen = time.monotonic() + deadline, list[Event]()
        while len(seen) < number:
            try:
                event = self.events.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"{len(seen)} of {number} refreshes in {deadline:g} s") from None
            if event.what == "presented" and event.verdict in ACCEPTED:
                seen.append(event)
        return seen

    def record(self) -> Record:
        """All that happened."""
        with http(30.0) as client:
            lines = client.get(f"{self.origin}/record").text.splitlines()
        return Record.of(Event.of(json.loads(line)) for line in lines)

    def _listen(self) -> None:
        self._feed = socket.create_connection(("127.0.0.1", self.port))
        self._feed.sendall(b"GET /events HTTP/1.1\r\n\r\n")
        threading.Thread(target=self._read, args=(self._feed,), daemon=True).start()

    def _read(self, feed: socket.socket) -> None:
        with suppress(OSError), feed.makefile("rb") as lines:
            for line in lines:
                self.events.put(Event.of(json.loads(line)))

    def __enter__(self) -> Self:
        self.process.start()
        self._listen()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._feed is not None:
            self._feed.close()
        self.process.stop()
        if exc is not None:
            print(f"--- the provider said:\n{self.process.log()[-3000:]}")
