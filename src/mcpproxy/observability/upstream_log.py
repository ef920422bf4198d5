"""Every upstream's own log: what it wrote to stderr and what happened to its connection.

Law: a server's words are hostile text: one line each, escaped, redacted, of bounded length; and a
server that never stops talking costs a bounded file and a bounded queue.
"""

import asyncio
import hashlib
import logging
import re
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mcpproxy.core.ports import Clock
from mcpproxy.core.text import escape_unsafe, shorten
from mcpproxy.observability.files import PrivateFileHandler
from mcpproxy.observability.redaction import Redactor

MAX_LINE: Final = 4096
KEPT_LINES: Final = 1000
FOLLOWER_LINES: Final = 1000
FILE_BYTES: Final = 5 * 1024 * 1024
FILE_BACKUPS: Final = 2
_TAIL_BYTES: Final = 256 * 1024
_FILE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

_log = logging.getLogger("mcpproxy.upstream_log")


@dataclass(slots=True)
class _ServerLog:
    lines: deque[str]
    file: PrivateFileHandler
    followers: set["asyncio.Queue[str]"] = field(default_factory=set)


class UpstreamLogs:
    """The sink for the gateway (`write`) and the source for REST and CLI (`tail`, `follow`)."""

    def __init__(self, directory: Path, clock: Clock, redactor: Redactor) -> None:
        self._directory = directory
        self._clock = clock
        self._redactor = redactor
        self._logs: dict[str, _ServerLog] = {}

    def write(self, server: str, line: str) -> None:
        """Keep one line. Never raises for what the file system does."""
        log = self._of(server)
        stamp = self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        text = shorten(escape_unsafe(self._redactor.text(line.rstrip("\r\n"))), MAX_LINE)
        entry = f"{stamp}Z {text}"
        log.lines.append(entry)
        log.file.handle(logging.makeLogRecord({"msg": entry}))
        for follower in tuple(log.followers):
            if follower.full():
                follower.get_nowait()
            follower.put_nowait(entry)

    def tail(self, server: str, lines: int) -> Sequence[str]:
        kept = self._of(server).lines
        return list(kept)[-lines:] if lines > 0 else []

    async def follow(self, server: str) -> AsyncIterator[str]:
        """Lines as they come, for ever; a reader that is too slow loses the oldest."""
        log = self._of(server)
        mine: asyncio.Queue[str] = asyncio.Queue(FOLLOWER_LINES)
        log.followers.add(mine)
        try:
            while True:
                yield await mine.get()
        finally:
            log.followers.discard(mine)

    def close(self) -> None:
        for log in self._logs.values():
            log.file.close()
        self._logs.clear()

    def _of(self, server: str) -> _ServerLog:
        log = self._logs.get(server)
        if log is None:
            path = log_path(self._directory, server)
            file = PrivateFileHandler(path, max_bytes=FILE_BYTES, backups=FILE_BACKUPS)
            file.handleError = _file_trouble  # type: ignore[method-assign]
            log = _ServerLog(deque(read_tail(path, KEPT_LINES), KEPT_LINES), file)
            self._logs[server] = log
        return log


def log_path(directory: Path, server: str) -> Path:
    """The server's file; a name that could mean something to a file system is replaced."""
    if not _FILE_NAME.fullmatch(server):
        digest = hashlib.sha256(server.encode()).hexdigest()[:12]
        readable = re.sub(r"[^a-z0-9_-]+", "-", server.lower()).strip("-")[:32]
        server = f"{readable or 'server'}-{digest}"
    return directory / f"server-{server}.log"


def read_tail(path: Path, lines: int) -> Sequence[str]:
    """The last lines of a log file; none when it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode(errors="backslashreplace")
    except OSError:
        return []
    return text.splitlines()[-lines:] if lines > 0 else []


def _file_trouble(record: logging.LogRecord) -> None:
    """The disk is full or gone: the lines in memory go on, and the program's own log tells."""
    _log.warning("an upstream's log file cannot be written", exc_info=True)
