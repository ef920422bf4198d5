"""The demo's authorization server and protected MCP server, in one small process of its own.

Law: real HTTP and real OAuth 2.1 (RFC 8414, 7591, 7636, 9728); only the person is simulated, and
only when nobody wants to click.
"""

import html
import json
import sys
from typing import Final
from urllib.parse import parse_qs, urlencode

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from mcpproxy.demo.tokens import Tokens

TOOLS: Final = (
    {
        "name": "whoami",
        "description": "Who is logged in",
        "inputSchema": {"type": "object"},
        "annotations": {"readOnlyHint": True},
    },
    {
        "name": "add",
        "description": "Add two numbers",
        "inputSchema": {
            "type": "object",
            "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
            "required": ["a", "b"],
        },
        "annotations": {"readOnlyHint": True},
    },
)

CONSENT: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Demo login</title>
<h1>The demo's provider</h1><p>mcpproxy asks for access to the demo server.</p>
<form method="post" action="/authorize?{query}"><button name="answer" value="allow">Allow</button>
<button name="answer" value="deny">Deny</button></form></html>"""


class DemoProvider:
    """Routes and state. `outage` answers 503 to every refresh until it is told otherwise."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._tokens = Tokens()
        self._outage = False
        self._refused = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/oauth-protected-resource/mcp", self._resource),
                Route("/.well-known/oauth-authorization-server", self._metadata),
                Route("/register", self._register, methods=["POST"]),
                Route("/authorize", self._authorize, methods=["GET", "POST"]),
                Route("/token", self._token, methods=["POST"]),
                Route("/mcp", self._mcp, methods=["POST"]),
                Route("/demo/outage", self._switch, methods=["POST"]),
                Route("/demo/truth", self._truth),
            ]
        )

    async def _resource(self, _: Request) -> Response:
        return JSONResponse(
            {
                "resource": f"{self._base}/mcp",
                "authorization_servers": [self._base],
                "scopes_supported": ["demo"],
            }
        )

    async def _metadata(self, _: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self._base,
                "authorization_endpoint": f"{self._base}/authorize",
                "token_endpoint": f"{self._base}/token",
                "registration_endpoint": f"{self._base}/register",
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none"],
                "authorization_response_iss_parameter_supported": True,
            }
        )

    async def _register(self, request: Request) -> Response:
        wanted = json.loads(await request.body())
        return JSONResponse({**wanted, "client_id": "mcpproxy-demo"}, status_code=201)

    async def _authorize(self, request: Request) -> Response:
        query = request.query_params
        if request.method == "GET":
            return HTMLResponse(CONSENT.format(query=html.escape(urlencode(query))))
        form = parse_qs((await request.body()).decode())
        answer = {"state": query.get("state", ""), "iss": self._base}
        if form.get("answer") == ["allow"]:
            answer["code"] = self._tokens.new_code(query.get("code_challenge", ""))
        else:
            answer["error"] = "access_denied"
        return RedirectResponse(f"{query['redirect_uri']}?{urlencode(answer)}", status_code=303)

    async def _token(self, request: Request) -> Response:
        form = {key: value[0] for key, value in parse_qs((await request.body()).decode()).items()}
        if form.get("grant_type") == "authorization_code":
            tokens = self._tokens.redeem(form.get("code", ""), form.get("code_verifier", ""))
        elif self._outage:
            self._refused += 1
            return Response("service unavailable", status_code=503)
        else:
            tokens = self._tokens.renew(form.get("refresh_token", ""))
        if tokens is None:
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        return JSONResponse(tokens, headers={"cache-control": "no-store"})

    async def _mcp(self, request: Request) -> Response:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not self._tokens.accepts(token):
            metadata = f"{self._base}/.well-known/oauth-protected-resource/mcp"
            challenge = f'Bearer resource_metadata="{metadata}", scope="demo"'
            return Response(status_code=401, headers={"www-authenticate": challenge})
        message = json.loads(await request.body())
        if "id" not in message:
            return Response(status_code=202)
        result = _answer(message)
        reply = {"jsonrpc": "2.0", "id": message["id"], **result}
        return JSONResponse(reply)

    async def _switch(self, request: Request) -> Response:
        self._outage = request.query_params.get("state") == "on"
        return Response(status_code=204)

    async def _truth(self, _: Request) -> Response:
        return JSONResponse(
            {
                "logins": self._tokens.logins_made,
                "refreshes": self._tokens.refreshes,
                "refused": self._refused,
            }
        )


def _answer(message: dict[str, object]) -> dict[str, object]:
    params = message.get("params")
    given = params if isinstance(params, dict) else {}
    match message.get("method"):
        case "initialize":
            return {
                "result": {
                    "protocolVersion": "2025-11-25",
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "demo", "version": "1"},
                }
            }
        case "ping":
            return {"result": {}}
        case "tools/list":
            return {"result": {"tools": TOOLS}}
        case "tools/call":
            return {"result": {"content": [{"type": "text", "text": _call(given)}]}}
        case _:
            return {"error": {"code": -32601, "message": "Method not found"}}


def _call(params: dict[str, object]) -> str:
    arguments = params.get("arguments")
    if params.get("name") == "add" and isinstance(arguments, dict):
        return f"{float(arguments.get('a', 0)) + float(arguments.get('b', 0)):g}"
    return "You are demo-user, and you logged in once."


def main() -> None:
    """`python -m mcpproxy.demo.provider PORT`."""
    port = int(sys.argv[1])
    app = DemoProvider(f"http://127.0.0.1:{port}").app()
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


if __name__ == "__main__":
    main()
