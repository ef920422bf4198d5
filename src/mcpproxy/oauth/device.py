"""A login at another device (RFC 8628): the code to type in there, and asking whether it was.

Law: pure. Only tokens or the provider's clear no end the asking; whatever else comes, the person
may still be at it. Nobody is asked more often than the provider allows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mcpproxy.core.errors import DiscoveryFailed, LoginError
from mcpproxy.core.http import HttpReply, HttpRequest, NoReply
from mcpproxy.core.model import ClientRegistration, FailureKind, RefreshFailure, TokenSet
from mcpproxy.core.pending_login import DeviceCode, PendingLogin
from mcpproxy.core.provider_ports import DeviceWait
from mcpproxy.oauth.assertion import Proof
from mcpproxy.oauth.body import Fields, life_of, read_fields, text_of, token_of
from mcpproxy.oauth.endpoints import check_endpoint
from mcpproxy.oauth.refusals import ErrorWord, Meaning, error_word
from mcpproxy.oauth.registration import DEVICE_GRANT
from mcpproxy.oauth.token import client_request, displayable, read_tokens

USUAL_INTERVAL: Final = timedelta(seconds=5)
SLOWER: Final = timedelta(seconds=5)
"""RFC 8628 sections 3.2 and 3.5: the pause between two polls, and what `slow_down` adds to it."""

MAX_INTERVAL: Final = timedelta(minutes=5)
"""A person who is done should not wait for longer than this to be told so."""

PASSING: Final = frozenset({"server_error", "temporarily_unavailable"})
"""The provider's own trouble, said in the form of an answer."""

USUAL_LIFE: Final = timedelta(minutes=10)
MAX_LIFE: Final = timedelta(minutes=30)
"""How long a code is waited for, whatever the provider says: as long as the usual ones live."""

USER_CODE: Final = re.compile(r"[\x20-\x7e]{1,40}")
PROTECTED: Final = frozenset({"client_id", "client_secret", "scope", "resource"})


@dataclass(frozen=True, slots=True)
class Begun:
    """What the provider gave, and until when it is good."""

    device: DeviceCode
    expires_at: datetime


def device_request(
    endpoint: str,
    client: ClientRegistration,
    asked: Mapping[str, str],
    *,
    extra: Mapping[str, str],
    proof: Proof,
    server_url: str,
) -> HttpRequest:
    """Section 3.1. `asked` are scope and resource, `extra` what the configuration adds."""
    form = {**{name: value for name, value in extra.items() if name not in PROTECTED}, **asked}
    return client_request(endpoint, client, form, proof=proof, on_behalf_of=server_url)


def read_device(reply: HttpReply, server_url: str, now: datetime) -> Begun | ErrorWord | None:
    """Section 3.2: the codes, the provider's refusal, or nothing that can be used. Raises
    DiscoveryFailed when the page that the person is to open may not be used.
    """
    fields = read_fields(reply)
    if fields is None:
        return None
    device_code = token_of(fields.get("device_code"))
    user_code = text_of(fields.get("user_code"))
    if device_code is None or not user_code or not USER_CODE.fullmatch(user_code):
        return error_word(fields, reply.status)
    page = fields.get("verification_uri", fields.get("verification_url"))
    device = DeviceCode(
        device_code=device_code,
        user_code=user_code,
        verification_uri=check_endpoint(page, "verification_uri", server_url),
        verification_uri_complete=_complete(fields, server_url),
        interval=min(life_of(fields.get("interval")) or USUAL_INTERVAL, MAX_INTERVAL),
    )
    life = life_of(fields.get("expires_in")) or USUAL_LIFE
    return Begun(device, now + min(life, MAX_LIFE))


def poll_request(login: PendingLogin, device: DeviceCode, proof: Proof) -> HttpRequest:
    """Section 3.4."""
    form = {"grant_type": DEVICE_GRANT, "device_code": device.device_code.reveal()}
    if login.resource:
        form["resource"] = login.resource
    url = login.token_endpoint
    return client_request(url, login.client, form, proof=proof, on_behalf_of=login.server_url)


def read_poll(reply: HttpReply | NoReply, interval: timedelta, now: datetime) -> DeviceWait | None:
    """Section 3.5: how to go on waiting; None for an answer that ends the wait."""
    if isinstance(reply, NoReply):
        unanswered = reply.failure.kind is FailureKind.UNKNOWN
        return _wait(interval * 2 if unanswered else interval)
    word = error_word(read_fields(reply) or {}, reply.status)
    if word is not None and word.said == "slow_down":  # Auth0 says it with 429
        return _wait(interval + SLOWER)
    match read_tokens(reply, now):
        case TokenSet():
            return None
        case ErrorWord(said="authorization_pending"):
            return _wait(interval)
        case ErrorWord(said=said) if said in PASSING:
            return _wait(interval)
        case ErrorWord():
            return None
        case RefreshFailure(retry_at=retry_at):
            asked = timedelta(0) if retry_at is None else retry_at - now
            return DeviceWait(max(interval, asked), interval)


def refused(issuer: str, word: ErrorWord | None, server: str) -> LoginError:
    """Why no code was given."""
    if word is None or not word.said:
        said = "its answer holds no code"
    else:
        said = displayable(f"{word.said}: {word.description}" if word.description else word.said)
    return LoginError(
        f"{issuer} does not begin a login at another device: {said}.",
        next_step=f"Log in with the browser: `mcpproxy auth login {server} --no-browser`.",
    )


def is_about_resource(begun: Begun | ErrorWord | None) -> bool:
    return isinstance(begun, ErrorWord) and begun.meaning is Meaning.RESOURCE


def _wait(interval: timedelta) -> DeviceWait:
    bounded = min(interval, MAX_INTERVAL)
    return DeviceWait(bounded, bounded)


def _complete(fields: Fields, server_url: str) -> str | None:
    """The page with the code in its address: a convenience, so a bad one is left out."""
    page = fields.get("verification_uri_complete")
    try:
        return None if page is None else check_endpoint(page, "verification_uri", server_url)
    except DiscoveryFailed:
        return None
