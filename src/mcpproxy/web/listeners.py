"""Binding sockets for uvicorn, and saying in full what was in the way.

Law: a taken port names who has it, as far as the system tells us, and what to do.
"""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mcpproxy.config.listen import Listen
from mcpproxy.core.errors import NotPermitted, PortInUse, UsageError

BACKLOG: Final = 1024
DISK_TAKES_NOTHING: Final = frozenset({errno.EROFS, errno.ENOSPC, errno.EDQUOT})

_log = logging.getLogger("mcpproxy.web")
KEEP_ALIVE: Final = timedelta(seconds=5)


class QuietServer(uvicorn.Server):
    """uvicorn without signal handlers (signals belong to the process) and without its request
    logs, which hold queries and so login codes, and which no level may bring back.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        for name in ("uvicorn.access", "uvicorn.asgi"):
            logging.getLogger(name).disabled = True
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def until_started(self, serving: "asyncio.Task[None]") -> None:
        """Wait until connections are accepted; raises what `serving` raises."""
        while not self.started:
            if serving.done():
                await serving
                return
            await asyncio.sleep(0.005)


def serving(
    app: ASGIApp,
    *,
    protocol: type[asyncio.Protocol] = HttpToolsProtocol,
    keep_alive: timedelta = KEEP_ALIVE,
    grace: timedelta,
    at_once: int | None = None,
) -> uvicorn.Config:
    """How we let uvicorn serve: no proxy headers, no banner, no request logs, no lifespan."""
    return uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_keep_alive=int(keep_alive.total_seconds()),
        timeout_graceful_shutdown=int(grace.total_seconds()),
        limit_concurrency=at_once,
    )


def bind_tcp(listen: Listen) -> socket.socket:
    """Raises PortInUse, NotPermitted, UsageError."""
    try:
        found = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise UsageError(
            f"{listen.host!r} is not a host to listen on: {error.strerror}",
            next_step="Write HOST:PORT, such as 127.0.0.1:8080.",
        ) from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_EXCLUSIVEADDRUSE", 0), 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _bind_error(listen, error) from error
    listener.setblocking(False)
    return listener


def bind_unix(path: Path) -> socket.socket | None:
    """A 0600 socket in a 0700 directory; one that a dead daemon left is replaced. None where the
    disk takes no new file: what is stored is served all the same, and commands come over TCP.

    Only the holder of the data dir's lock may call this. Raises NotPermitted.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = path.parent.stat()
        if owner.st_uid != os.getuid():
            raise PermissionError(errno.EPERM, "its directory belongs to somebody else")
        path.parent.chmod(0o700)
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno in DISK_TAKES_NOTHING:
            _log.warning("no Unix socket for commands at %s: %s", path, error.strerror)
            return None
        raise NotPermitted(
            f"The socket {path} cannot be made: {error.strerror}",
            next_step="Make its directory yours, or choose another with --data-dir.",
        ) from error
    listener.setblocking(False)
    return listener


def _bind_error(listen: Listen, error: OSError) -> PortInUse | NotPermitted | UsageError:
    if error.errno == errno.EADDRINUSE:
        holder = port_holder(listen.port)
        by = f" by {holder}" if holder else " by another program"
        return PortInUse(
            f"{listen} is taken{by}.",
            next_step=f"Stop it, or choose another port: mcpproxy serve --listen "
            f"{Listen(listen.host, (listen.port % 65535) + 1)}",
        )
    if error.errno == errno.EACCES:
        return NotPermitted(
            f"This user may not listen on {listen}.",
            next_step="Choose a port above 1023 with --listen.",
        )
    return UsageError(
        f"{listen} is no address of this machine: {error.strerror}",
        next_step="Write HOST:PORT, such as 127.0.0.1:8080.",
    )


def port_holder(port: int) -> str:
    """`python3 (pid 4711)`, or nothing when the system does not tell us (other user, no /proc)."""
    if sys.platform != "linux":
        return ""
    inodes = _listening_inodes(port)
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            for descriptor in (directory / "fd").iterdir():
                target = os.readlink(descriptor)
                if target.startswith("socket:[") and target[8:-1] in inodes:
                    name = (directory / "comm").read_text(errors="replace").strip()
                    return f"{name} (pid {directory.name})"
        except OSError:
            continue
    return ""


def _listening_inodes(port: int) -> frozenset[str]:
    wanted, found = f":{port:04X}", set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[1].endswith(wanted) and fields[3] == "0A":
                found.add(fields[9])
    return frozenset(found)
