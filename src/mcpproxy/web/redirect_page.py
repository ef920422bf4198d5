"""What the browser sees at the redirect URI: static pages that reflect nothing.

Law: the query goes to the login and nowhere else, not into a page, a header or a log.
"""

import html
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from starlette.types import Receive, Scope, Send

from mcpproxy.core.errors import McpproxyError
from mcpproxy.core.model import Secret
from mcpproxy.web.guard import GuardRules, is_allowed_host

Receiver = Callable[[str], Awaitable[str]]

_DONE: Final = "/mcpproxy/login-done"
_DENIED: Final = "/mcpproxy/login-denied"
_LOOPBACK_ONLY: Final = GuardRules(api_key=Secret(""))

_log = logging.getLogger("mcpproxy.callback")


def _page(title: str, text: str) -> bytes:
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title>\n<h1>{html.escape(title)}</h1>\n"
        f"<p>{html.escape(text)}</p></html>\n"
    ).encode()


_PAGES: Final = {
    "done": _page("Logged in", "mcpproxy has the login. You can close this page."),
    "denied": _page("Not logged in", "The login was declined. The terminal says how to go on."),
    "failed": _page("Not logged in", "This login did not work. The terminal says why."),
    "nothing": _page("mcpproxy", "There is nothing here."),
}
_HEADERS: Final = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"connection", b"close"),
]


class RedirectPage:
    """The ASGI application of one port; asks `receivers` in turn until one knows the state."""

    def __init__(self, receivers: Mapping[str, Sequence[Receiver]]) -> None:
        self._receivers = receivers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        if not _names_loopback(scope):
            await _answer(send, 421, "nothing")
        elif scope["method"] != "GET":
            await _answer(send, 405, "nothing")
        elif path == _DONE:
            await _answer(send, 200, "done")
        elif path == _DENIED:
            await _answer(send, 200, "denied")
        elif path in self._receivers:
            await self._finish(scope, send)
        else:
            await _answer(send, 404, "nothing")

    async def _finish(self, scope: Scope, send: Send) -> None:
        query = scope["query_string"].decode("latin-1")
        outcome = "failed"
        for deliver in dict.fromkeys(self._receivers[scope["path"]]):
            outcome = await _deliver(deliver, f"{scope['path']}?{query}")
            if outcome != "failed":
                break
        # A redirect takes the code out of the address bar and the history.
        if outcome == "done":
            await _answer(send, 303, "done", _DONE)
        elif outcome == "denied":
            await _answer(send, 303, "denied", _DENIED)
        else:
            await _answer(send, 400, "failed")


async def _deliver(deliver: Receiver, redirect: str) -> str:
    try:
        return await deliver(redirect)
    except McpproxyError as error:
        # Its words may quote the provider; the terminal shows them, this page does not.
        _log.info("a login redirect was refused: %s", error.code)
    except Exception as error:
        _log.error("a login redirect failed: %s", type(error).__name__)
    return "failed"


async def _answer(send: Send, status: int, page: str, location: str | None = None) -> None:
    headers = [*_HEADERS, (b"location", location.encode())] if location else _HEADERS
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": _PAGES[page]})


def _names_loopback(scope: Scope) -> bool:
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    return len(hosts) == 1 and is_allowed_host(hosts[0].decode("latin-1"), _LOOPBACK_ONLY)
