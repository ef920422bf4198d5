"""A small, exact OAuth client for tests: what a login and a refresh look like without the product.

Everything is synchronous and every answer is returned as it is, errors included.
"""

import base64
import hashlib
import secrets
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2

from tests.peers import process

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
PAGE = b"<!doctype html><title>Done</title><p id=done>Login received.</p>"


def http() -> httpx2.Client:
    return process.http(10.0, follow_redirects=False)


class Callback:
    """A throwaway listener on a loopback port; `result` holds what the browser brought back."""

    def __init__(self, port: int = 0) -> None:
        results: list[dict[str, str]] = []
        arrived = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                if parts.path == "/callback":
                    results.append(dict(parse_qsl(parts.query)))
                    arrived.set()
                self.send_response(200 if parts.path == "/callback" else 404)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(PAGE)

            def log_message(self, format: str, *args: object) -> None:
                """Silence: the test says what went wrong."""

        self._results = results
        self._arrived = arrived
        self._server = HTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.redirect_uri = f"http://127.0.0.1:{self._server.server_port}/callback"

    def result(self, timeout: float = 10.0) -> dict[str, str]:
        assert self._arrived.wait(timeout), "no browser came back"
        return self._results[-1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass(frozen=True, slots=True)
class Login:
    """A login that a browser must finish: open `url`, then exchange the code."""

    url: str
    state: str
    verifier: str


class OAuthClient:
    """One registered client at one issuer."""

    def __init__(self, metadata: dict[str, Any], registration: dict[str, Any]) -> None:
        self.metadata = metadata
        self.registration = registration
        self.client_id: str = registration["client_id"]
        self.client_secret: str | None = registration.get("client_secret")

    @classmethod
    def register(
        cls, metadata: dict[str, Any], redirect_uri: str, *, scope: str, **more: Any
    ) -> Self:
        """Dynamic registration (RFC 7591) as a public client."""
        wanted = {
            "client_name": "mcpproxy tests",
            "redirect_uris": [redirect_uri],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
            "scope": scope,
            **more,
        }
        with http() as client:
            answer = client.post(metadata["registration_endpoint"], json=wanted)
        assert answer.status_code == 201, answer.text
        return cls(metadata, answer.json())

    def begin(self, redirect_uri: str, *, scope: str, resource: str | None = None) -> Login:
        """The authorization request (PKCE S256), as a page to open."""
        verifier = secrets.token_urlsafe(48)
        digest = hashlib.sha256(verifier.encode()).digest()
        state = secrets.token_urlsafe(16)
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": redirect_uri,
            "scope": scope,
            "state": state,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        if resource is not None:
            query["resource"] = resource
        url = f"{self.metadata['authorization_endpoint']}?{urlencode(query)}"
        return Login(url, state, verifier)

    def exchange(
        self, login: Login, code: str, redirect_uri: str, resource: str | None = None
    ) -> httpx2.Response:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": login.verifier,
        }
        return self._token_request(form, resource)

    def begin_device(self, *, scope: str, resource: str | None = None) -> dict[str, Any]:
        """Ask for a device code (RFC 8628); the answer names the page that a person must open."""
        form = {"scope": scope, **({"resource": resource} if resource else {})}
        with http() as client:
            endpoint = self.metadata["device_authorization_endpoint"]
            answer = client.post(endpoint, data=self._with_client(form))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def poll_device(self, device_code: str) -> httpx2.Response:
        return self._token_request({"grant_type": DEVICE_GRANT, "device_code": device_code}, None)

    def refresh(self, refresh_token: str, resource: str | None = None) -> httpx2.Response:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return self._token_request(form, resource)

    def revoke(self, token: str) -> httpx2.Response:
        with http() as client:
            form = self._with_client({"token": token})
            return client.post(self.metadata["revocation_endpoint"], data=form)

    def _token_request(self, form: dict[str, str], resource: str | None) -> httpx2.Response:
        if resource is not None:
            form["resource"] = resource
        with http() as client:
            return client.post(self.metadata["token_endpoint"], data=self._with_client(form))

    def _with_client(self, form: dict[str, str]) -> dict[str, str]:
        form = {**form, "client_id": self.client_id}
        if self.client_secret is not None:
            form["client_secret"] = self.client_secret
        return form


def discover(issuer: str) -> dict[str, Any]:
    """Authorization server metadata (RFC 8414), with the issuer's path where the RFC wants it."""
    parts = urlsplit(issuer)
    origin = f"{parts.scheme}://{parts.netloc}"
    path = parts.path.rstrip("/")
    with http() as client:
        answer = client.get(f"{origin}/.well-known/oauth-authorization-server{path}")
    assert answer.status_code == 200, answer.text
    metadata: dict[str, Any] = answer.json()
    assert metadata["issuer"] == issuer
    return metadata
