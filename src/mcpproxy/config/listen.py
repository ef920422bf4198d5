"""The address the daemon listens on: `HOST:PORT` as people write it.

Law: one form everywhere, in the file, on the command line and between processes. Imports next to
nothing: every command reads this.
"""

import re
from typing import Final, NamedTuple

from mcpproxy.core.errors import UsageError

ALLOWED: Final = 'HOST:PORT, such as "127.0.0.1:8080" or "[::1]:8080"'
_ADDRESS: Final = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<host>[^\s/@:\[\]]*)):(?P<port>\d{1,5})", re.ASCII
)
MAX_PORT: Final = 65535


class Listen(NamedTuple):
    """A TCP address to listen on. `host` is a name or an address without brackets; port 0 asks
    the system for a free one.
    """

    host: str = "127.0.0.1"
    port: int = 8080

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


DEFAULT_LISTEN: Final = Listen()


def parse_listen(text: str) -> Listen:
    """`HOST:PORT`, `[IPv6]:PORT` or `:PORT` (loopback). Raises ValueError: what is allowed."""
    found = _ADDRESS.fullmatch(text.strip())
    if found is None or int(found["port"]) > MAX_PORT:
        raise ValueError(ALLOWED)
    return Listen(found["v6"] or found["host"] or "127.0.0.1", int(found["port"]))


def read_listen(text: str) -> Listen:
    """The same, for what does not come from the file. Raises UsageError."""
    try:
        return parse_listen(text)
    except ValueError as error:
        raise UsageError(
            f'"{text}" is not an address to listen on', next_step=f"write {error}"
        ) from None
