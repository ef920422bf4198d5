"""What an authorization server answers beside its token endpoint: its metadata, registrations.

Law: each issuer speaks for itself; an endpoint that moved is found by its metadata alone.
"""

import json
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from mcpproxy.core.http import HttpReply, HttpRequest
from tests.simulation.provider import Provider
from tests.simulation.words import JSON

FIRST_PORT: Final = 20_000
"""Each login has a callback port of its own: by it a registration tells whose it is."""

NOT_FOUND: Final = HttpReply(404, JSON, b'{"message":"no such route"}')


@dataclass(slots=True)
class Issuer:
    """Where its token endpoint is now, and what it calls itself."""

    url: str
    name: str
    version: int = 1

    @property
    def token_endpoint(self) -> str:
        return f"{self.url}/token" if self.version == 1 else f"{self.url}/v{self.version}/token"

    def move(self) -> None:
        """A new release: the token endpoint has another address."""
        self.version += 1


def callback(server: str) -> str:
    """The redirect URI of this server's login."""
    return f"http://127.0.0.1:{FIRST_PORT + int(server.rsplit('-', 1)[1])}/oauth/callback"


class Authority:
    """All issuers of the world."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._issuers: dict[str, Issuer] = {}

    def issuer(self, url: str) -> Issuer:
        return self._issuers.setdefault(url, Issuer(url, url))

    def all(self) -> list[Issuer]:
        return list(self._issuers.values())

    def has_moved(self, request: HttpRequest) -> bool:
        """Whether there is no token endpoint at this address any more."""
        return self._of(request).token_endpoint != request.url

    def answer(self, request: HttpRequest) -> HttpReply:
        """Whatever is no refresh."""
        issuer, path = self._of(request), urlsplit(request.url).path
        if path.startswith("/.well-known/oauth-authorization-server"):
            return HttpReply(200, JSON, json.dumps(_metadata(issuer)).encode())
        if path == "/register" and request.method == "POST":
            (redirect_uri,) = json.loads(request.body)["redirect_uris"]
            server = f"server-{(urlsplit(redirect_uri).port or 0) - FIRST_PORT}"
            made = {"client_id": self._provider.register(server), "redirect_uris": [redirect_uri]}
            return HttpReply(201, JSON, json.dumps(made).encode())
        if request.url == issuer.token_endpoint:
            return HttpReply(405, JSON, b'{"message":"use POST"}')
        return NOT_FOUND

    def _of(self, request: HttpRequest) -> Issuer:
        parts = urlsplit(request.url)
        return self.issuer(f"{parts.scheme}://{parts.netloc}")


def _metadata(issuer: Issuer) -> dict[str, object]:
    return {
        "issuer": issuer.name,
        "authorization_endpoint": f"{issuer.url}/authorize",
        "token_endpoint": issuer.token_endpoint,
        "registration_endpoint": f"{issuer.url}/register",
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
    }
