"""One endpoint of `/api/v1` as a value, and how a request becomes a call of its handler.

Law: what an endpoint accepts and answers is said once, as types: validation, OpenAPI and the
answer all come from them. Bodies are bounded before they are read.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mcpproxy.core.errors import McpproxyError
from mcpproxy.web.answers import problem, refused, success
from mcpproxy.web.parts import WebParts

MAX_BODY: Final = 4 * 1024 * 1024
"""Bytes of a request body: arguments of a tool call may carry a file's text."""

_log = logging.getLogger("mcpproxy.web")

Body = TypeVar("Body")
Query = TypeVar("Query")


class NoBody(msgspec.Struct, frozen=True):
    """An endpoint that takes no body."""


class NoQuery(msgspec.Struct, frozen=True):
    """An endpoint that takes no query."""


@dataclass(frozen=True, slots=True)
class Call(Generic[Body, Query]):
    """One request, validated. `name` is the server or flow in the path."""

    parts: WebParts
    name: str
    body: Body
    query: Query
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[Body, Query]):
    """A row of the table. `answer` is the type of `data`; `handler` may answer a Response."""

    method: str
    path: str
    summary: str
    handler: Callable[[Call[Body, Query]], Awaitable[object]]
    answer: Any
    body: type[Body]
    query: type[Query]
    status: int = 200
    media_type: str = "application/json"


def get(
    path: str,
    summary: str,
    handler: Callable[[Call[NoBody, Query]], Awaitable[object]],
    answer: Any,
    query: type[Query],
    *,
    media_type: str = "application/json",
) -> Endpoint[NoBody, Query]:
    """An endpoint that changes nothing."""
    return Endpoint("GET", path, summary, handler, answer, NoBody, query, media_type=media_type)


def post(
    path: str,
    summary: str,
    handler: Callable[[Call[Body, NoQuery]], Awaitable[object]],
    answer: Any,
    body: type[Body],
    *,
    status: int = 200,
) -> Endpoint[Body, NoQuery]:
    """An endpoint that acts."""
    return Endpoint("POST", path, summary, handler, answer, body, NoQuery, status)


async def run(endpoint: Endpoint[Any, Any], parts: WebParts, request: Request) -> Response:
    """Validate, call, and put the answer in its envelope. Never raises."""
    request_id: str = request.scope["state"]["request_id"]
    try:
        body = await _read_body(request)
        if body is None:
            return problem(
                413, "too_large", f"A body may have {MAX_BODY} bytes.", "Send less.", request_id
            )
        call = Call(
            parts=parts,
            name=next(iter(request.path_params.values()), ""),
            body=_decode(body, endpoint.body),
            query=msgspec.convert(_query(request), endpoint.query, strict=False),
            request_id=request_id,
        )
    except msgspec.DecodeError as error:
        return problem(400, "bad_request", _reason(error), "See /api/v1/openapi.json.", request_id)
    except RecursionError:
        return problem(
            400, "bad_request", "The body is nested too deeply.", "Send it flatter.", request_id
        )
    try:
        answer = await endpoint.handler(call)
        # Inside: what a server or a file gave us may be text that JSON cannot carry.
        return answer if isinstance(answer, Response) else success(answer, endpoint.status)
    except McpproxyError as error:
        return refused(error, request_id)
    except Exception:
        # The last wall: the caller gets the id, the log gets the rest.
        _log.exception("request %s failed", request_id)
        return problem(
            500,
            "internal",
            "Something went wrong inside mcpproxy.",
            "The log has the details under this request id.",
            request_id,
        )


async def _read_body(request: Request) -> bytes | None:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _decode(body: bytes, kind: type[Body]) -> Body:
    return msgspec.json.decode(body or b"{}", type=kind)


def _query(request: Request) -> Mapping[str, str]:
    """The last value of a name counts; credentials never get this far."""
    return dict(request.query_params)


def _reason(error: msgspec.DecodeError) -> str:
    return f"The request is not as expected: {error}"
