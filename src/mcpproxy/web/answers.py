"""The envelope every JSON answer comes in.

Law: success is `{"success": true, "data": …}`; failure names what was wrong, what to do, and the
request it was, and nothing of how we are made.
"""

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from mcpproxy.core.errors import McpproxyError


def success(data: object, status: int = 200) -> Response:
    body = msgspec.json.encode({"success": True, "data": data})
    return Response(body, status, media_type="application/json")


def problem(
    status: int,
    code: str,
    message: str,
    next_step: str,
    request_id: str,
    more: Mapping[str, object] | None = None,
) -> Response:
    """A failure; `more` are fields that some errors have besides."""
    fields = {
        "success": False,
        "error": message,
        "code": code,
        "next_step": next_step,
        "request_id": request_id,
    }
    body = msgspec.json.encode({**(more or {}), **fields})
    return Response(body, status, media_type="application/json")


def refused(error: McpproxyError, request_id: str) -> Response:
    """One of our own errors as an answer."""
    known = error.as_dict()
    more = {name: known[name] for name in known if name not in ("code", "message", "next_step")}
    return problem(error.http_status, error.code, error.message, error.next_step, request_id, more)
