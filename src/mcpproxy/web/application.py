"""The whole web application: the guard around one router.

Law: what is served is listed here and in the REST table, nowhere else, and all of it is behind
the guard.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from mcpproxy.web.answers import problem
from mcpproxy.web.events import EventStream
from mcpproxy.web.guard import MCP, METRICS, Guard
from mcpproxy.web.parts import WebParts
from mcpproxy.web.probes import Probes, alive
from mcpproxy.web.rest.endpoint import Endpoint, run
from mcpproxy.web.rest.openapi import openapi
from mcpproxy.web.rest.table import ENDPOINTS, OPENAPI_PATH

_HOME: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>mcpproxy</title>
<h1>mcpproxy</h1>
<p>It runs. MCP clients connect to <code>/mcp</code>; <code>mcpproxy status</code> tells more.</p>
</html>
"""
_PAGE_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
}


def build_app(parts: WebParts) -> ASGIApp:
    """The application that both the TCP port and the Unix socket serve."""
    router = Router(routes=routes(parts), redirect_slashes=False, default=_not_found)

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == MCP or path.startswith(f"{MCP}/"):
            await parts.mcp(scope, receive, send)
            return
        scope["app"] = router  # with this, Starlette raises 405 instead of writing it as text
        try:
            await router(scope, receive, send)
        except HTTPException as error:
            await _refusal(error, scope)(scope, receive, send)

    return Guard(dispatch, parts.rules)


def routes(parts: WebParts) -> list[Route]:
    """Everything but `/mcp`; tests derive from it what must be refused without a key."""
    probes = Probes(parts)
    document = openapi(ENDPOINTS, parts.about().version)

    async def describe(_: Request) -> Response:
        return JSONResponse(document)

    return [
        Route("/", _home, methods=["GET"]),
        Route("/healthz", alive, methods=["GET"]),
        Route("/livez", alive, methods=["GET"]),
        Route("/readyz", probes.ready, methods=["GET"]),
        Route(METRICS, probes.metrics, methods=["GET"]),
        Route("/events", EventStream(parts.bus, parts.closing), methods=["GET"]),
        Route(OPENAPI_PATH, describe, methods=["GET"]),
        *(Route(row.path, _handler(row, parts), methods=[row.method]) for row in ENDPOINTS),
    ]


def _handler(row: Endpoint[Any, Any], parts: WebParts) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        return await run(row, parts, request)

    return handle


async def _home(_: Request) -> Response:
    return HTMLResponse(_HOME, headers=_PAGE_HEADERS)


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    await _refusal(HTTPException(404), scope)(scope, receive, send)


def _refusal(error: HTTPException, scope: Scope) -> Response:
    request_id = scope["state"]["request_id"]
    if error.status_code == 405:
        response = problem(
            405,
            "method_not_allowed",
            "This path does not have that method.",
            "See /api/v1/openapi.json.",
            request_id,
        )
        response.headers.update(error.headers or {})
        return response
    return problem(
        error.status_code,
        "not_found",
        "There is nothing here.",
        "See /api/v1/openapi.json.",
        request_id,
    )
