"""Where the daemon listens: the Unix socket's path and the form of `HOST:PORT`.

Law: the command line and the daemon come to the same path from the same data dir, and neither
loads a web framework for it.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcpproxy.core.errors import UsageError

MAX_SOCKET_PATH: Final = 100
"""Linux takes 107 bytes, macOS 103."""


@dataclass(frozen=True, slots=True)
class Listen:
    """A TCP address to listen on. `host` is a name or an address without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_listen(text: str) -> Listen:
    """`127.0.0.1:8080`, `[::1]:8080`, `:8080` (loopback), `8080`. Raises UsageError."""
    host, colon, port = text.strip().rpartition(":")
    if not colon:
        host, port = "", text.strip()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        port = ""
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise UsageError(
            f"{text!r} is not an address to listen on.",
            next_step="Write HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080.",
        )
    return Listen(host or "127.0.0.1", int(port))


def socket_path(data_dir: Path) -> Path:
    """The daemon's Unix socket. A data dir whose path is too long for one gets a directory of
    its own for temporary files, named after the data dir.
    """
    path = data_dir / "mcpproxy.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    import hashlib
    import tempfile

    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"mcpproxy-{owner}" / f"{digest}.sock"
