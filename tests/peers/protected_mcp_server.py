"""An MCP server that wants a login, as a peer: RFC 9728 metadata, tokens checked at their issuer.

with OidcProvider(tmp_path) as provider, ProtectedMcpServer(tmp_path, provider) as server:
    server.url          # the MCP endpoint, which is also the resource of its tokens
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from tests.peers.process import Process, answers, free_port, http


class Issuer(Protocol):
    """What this server must know of its authorization server."""

    issuer: str
    resource_server: tuple[str, str]

    @property
    def introspection_endpoint(self) -> str: ...


@dataclass(frozen=True, slots=True)
class McpRequest:
    """One HTTP request that reached the MCP endpoint; `token` is a fingerprint."""

    at: float
    method: str
    token: str | None
    status: int | None


class ProtectedMcpServer:
    """Tools: whoami (JSON), echo(text), add(a, b). Scope wanted: mcp."""

    scope = "mcp"

    def __init__(
        self,
        directory: Path,
        issuer: Issuer,
        *,
        port: int | None = None,
        name: str = "protected_mcp_server",
    ) -> None:
        self.port = port or free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.origin}/mcp"
        self.process = Process(
            name,
            [
                sys.executable,
                "-m",
                "tests.peers.protected_mcp_program",
                f"--port={self.port}",
                f"--issuer={issuer.issuer}",
                f"--introspection-endpoint={issuer.introspection_endpoint}",
                f"--client={':'.join(issuer.resource_server)}",
            ],
            log_dir=directory,
            ready=lambda: answers(f"{self.origin}/_control/ready"),
        )

    @property
    def metadata_url(self) -> str:
        return f"{self.origin}/.well-known/oauth-protected-resource/mcp"

    def start(self) -> None:
        """Start, also again after `stop`: the port stays the same."""
        self.process.start()

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def restart(self) -> None:
        self.process.restart()

    def answer(
        self,
        status: int,
        *,
        times: int | None = 1,
        body: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Answer the next `times` requests (None: all) to the endpoint like this, whoever asks."""
        answer = {"status": status, "times": times, "body": body, "headers": headers}
        self._control("POST", "/_control/answers", answer)

    def clear_answers(self) -> None:
        self._control("DELETE", "/_control/answers")

    def requests(self) -> list[McpRequest]:
        """Every request that this run of the server has seen, oldest first."""
        return [McpRequest(**found) for found in self._control("GET", "/_control/requests")]

    def _control(self, method: str, path: str, body: Any = None) -> Any:
        with http(5.0) as client:
            answer = client.request(method, f"{self.origin}{path}", json=body)
        answer.raise_for_status()
        return answer.json()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
