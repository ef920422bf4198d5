"""A child process as an upstream: one message a line on its stdin and stdout.

Law: never orphaned. The child leads its own process group; the group is ended as a whole when
the link closes, and by a guard when we are killed. Its stderr goes to the upstream's log.
"""

import asyncio
import contextlib
import shutil
import sys
import time
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mcpproxy.core.errors import ProtocolError
from mcpproxy.core.model import Upstream
from mcpproxy.gateway.failures import Broken, CommandFailed, LinkFailed, Misconfigured
from mcpproxy.gateway.link import Inbox, Site
from mcpproxy.gateway.text import short
from mcpproxy.gateway.throttle import BYTES_A_SECOND, BYTES_AT_ONCE, Bucket
from mcpproxy.gateway.transports import process
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.handshake import Agreed
from mcpproxy.gateway.wire.jsonrpc import Kind, Members
from mcpproxy.gateway.wire.lines import CHUNK, LineSplitter
from mcpproxy.gateway.wire.pending import Pending
from mcpproxy.gateway.wire.sse import one_line

_MAX_LOG_LINE: Final = 8 * 1024
_LAST_WORDS: Final = 3
# After stdin is closed a well-behaved server ends by itself (MCP lifecycle, "Shutdown").
_CLOSING_SECONDS: Final = 0.5
# What its pipes still hold after a process has ended is read within this.
_DRAIN_SECONDS: Final = 0.5
# A pipe that is closed mostly means that the process has ended: how is known a little later.
_VERDICT_SECONDS: Final = _DRAIN_SECONDS + 0.5


class StdioLink:
    """One running child process."""

    closing_cancels = False

    def __init__(self, site: Site, inbox: Inbox, child: Process) -> None:
        self._site = site
        self._inbox = inbox
        self._child = child
        self._pending = Pending()
        self._writing = asyncio.Lock()
        self._last_words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._ended: asyncio.Future[CommandFailed] = asyncio.get_running_loop().create_future()
        self._stdin, stdout, stderr = _pipes(child)
        site.guard.watch(child.pid)
        self._readers = (
            asyncio.create_task(self._read_messages(stdout)),
            asyncio.create_task(self._read_log(stderr)),
        )
        self._watcher = asyncio.create_task(self._watch())

    async def exchange(
        self, request_id: int, body: bytes, headers: Mapping[str, str] | None = None
    ) -> Members:
        future = self._pending.expect(request_id)
        try:
            await self.send(body)
            return await future
        finally:
            future.cancel()

    async def send(self, body: bytes) -> None:
        """One writer at a time, so that a child which does not read holds one message, not all."""
        async with self._writing:
            if self._ended.done():
                raise self._verdict()
            try:
                self._stdin.write(one_line(body) + b"\n")
                await self._stdin.drain()
            except (OSError, RuntimeError) as error:  # RuntimeError: uvloop's, of a closed pipe
                await asyncio.wait([self._ended], timeout=_VERDICT_SECONDS)
                raise self._verdict() from error

    def agreed(self, agreed: Agreed) -> None:
        """Nothing on this wire depends on the version."""

    async def close(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            self._stdin.close()
        patience = self._site.limits.goodbye.total_seconds()
        for step, seconds in ((None, _CLOSING_SECONDS), (process.terminate, patience)):
            if step is not None:
                step(self._child.pid)
            await asyncio.wait([self._watcher], timeout=seconds)
            if self._watcher.done():
                return
        process.kill(self._child.pid)
        await asyncio.wait([self._watcher], timeout=patience)

    async def _watch(self) -> None:
        """The child's end: whoever waits is told, and the rest of its group goes with it."""
        status = await self._child.wait()
        await asyncio.wait(self._readers, timeout=_DRAIN_SECONDS)
        for reader in self._readers:
            reader.cancel()
        failure = CommandFailed(
            _epitaph(status, self._last_words), next_step="the server's log tells more"
        )
        self._ended.set_result(failure)
        self._site.log(failure.message)
        self._pending.fail(failure)
        self._inbox.lost(failure)
        await process.end_group(self._child.pid, self._site.limits.goodbye.total_seconds())
        self._site.guard.unwatch(self._child.pid)

    def _verdict(self) -> LinkFailed:
        return self._ended.result() if self._ended.done() else Broken("the process reads no more")

    async def _read_messages(self, stdout: StreamReader) -> None:
        splitter = LineSplitter(self._site.limits.max_message)
        dropped = 0
        while chunk := await stdout.read(CHUNK):
            for line in splitter.feed(chunk):
                self._take(line)
            if splitter.dropped != dropped:
                dropped = splitter.dropped
                # Whose answer it was nobody can tell any more.
                limit = self._site.limits.max_message
                self._pending.fail(ProtocolError(f"a message is larger than {limit} bytes"))

    def _take(self, line: bytes) -> None:
        try:
            messages = jsonrpc.parse(line)
        except ProtocolError as error:
            self._pending.unreadable(line, error)
            self._site.log(f"stdout: {short(line[:400].decode('utf-8', 'replace'))}")
            return
        for message in messages:
            if jsonrpc.kind(message) is not Kind.RESPONSE:
                self._inbox.received(message, None)
            elif not self._pending.settle(message):
                self._inbox.received(message, None)
                self._site.log("ignored a response that nobody waits for")

    async def _read_log(self, stderr: StreamReader) -> None:
        splitter = LineSplitter(_MAX_LOG_LINE)
        pace = Bucket(BYTES_A_SECOND, BYTES_AT_ONCE, time.monotonic)
        while chunk := await stderr.read(CHUNK):
            for line in splitter.feed(chunk):
                words = line.decode("utf-8", "replace")
                self._last_words.append(short(words))
                self._site.log(f"stderr: {words}")
            # A process that writes faster than anybody reads waits, as it would at a terminal.
            if (debt := pace.owe(len(chunk))) > 0:
                await asyncio.sleep(debt)


def _pipes(child: Process) -> tuple[StreamWriter, StreamReader, StreamReader]:
    if child.stdin is None or child.stdout is None or child.stderr is None:
        raise CommandFailed("the process was started without pipes")
    return child.stdin, child.stdout, child.stderr


def _epitaph(status: int, last_words: deque[str]) -> str:
    how = f"ended with exit code {status}" if status >= 0 else f"was killed by signal {-status}"
    said = " | ".join(last_words)
    return short(f"the process {how}" + (f": {said}" if said else ""), 400)


def environment(upstream: Upstream) -> dict[str, str]:
    """What the child sees: a minimal safe environment and what is configured, nothing else."""
    env = process.safe_environment()
    env.update({name: value.reveal() for name, value in upstream.env.items()})
    return env


def program(upstream: Upstream, env: Mapping[str, str]) -> str:
    """The full path of the command. Raises CommandFailed when there is none."""
    command = upstream.command or ""
    folder = upstream.working_dir
    if folder is not None and not Path(folder).is_dir():
        raise Misconfigured(
            f"working_dir is not a directory: {short(folder)}",
            next_step="create it, or correct working_dir in the configuration",
        )
    if folder is not None and not Path(command).is_absolute() and Path(command).parent != Path():
        command = str(Path(folder) / command)
    found = shutil.which(command, path=env.get("PATH"))
    if found is None:
        raise CommandFailed(
            f"command not found: {short(command)}",
            next_step="install it, give its full path, or set PATH in the server's env",
        )
    return found


def check_start(upstream: Upstream) -> None:
    """What no process can be given. Raises Misconfigured, without the values."""
    given = {"command": upstream.command or "", "working_dir": upstream.working_dir or ""}
    given |= {f"args[{n}]": argument for n, argument in enumerate(upstream.args)}
    given |= {f"env.{name}": name + value.reveal() for name, value in upstream.env.items()}
    places = [place for place, text in given.items() if "\0" in text]
    said = f"{short(', '.join(places))} holds a NUL character"
    if not places:
        places = [name for name in upstream.env if "=" in name or not name]
        said = f"{short(repr(places))[1:-1]} is not the name of an environment variable"
    if places:
        raise Misconfigured(said, next_step="correct it in the configuration of this server")


async def open_stdio(site: Site, inbox: Inbox) -> StdioLink:
    check_start(site.upstream)
    env = environment(site.upstream)
    path = program(site.upstream, env)
    await site.guard.start()
    try:
        child = await asyncio.create_subprocess_exec(
            path,
            *site.upstream.args,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=env,
            cwd=site.upstream.working_dir,
            start_new_session=sys.platform != "win32",
            creationflags=process.CREATION_FLAGS,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CommandFailed(f"{short(path)} could not be started: {short(reason)}") from error
    return StdioLink(site, inbox, child)
