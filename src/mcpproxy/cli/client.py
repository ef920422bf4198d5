"""The daemon's REST API over its Unix socket, else over loopback with the key.

Law: http.client and nothing more, so that a command starts fast; an answer that says no becomes
the error of core.errors that it was inside of the daemon.
"""

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from mcpproxy.config.locate import Reach
from mcpproxy.core import errors
from mcpproxy.core.errors import McpproxyError, NotReady
from mcpproxy.core.text import escape_lines
from mcpproxy.storage.ownership import find_daemon
from mcpproxy.web.address import parse_listen, socket_path

CONNECT_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 60.0
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
        record = find_daemon(reach.location.data_dir)
        self._key = reach.api_key
        self._listen = record.listen if record else reach.listen
        known = record.socket if record else ""
        self._socket = Path(known) if known else socket_path(reach.location.data_dir)

    def get(self, path: str, *, seconds: float = ANSWER_SECONDS) -> Any:
        """The `data` of the answer. Raises DaemonAbsent, RemoteError."""
        return self._data("GET", path, None, seconds)

    def post(self, path: str, body: object = None, *, seconds: float = ANSWER_SECONDS) -> Any:
        return self._data("POST", path, body, seconds)

    def delete(self, path: str) -> Any:
        return self._data("DELETE", path, None, ANSWER_SECONDS)

    def stream(self, path: str) -> Iterator[str]:
        """The lines of a text answer as they come, until the daemon ends it."""
        connection = self._connect(None)
        try:
            answer = _exchange(connection, "GET", path, None, self._headers())
            if answer.status != 200:
                raise RemoteError(_decoded(answer.read(MAX_ANSWER)))
            connection_socket = connection.sock
            if connection_socket is not None:
                connection_socket.settimeout(None)
            for line in answer:
                yield line.decode(errors="replace").rstrip("\n")
        finally:
            connection.close()

    def _data(self, method: str, path: str, body: object, seconds: float) -> Any:
        connection = self._connect(seconds)
        try:
            payload = None if body is None else json.dumps(body).encode()
            answer = _exchange(connection, method, path, payload, self._headers())
            fields = _decoded(answer.read(MAX_ANSWER))
        except TimeoutError as error:
            raise NotReady(
                f"The daemon did not answer within {seconds:.0f} s.",
                next_step="`mcpproxy status` tells how it is doing.",
            ) from error
        finally:
            connection.close()
        if not fields.get("success"):
            raise RemoteError(fields)
        return fields["data"]

    def _connect(self, seconds: float | None) -> http.client.HTTPConnection:
        """Raises DaemonAbsent."""
        if hasattr(socket, "AF_UNIX") and self._socket.exists():
            local = _UnixConnection(self._socket, seconds)
            try:
                local.connect()
            except OSError:
                local.close()
            else:
                return local
        listen = parse_listen(self._listen)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)  # noqa: S104
        connection = http.client.HTTPConnection(host, listen.port, timeout=CONNECT_SECONDS)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise DaemonAbsent(
                f"No mcpproxy daemon answers at {listen} or at {self._socket}.",
                next_step="Start one: mcpproxy serve",
            ) from error
        connection.sock.settimeout(seconds)
        return connection

    def _headers(self) -> Mapping[str, str]:
        return {"X-API-Key": self._key} if self._key else {}


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, seconds: float | None) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CONNECT_SECONDS)
        self.sock.connect(str(self._path))
        self.sock.settimeout(self.timeout)


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    payload: bytes | None,
    headers: Mapping[str, str],
) -> http.client.HTTPResponse:
    sent = {**headers, "Content-Type": "application/json"} if payload is not None else headers
    try:
        connection.request(method, path, payload, dict(sent))
        return connection.getresponse()
    except TimeoutError:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise DaemonAbsent(
            "The daemon went away while it was asked, or another program has its port.",
            next_step="`mcpproxy doctor` looks at the port; `mcpproxy serve` starts one.",
        ) from error


def _decoded(body: bytes) -> Mapping[str, Any]:
    try:
        fields = json.loads(body)
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or "success" not in fields:
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
