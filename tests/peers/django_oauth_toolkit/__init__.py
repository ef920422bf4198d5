"""django-oauth-toolkit as a peer: rotation with a grace window, an issuer with a path.

with DjangoProvider(tmp_path, access_token_ttl=5, grace_period=30) as provider: ...
"""

import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.peers.process import Process, answers, free_port
from tests.peers.record import Request, read_requests


class DjangoProvider:
    """An authorization server at `issuer`, which has a path. State: an SQLite file in `directory`.

    `public_client` and `confidential_client` are registered beforehand for any loopback redirect
    to `/callback` or `/oauth/callback` (the port is free, RFC 8252); others register themselves.
    """

    public_client = "public-client"
    confidential_client = ("confidential-client", "confidential-client-secret")
    resource_server = ("resource-server", "resource-server-secret")
    scopes = ("mcp", "mcp:read", "mcp:write")

    def __init__(
        self,
        directory: Path,
        *,
        access_token_ttl: int = 3600,
        grace_period: int = 30,
        port: int | None = None,
    ) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.issuer = f"{self.origin}/o"
        options = {
            "port": self.port,
            "data_dir": str(directory),
            "access_token_ttl": access_token_ttl,
            "grace_period": grace_period,
            "public_client": self.public_client,
            "confidential_client": self.confidential_client,
            "resource_server": self.resource_server,
            "scopes": self.scopes,
        }
        self.process = Process(
            "django_oauth_toolkit",
            [sys.executable, "-m", "tests.peers.django_oauth_toolkit.serve"],
            log_dir=directory,
            env={"PEER_OPTIONS": json.dumps(options)},
            ready=lambda: answers(f"{self.origin}/.well-known/oauth-authorization-server/o"),
        )

    @property
    def introspection_endpoint(self) -> str:
        return f"{self.issuer}/introspect/"

    def start(self) -> None:
        self.process.start()

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def restart(self) -> None:
        self.process.restart()

    def requests(self) -> list[Request]:
        return read_requests(self.directory / "requests.jsonl")

    def token_requests(self) -> list[Request]:
        return [found for found in self.requests() if found.path == "/o/token/"]

    def refreshes(self) -> list[Request]:
        return [found for found in self.token_requests() if found.grant_type == "refresh_token"]

    def logins(self) -> list[Request]:
        """Logins completed: codes exchanged for tokens."""
        return [
            found
            for found in self.token_requests()
            if found.grant_type == "authorization_code" and found.succeeded
        ]

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
