"""The door: who may come in, checked before anything else runs.

Law: localhost is not authentication. Everything that is not listed as open wants the key; Host,
Origin and Content-Type are checked besides, each on its own. Decisions read the raw ASGI scope.
"""

import functools
import ipaddress
import random
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcpproxy.core.model import Secret
from mcpproxy.web.answers import problem

UNIX_PEER: Final = "unix"
"""The host of a peer that came through the Unix socket; its uid was checked on accept."""

PROBES: Final = frozenset({"/healthz", "/livez", "/readyz"})
METRICS: Final = "/metrics"
MCP: Final = "/mcp"

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::\d{1,5})?")
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip")
# An id of a request is no secret: it only has to be another one each time.
_random: Final = random.Random(secrets.randbits(256))  # noqa: S311
_NO_SNIFF: Final = (b"x-content-type-options", b"nosniff")
_NO_STORE: Final = (b"cache-control", b"no-store")
_BODY_METHODS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class GuardRules:
    """`hosts`: names besides the loopback ones that Host and Origin may carry.

    `any_address`: the listen address is a wildcard, so every literal address is ours; a page that
    plays tricks with DNS needs a name.
    """

    api_key: Secret
    require_mcp_auth: bool = True
    hosts: frozenset[str] = frozenset()
    any_address: bool = False


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: int
    code: str
    message: str
    next_step: str = ""


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, rules: Callable[[], GuardRules]) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = _headers(scope)
        request_id = _request_id(headers)
        scope.setdefault("state", {})["request_id"] = request_id
        refusal = _judge(scope, headers, self._rules())
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        answer = _with_headers(send, request_id)
        if refusal is not None:
            await problem(
                refusal.status, refusal.code, refusal.message, refusal.next_step, request_id
            )(scope, receive, answer)
            return
        await self._app(scope, receive, answer)


def _judge(
    scope: Scope, headers: Mapping[str, Sequence[str]], rules: GuardRules
) -> _Refusal | None:
    """None, or why not. A pure decision over the scope."""
    return (
        _host_refusal(headers, rules)
        or _origin_refusal(scope, headers)
        or _key_refusal(scope, headers, rules)
        or _content_type_refusal(scope, headers)
    )


def _host_refusal(headers: Mapping[str, Sequence[str]], rules: GuardRules) -> _Refusal | None:
    hosts = headers.get("host", ())
    if len(hosts) != 1:
        return _Refusal(400, "bad_host", "A request needs exactly one Host header.")
    if not is_allowed_host(hosts[0], rules):
        return _Refusal(
            421,
            "unknown_host",
            "This Host is not one that mcpproxy answers to.",
            "Use localhost or 127.0.0.1, or the host that `listen` is set to.",
        )
    return None


def _origin_refusal(scope: Scope, headers: Mapping[str, Sequence[str]]) -> _Refusal | None:
    refusal = _Refusal(403, "foreign_origin", "Requests from other web pages are not served.")
    origins = headers.get("origin", ())
    if len(origins) > 1:
        return refusal
    if origins:
        return None if _is_own_origin(origins[0], headers["host"][0]) else refusal
    site = headers.get("sec-fetch-site", ("none",))[0]
    navigates = scope.get("method") == "GET" and headers.get("sec-fetch-mode") == ["navigate"]
    return None if site in ("none", "same-origin") or navigates else refusal


def _key_refusal(
    scope: Scope, headers: Mapping[str, Sequence[str]], rules: GuardRules
) -> _Refusal | None:
    if _is_open(scope, headers, rules) or _has_key(headers, rules.api_key):
        return None
    next_step = "Send it as `X-API-Key: KEY` or `Authorization: Bearer KEY`; `mcpproxy status` "
    next_step += "says where the key is."
    if "x-api-key" in headers or "authorization" in headers:
        return _Refusal(401, "wrong_key", "This is not the API key of this mcpproxy.", next_step)
    if b"key=" in scope.get("query_string", b""):
        return _Refusal(
            401, "key_in_url", "A key in the URL is not accepted: URLs end up in logs.", next_step
        )
    return _Refusal(401, "key_required", "mcpproxy wants its API key.", next_step)


def _content_type_refusal(scope: Scope, headers: Mapping[str, Sequence[str]]) -> _Refusal | None:
    if scope.get("method") not in _BODY_METHODS:
        return None
    length = headers.get("content-length", ("0",))[0]
    if length == "0" and "transfer-encoding" not in headers:
        return None
    kinds = headers.get("content-type", ())
    kind = kinds[0].partition(";")[0].strip().lower() if len(kinds) == 1 else ""
    if kind == "application/json":
        return None
    return _Refusal(
        415,
        "unsupported_media_type",
        "A body has to be JSON.",
        "Send it with `Content-Type: application/json`.",
    )


def _is_open(scope: Scope, headers: Mapping[str, Sequence[str]], rules: GuardRules) -> bool:
    path, peer = scope["path"], (scope.get("client") or ("", 0))[0]
    if peer == UNIX_PEER or path in PROBES:
        return True
    if path == METRICS:
        return is_loopback(peer) and not any(name in headers for name in _FORWARDED)
    return not rules.require_mcp_auth and (path == MCP or path.startswith(f"{MCP}/"))


def _has_key(headers: Mapping[str, Sequence[str]], key: Secret) -> bool:
    given = list(headers.get("x-api-key", ()))
    for value in headers.get("authorization", ()):
        scheme, _, token = value.partition(" ")
        if scheme.lower() == "bearer":
            given.append(token.strip())
    # Secret compares in constant time.
    return len(given) == 1 and Secret(given[0]) == key


def is_allowed_host(value: str, rules: GuardRules) -> bool:
    """Whether a Host header's value names us."""
    match = _HOST.fullmatch(value.lower())
    if match is None:
        return False
    name = match.group(1).strip("[]")
    if name == "localhost" or name in rules.hosts or is_loopback(name):
        return True
    return rules.any_address and is_address(name)


@functools.lru_cache(256)
def is_loopback(host: str) -> bool:
    return is_address(host) and ipaddress.ip_address(host).is_loopback


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_own_origin(origin: str, host: str) -> bool:
    """An origin is ours when it is the very host and port that the request went to."""
    return origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")


def _headers(scope: Scope) -> Mapping[str, Sequence[str]]:
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return headers


def _request_id(headers: Mapping[str, Sequence[str]]) -> str:
    given = headers.get("x-request-id", ())
    if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
        return given[0]
    return f"{_random.getrandbits(128):032x}"


def _with_headers(send: Send, request_id: str) -> Send:
    added = ((b"x-request-id", request_id.encode()), _NO_SNIFF)

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), *added]
            if not any(name == b"cache-control" for name, _ in headers):
                headers.append(_NO_STORE)
            message["headers"] = headers
        await send(message)

    return sending
