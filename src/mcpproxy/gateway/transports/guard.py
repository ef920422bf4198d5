"""Ends our child processes when we are no more there to do it, even after `kill -9`.

POSIX: one small program of its own session holds the other end of a pipe; when the pipe closes,
we are gone, and it ends every process group it was told of. Windows: a job object that dies with
us. Law: one guard for all children, and none before the first child.
"""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Protocol

from mcpproxy.gateway.transports import process

_PROGRAM = Path(__file__).with_name("guard_program.py")


class ProcessGuard(Protocol):
    async def start(self) -> None:
        """Be ready to watch. Raises OSError when that is not possible."""
        ...

    def watch(self, group: int) -> None: ...

    def unwatch(self, group: int) -> None: ...

    async def close(self) -> None:
        """Everything that is still watched is ended now."""
        ...


class PipeGuard:
    """The guard on Linux and macOS."""

    def __init__(self) -> None:
        self._program: Process | None = None
        self._groups: set[int] = set()
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        async with self._starting:
            if self._program is not None and self._program.returncode is None:
                return
            self._program = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                str(_PROGRAM),
                stdin=PIPE,
                stdout=DEVNULL,
                stderr=DEVNULL,
                env=process.safe_environment(),
                cwd="/",
                start_new_session=True,
            )
            for group in self._groups:
                self._tell(b"+%d\n" % group)

    def watch(self, group: int) -> None:
        self._groups.add(group)
        self._tell(b"+%d\n" % group)

    def unwatch(self, group: int) -> None:
        self._groups.discard(group)
        self._tell(b"-%d\n" % group)

    def _tell(self, line: bytes) -> None:
        program = self._program
        if program is not None and program.stdin is not None and program.returncode is None:
            program.stdin.write(line)

    async def close(self) -> None:
        program, self._program = self._program, None
        if program is None or program.stdin is None:
            return
        program.stdin.close()
        await program.wait()


def make_guard() -> ProcessGuard:
    if sys.platform == "win32":
        from mcpproxy.gateway.transports.job_object import JobGuard

        return JobGuard()
    return PipeGuard()
