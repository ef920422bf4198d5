"""The daemon's REST API over its Unix socket, else over loopback with the key.

Law: sockets and JSON and nothing more, so that a command starts fast; an answer that says no
becomes the error of core.errors that it was inside of the daemon.
"""

import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from mcpproxy.cli import wire
from mcpproxy.cli.trust import is_ours, is_private
from mcpproxy.config.listen import Listen, read_listen
from mcpproxy.config.locate import Reach
from mcpproxy.core import errors
from mcpproxy.core.errors import McpproxyError, NotReady
from mcpproxy.core.text import escape_lines
from mcpproxy.storage.ownership import find_daemon
from mcpproxy.web.address import socket_path

CONNECT_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 60.0
INTERNAL_ERROR: Final = 500
MAX_ANSWER: Final = 64 * 1024 * 1024


class DaemonAbsent(NotReady):
    """No daemon answers; commands that can do without it do."""

    code = "daemon_absent"
    exit_code = 1


class RemoteError(McpproxyError):
    """An error that the daemon reported and that has a code of its own there."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__(
            escape_lines(str(fields.get("error", "The daemon answered with an error."))),
            next_step=escape_lines(str(fields.get("next_step", ""))),
        )
        self.fields = fields
        kind = _BY_CODE.get(str(fields.get("code")), McpproxyError)
        self.exit_code = kind.exit_code  # type: ignore[misc]

    def as_dict(self) -> Mapping[str, object]:
        more = {
            key: value
            for key, value in self.fields.items()
            if key not in ("success", "error", "next_step")
        }
        return {"code": "failed", "message": self.message, "next_step": self.next_step, **more}


class Client:
    """One daemon. Every call is a connection of its own."""

    def __init__(self, reach: Reach) -> None:
        self._data_dir = reach.location.data_dir
        self._record = find_daemon(self._data_dir)
        self._key = reach.api_key
        self._listen = reach.listen
        known = self._record.socket if self._record else ""
        self._socket = Path(known) if known else socket_path(self._data_dir)

    def get(self, path: str, *, seconds: float = ANSWER_SECONDS) -> Any:
        """The `data` of the answer. Raises DaemonAbsent, RemoteError."""
        return self._data("GET", path, None, seconds)

    def post(self, path: str, body: object = None, *, seconds: float = ANSWER_SECONDS) -> Any:
        return self._data("POST", path, body, seconds)

    def delete(self, path: str) -> Any:
        return self._data("DELETE", path, None, ANSWER_SECONDS)

    def stream(self, path: str) -> Iterator[str]:
        """The lines of a text answer as they come, until the daemon ends it."""
        with self._connect() as peer:
            answer = self._exchange(peer, "GET", path, None)
            if answer.status != 200:
                raise RemoteError(_decoded(answer))
            peer.settimeout(None)
            for line in answer.lines():
                yield line.decode(errors="replace")

    def _data(self, method: str, path: str, body: object, seconds: float) -> Any:
        payload = None if body is None else json.dumps(body).encode()
        with self._connect() as peer:
            peer.settimeout(seconds)
            try:
                fields = _decoded(self._exchange(peer, method, path, payload))
            except TimeoutError as error:
                raise NotReady(
                    f"The daemon did not answer within {seconds:g} s.",
                    next_step=self._if_it_hangs(),
                ) from error
            except (OSError, wire.NotHttp) as error:
                raise DaemonAbsent(
                    "The daemon went away while it was asked, or another program has its port.",
                    next_step="`mcpproxy doctor` tells more; `mcpproxy serve` starts one.",
                ) from error
        if not fields.get("success"):
            raise RemoteError(fields)
        return fields["data"]

    def _if_it_hangs(self) -> str:
        process = f"process {self._record.pid}" if self._record else "it"
        return f"Its log tells more. If it hangs, end {process} and start `mcpproxy serve` again."

    def _exchange(
        self, peer: socket.socket, method: str, path: str, payload: bytes | None
    ) -> wire.Answer:
        headers = {"X-API-Key": self._key} if self._key else {}
        return wire.exchange(peer, method, path, headers, payload)

    def _connect(self) -> socket.socket:
        """The Unix socket, else the TCP address. Raises DaemonAbsent."""
        if hasattr(socket, "AF_UNIX") and is_private(self._socket, self._data_dir):
            local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                local.settimeout(CONNECT_SECONDS)
                local.connect(str(self._socket))
            except OSError:
                local.close()
            else:
                return local
        listen = self._tcp_address()
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)  # noqa: S104
        try:
            return socket.create_connection((host, listen.port), CONNECT_SECONDS)
        except OSError as error:
            raise DaemonAbsent(
                f"No mcpproxy daemon answers at {listen} or at {self._socket}.",
                next_step="Start one: mcpproxy serve",
            ) from error

    def _tcp_address(self) -> Listen:
        """Where the daemon that lives listens. Without one, whoever has the port is a stranger."""
        if self._record is None:
            raise DaemonAbsent(
                f"No mcpproxy daemon runs on {self._data_dir}.",
                next_step="Start one: mcpproxy serve",
            )
        if self._record.listen:
            return read_listen(self._record.listen)
        # Nothing is noted yet while a daemon starts, nor ever on a read-only disk.
        listen = read_listen(self._listen)
        if not is_ours(listen.port):
            raise DaemonAbsent(
                f"The mcpproxy daemon on {self._data_dir} does not say yet where it listens.",
                next_step="Try again in a moment.",
            )
        return listen


def segment(name: str) -> str:
    """A name as one segment of a path, or a value of a query."""
    from urllib.parse import quote

    # What the terminal sent need not be UTF-8.
    return quote(name, safe="", errors="surrogateescape")


def _decoded(answer: wire.Answer) -> Mapping[str, Any]:
    try:
        fields = json.loads(answer.read(MAX_ANSWER))
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or "success" not in fields:
        if answer.status >= INTERNAL_ERROR:
            raise McpproxyError(
                f"The daemon failed: it answered HTTP {answer.status}.",
                next_step="Its log tells more; `mcpproxy status` tells how it is doing.",
            )
        raise DaemonAbsent(
            "What answers on this port is not mcpproxy.",
            next_step="Set another `listen` in the configuration, then start `mcpproxy serve`.",
        )
    return fields


def _family(root: type[McpproxyError]) -> Iterator[type[McpproxyError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _family(kind)


_BY_CODE: Final = {
    kind.code: kind for kind in _family(errors.McpproxyError) if kind is not RemoteError
}
