"""Why there was no answer, in a word or two for a person.

Law: looks at the kinds of errors, never at their texts, but for what TLS says about a
certificate; the words hold no address, no URL and no secret.
"""

import errno
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import httpx2

from mcpproxy.core.model import Suspect
from mcpproxy.core.text import escape_unsafe, shorten
from mcpproxy.oauth.addresses import Forbidden

MAX_DEPTH: Final = 20
"""Causes below causes that are looked at; more is a cycle."""

UNREACHABLE: Final = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL}
)

SOMEBODY_ELSES: Final = frozenset({18, 19, 20, 21, 62, 64})
"""OpenSSL's codes for a certificate of nobody we trust, or of another name or address: not for
one that is out of date, which is the provider's trouble or our clock's."""


def describe(error: BaseException) -> str:
    """The most telling of the error and its causes."""
    causes = list(_causes(error))
    kinds = (_certificate, _forbidden, _proxy, _lookup, _socket, _timeout, _protocol, _address)
    for describe_one in kinds:
        for cause in causes:
            words = describe_one(cause)
            if words:
                return words
    if any(isinstance(cause, httpx2.ConnectError) for cause in causes):
        return "connection failed"
    return "connection closed without an answer"


def suspect(error: BaseException) -> Suspect | None:
    """Whether somebody else seems to have answered, and not the provider."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Suspect.PORTAL if cause.verify_code in SOMEBODY_ELSES else None
    return None


def _certificate(error: BaseException) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {_safe(error.verify_message or 'the certificate is not valid')}"
    if isinstance(error, ssl.SSLWantReadError | ssl.SSLWantWriteError):
        return None  # how asyncio waits inside a handshake, not why it failed
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "connection closed"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {_safe((error.reason or 'handshake failed').replace('_', ' ').lower())}"
    return None


def _forbidden(error: BaseException) -> str | None:
    return _safe(str(error)) if isinstance(error, Forbidden) else None


def _address(error: BaseException) -> str | None:
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        return "the configured certificate authority cannot be read"
    wrong = ValueError | ImportError | httpx2.InvalidURL | httpx2.UnsupportedProtocol
    return "the URL or the outbound proxy's cannot be used" if isinstance(error, wrong) else None


def _proxy(error: BaseException) -> str | None:
    if isinstance(error, httpx2.ProxyError):
        return f"the outbound proxy refused: {_safe(str(error))}"
    return None


def _lookup(error: BaseException) -> str | None:
    return "name not found" if isinstance(error, socket.gaierror) else None


def _socket(error: BaseException) -> str | None:
    match error:
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionResetError() | BrokenPipeError() | ConnectionAbortedError():
            return "connection reset"
        case OSError(errno=code) if code in UNREACHABLE:
            return "network unreachable"
        case _:
            return None


def _timeout(error: BaseException) -> str | None:
    return "timeout" if isinstance(error, TimeoutError | httpx2.TimeoutException) else None


def _protocol(error: BaseException) -> str | None:
    """The client's own error is the same for a silent close; only the parser's tells them apart."""
    return "invalid HTTP" if type(error).__module__.partition(".")[0] == "h11" else None


def _safe(text: str) -> str:
    return escape_unsafe(shorten(text.strip(), 80))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, and what is inside groups; outermost first."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting and len(seen) < MAX_DEPTH:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        if isinstance(current, BaseExceptionGroup):
            waiting.extend(current.exceptions)
        below = current.__cause__ or current.__context__
        if below is not None:
            waiting.append(below)
