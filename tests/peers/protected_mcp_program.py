"""The program behind protected_mcp_server.py: an MCP server of the official SDK behind OAuth.

It asks the authorization server about every token (RFC 7662), so that an early revocation shows.
When the authorization server cannot be asked, what it last said of a token holds until that token
expires: an outage over there must not look like a refusal here.
"""

import argparse
import json
import time
from typing import Any

import httpx2
import uvicorn
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.peers.record import fingerprint


class IntrospectingVerifier:
    """Believes the issuer's introspection endpoint and nobody else."""

    def __init__(self, endpoint: str, client: tuple[str, str], resource: str) -> None:
        self._endpoint = endpoint
        self._client = client
        self._resource = resource
        self._last_word: dict[str, AccessToken] = {}
        self._http = httpx2.AsyncClient(trust_env=False, timeout=5.0)

    async def verify_token(self, token: str) -> AccessToken | None:
        try:
            answer = await self._http.post(self._endpoint, data={"token": token}, auth=self._client)
            answer.raise_for_status()
            found = answer.json()
        except httpx2.HTTPError:
            return self._remembered(token)
        if not found.get("active") or not self._is_for_us(found.get("aud")):
            self._last_word.pop(token, None)
            return None
        verified = AccessToken(
            token=token,
            client_id=found.get("client_id", ""),
            scopes=str(found.get("scope", "")).split(),
            expires_at=found.get("exp"),
            resource=self._resource,
            subject=found.get("sub") or found.get("username"),
        )
        self._last_word[token] = verified
        return verified

    def _remembered(self, token: str) -> AccessToken | None:
        found = self._last_word.get(token)
        if found is None or (found.expires_at and found.expires_at <= time.time()):
            return None
        return found

    def _is_for_us(self, audience: Any) -> bool:
        audiences = audience if isinstance(audience, list) else [audience]
        return self._resource in audiences


class Witness:
    """Notes every request to the MCP endpoint and misbehaves on request. Wraps the whole app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.requests: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/mcp":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        seen = {
            "at": time.time(),
            "method": request.method,
            "token": fingerprint(token) if scheme.lower() == "bearer" else None,
            "status": None,
        }
        self.requests.append(seen)

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"] = message["status"]
            await send(message)

        answer = self._ordered_answer()
        if answer is None:
            await self._app(scope, receive, note)
        else:
            response = Response(
                answer.get("body", ""), answer["status"], headers=answer.get("headers")
            )
            await response(scope, receive, note)

    def _ordered_answer(self) -> dict[str, Any] | None:
        if not self.answers:
            return None
        answer = self.answers[0]
        if answer["times"] is not None:
            answer["times"] -= 1
            if answer["times"] <= 0:
                self.answers.pop(0)
        return answer


def build(options: argparse.Namespace) -> ASGIApp:
    resource = f"http://127.0.0.1:{options.port}/mcp"
    client_id, _, client_secret = options.client.partition(":")
    server = MCPServer(
        name="protected",
        token_verifier=IntrospectingVerifier(
            options.introspection_endpoint, (client_id, client_secret), resource
        ),
        # Validated from strings: an issuer without a path must not get a slash at its end.
        auth=AuthSettings.model_validate(
            {
                "issuer_url": options.issuer,
                "resource_server_url": resource,
                "required_scopes": ["mcp"],
                "validate_token_resource": True,
            }
        ),
    )

    @server.tool()
    def whoami() -> str:
        """Who the bearer token speaks for, as JSON."""
        token = get_access_token()
        assert token is not None
        return json.dumps(
            {
                "subject": token.subject,
                "client_id": token.client_id,
                "scopes": token.scopes,
                "token": fingerprint(token.token),
            }
        )

    @server.tool()
    def echo(text: str) -> str:
        """The text, unchanged."""
        return text

    @server.tool()
    def add(a: int, b: int) -> int:
        """The sum of two whole numbers."""
        return a + b

    @server.custom_route("/_control/ready", methods=["GET"])
    async def ready(request: Request) -> Response:
        return JSONResponse({"ready": True})

    @server.custom_route("/_control/requests", methods=["GET"])
    async def requests(request: Request) -> Response:
        return JSONResponse(witness.requests)

    @server.custom_route("/_control/answers", methods=["POST", "DELETE"])
    async def answers(request: Request) -> Response:
        if request.method == "DELETE":
            witness.answers.clear()
        else:
            witness.answers.append({"times": 1, **await request.json()})
        return JSONResponse(witness.answers)

    witness = Witness(server.streamable_http_app())
    return witness


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--issuer", required=True)
    parser.add_argument("--introspection-endpoint", required=True)
    parser.add_argument("--client", required=True, help="ID:SECRET for introspection")
    options = parser.parse_args()
    uvicorn.run(build(options), host="127.0.0.1", port=options.port, timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
