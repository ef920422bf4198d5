"""node oidc-provider as a peer: strict rotation, real pages, faults on request, ground truth.

with OidcProvider(tmp_path, access_token_ttl=5) as provider:
    provider.fault("status", status=503, times=2)
    ...
    assert provider.refreshes()[-1].succeeded
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.peers.process import NODE_DIR, Process, answers, free_port, http, node
from tests.peers.record import Request, read_requests


class OidcProvider:
    """An authorization server at `issuer`. Its state is in `directory` and survives a restart."""

    # A client that may ask /token/introspection about everybody's tokens.
    resource_server = ("resource-server", "resource-server-secret")

    def __init__(
        self,
        directory: Path,
        *,
        access_token_ttl: int = 3600,
        refresh_token_ttl: int = 14 * 24 * 3600,
        default_resource: str | None = None,
        port: int | None = None,
        clients: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """`clients` are registrations made beforehand, in RFC 7591's words."""
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        control_port = free_port()
        self.control_url = f"http://127.0.0.1:{control_port}"
        options = {
            "port": self.port,
            "control_port": control_port,
            "data_dir": str(directory),
            "access_token_ttl": access_token_ttl,
            "refresh_token_ttl": refresh_token_ttl,
            "default_resource": default_resource,
            "clients": list(clients),
        }
        self.process = Process(
            "oidc_provider",
            [node(), str(NODE_DIR / "oidc_provider.mjs"), json.dumps(options)],
            log_dir=directory,
            ready=lambda: answers(f"{self.control_url}/ready"),
        )

    @property
    def introspection_endpoint(self) -> str:
        return f"{self.issuer}/token/introspection"

    # --- its life -----------------------------------------------------------------------------

    def start(self) -> None:
        self.process.start()

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def restart(self) -> None:
        """Killed and started again; grants, clients and keys are kept, faults and settings not."""
        self.process.restart()

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

    # --- what it does wrong -------------------------------------------------------------------

    def fault(
        self,
        action: str,
        *,
        path: str = "/token",
        when: str = "before",
        times: int | None = 1,
        grant_type: str | None = None,
        **details: Any,
    ) -> None:
        """Queue a fault for the next `times` requests (None: all) to `path` ("*": any).

        action: "status" (status=503, headers={}, body={} or text), "hang", "drop", "delay"
        (seconds=), "cut" (half an answer), "edit" (set={}, remove=[] on the JSON answer).
        when: "before" the provider sees the request, or "after" it has done its work.
        """
        fault = {"action": action, "path": path, "when": when, "times": times, **details}
        if grant_type is not None:
            fault["grant_type"] = grant_type
        self._control("POST", "/faults", fault)

    def clear_faults(self) -> None:
        self._control("DELETE", "/faults")

    def configure(self, **settings: Any) -> None:
        """Change access_token_ttl, refresh_token_ttl (seconds) or rotate (bool) from now on."""
        self._control("POST", "/settings", settings)

    def revoke_grants(self) -> list[str]:
        """End every grant, as users do on a provider's own pages. Returns the ids of the grants."""
        ended: list[str] = self._control("POST", "/revoke-grants", {})
        return ended

    def forget_client(self, client_id: str) -> None:
        """Delete a registration: the provider then answers invalid_client."""
        self._control("POST", "/forget-client", {"client_id": client_id})

    # --- what it really did -------------------------------------------------------------------

    def requests(self) -> list[Request]:
        return read_requests(self.directory / "requests.jsonl")

    def token_requests(self) -> list[Request]:
        return [request for request in self.requests() if request.path == "/token"]

    def refreshes(self) -> list[Request]:
        return [found for found in self.token_requests() if found.grant_type == "refresh_token"]

    def logins(self) -> list[Request]:
        """Logins completed: codes (or device codes) exchanged for tokens."""
        return [
            found
            for found in self.token_requests()
            if found.grant_type != "refresh_token" and found.succeeded
        ]

    def _control(self, method: str, path: str, body: Any = None) -> Any:
        with http(5.0) as client:
            answer = client.request(method, f"{self.control_url}{path}", json=body)
        answer.raise_for_status()
        return answer.json()
