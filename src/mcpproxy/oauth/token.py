"""The token endpoint: what is asked of it, and what its answers mean (RFC 6749 sections 4.1.3,
5 and 6, RFC 8707).

Law: the one place that classifies. Pure; never raises, whatever came; and only a provider's
clear word about the grant, the client or the person is a refusal. When in doubt, try again.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final
from urllib.parse import quote_plus, urlencode

from mcpproxy.core.http import HttpReply, HttpRequest
from mcpproxy.core.model import (
    AuthMethod,
    ClientRegistration,
    FailureKind,
    Grant,
    GrantType,
    RefreshFailure,
    Secret,
    Suspect,
    TokenSet,
    Variant,
)
from mcpproxy.core.pending_login import PendingLogin
from mcpproxy.core.provider_ports import Issued, OtherVariant, RefreshOutcome
from mcpproxy.core.text import escape_unsafe, shorten
from mcpproxy.oauth.answer import Answer
from mcpproxy.oauth.assertion import NO_PROOF, Proof
from mcpproxy.oauth.body import looks_like_page, read_fields, salvage_fields, tokens_of
from mcpproxy.oauth.refusals import ErrorWord, Meaning, error_word
from mcpproxy.oauth.retry_after import parse_retry_after

WAIT_STATUSES: Final = frozenset({408, 425, 429})
"""Not now: never a word about the grant, whatever the body says."""

SIGN_IN_STATUSES: Final = frozenset({302, 303, 307, 511})
"""How a network sends people to its sign-in page (RFC 6585 section 6); no token endpoint does."""

GATEWAY_STATUSES: Final = frozenset({502, 504, 520, 524})
"""A gateway that heard no answer: the provider behind it may have processed the request, and its
replay window may be open."""

LONG_WORD: Final = re.compile(r"[\w\-.~+/=]{20,}")

SHORTEST_SECRET: Final = 6
MAX_DETAIL: Final = 160


def refresh_request(grant: Grant, refresh_token: Secret, *, proof: Proof = NO_PROOF) -> HttpRequest:
    """Present the refresh token in the form this provider wants.

    As at login but for `scope`, which RFC 6749 lets default to what was granted, and which some
    providers refuse when it differs by a word; one that wants it gets it.
    """
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token.reveal()}
    if grant.resource and grant.variant is not Variant.NO_RESOURCE:
        form["resource"] = grant.resource
    scope = _known_scope(grant)
    if scope and grant.variant is Variant.WITH_SCOPE:
        form["scope"] = scope
    return client_request(grant.token_endpoint, grant.client, form, proof=proof)


def credentials_request(grant: Grant, *, proof: Proof = NO_PROOF) -> HttpRequest:
    """Ask for a token in the client's own name (RFC 6749 section 4.4.2). No code was exchanged at
    this endpoint before, so where it may be is looked at each time.
    """
    form = {"grant_type": "client_credentials"}
    if grant.resource and grant.variant is not Variant.NO_RESOURCE:
        form["resource"] = grant.resource
    if grant.scope:
        form["scope"] = grant.scope
    url = grant.token_endpoint
    return client_request(url, grant.client, form, proof=proof, on_behalf_of=grant.server_url)


def code_request(login: PendingLogin, code: str, *, proof: Proof = NO_PROOF) -> HttpRequest:
    """Exchange the code, with the verifier that only we know (RFC 7636)."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": login.redirect_uri,
        "code_verifier": login.code_verifier.reveal(),
    }
    if login.resource:
        form["resource"] = login.resource
    url = login.token_endpoint
    return client_request(url, login.client, form, proof=proof, on_behalf_of=login.server_url)


def client_request(
    url: str,
    client: ClientRegistration,
    form: Mapping[str, str],
    *,
    proof: Proof = NO_PROOF,
    on_behalf_of: str | None = None,
) -> HttpRequest:
    """A form for the provider, with our client's proof of identity (RFC 6749 section 2.3.1);
    `proof` is a signed one, for a client that has a key.

    The client id stands in the body or in the header, never in both: some providers refuse two.
    """
    fields = {**form, **proof}
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "accept": "application/json",
    }
    secret = client.client_secret.reveal() if client.client_secret else ""
    match client.auth_method:
        case AuthMethod.NONE | AuthMethod.PRIVATE_KEY_JWT:
            fields["client_id"] = client.client_id
        case AuthMethod.SECRET_POST:
            fields["client_id"] = client.client_id
            fields["client_secret"] = secret
        case AuthMethod.SECRET_BASIC:
            pair = f"{quote_plus(client.client_id)}:{quote_plus(secret)}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"
    return HttpRequest("POST", url, headers, urlencode(fields).encode("ascii"), on_behalf_of)


def classify(grant: Grant, answer: Answer, now: datetime) -> RefreshOutcome:
    """What the answer to a refresh means.

    A token set counts from when its answer arrived, or from `now` if our clock went back since.
    """
    received_at = min(answer.received_at or now, now)
    read = read_tokens(answer.reply, received_at)
    match read:
        case TokenSet() if grant.grant_type is GrantType.CLIENT_CREDENTIALS:
            return Issued(replace(read, refresh_token=None, refresh_expires_at=None))
        case TokenSet():
            return Issued(read)
        case ErrorWord():
            return _refused(grant, answer.reply, read, received_at)
        case RefreshFailure():
            return read


def read_tokens(reply: HttpReply, received_at: datetime) -> TokenSet | ErrorWord | RefreshFailure:
    """Tokens, the provider's word of refusal, or a failure that is nobody's word."""
    if reply.status in GATEWAY_STATUSES:
        failure = _transient(reply, received_at, f"HTTP {reply.status}")
        return replace(failure, kind=FailureKind.UNKNOWN)
    if reply.status >= 500 or reply.status in WAIT_STATUSES or 300 <= reply.status < 400:
        return _transient(reply, received_at, f"HTTP {reply.status}")
    if looks_like_page(reply):
        detail = f"HTTP {reply.status} with a web page instead of an answer"
        return _transient(reply, received_at, detail)
    fields = read_fields(reply)
    succeeded = 200 <= reply.status < 300
    if succeeded:
        tokens = _tokens(reply, fields, received_at)
        if tokens is not None:
            return tokens
    word = error_word(fields, reply.status) if fields is not None else None
    if word is not None:
        return word
    if succeeded and _may_have_rotated(reply):
        detail = f"HTTP {reply.status} with an unusable answer"
        return RefreshFailure(FailureKind.UNKNOWN, detail, status=reply.status)
    return _transient(reply, received_at, f"HTTP {reply.status} without a usable answer")


def displayable(text: str, *, without: tuple[Secret | None, ...] = ()) -> str:
    """A provider's text in one short printable line, without anything that may be a secret."""
    for secret in without:
        if secret is not None and len(secret.reveal()) >= SHORTEST_SECRET:
            text = text.replace(secret.reveal(), "…")
    text = LONG_WORD.sub(_without_token, text)
    return shorten(escape_unsafe(" ".join(text.split())), MAX_DETAIL)


def _without_token(word: re.Match[str]) -> str:
    """A long word with a digit or mixed case in it is a token, until somebody proves otherwise."""
    text = word[0]
    plain = text.islower() or text.isupper()
    return text if plain and not any(character.isdigit() for character in text) else "…"


def _tokens(
    reply: HttpReply, fields: Mapping[str, object] | None, received_at: datetime
) -> TokenSet | None:
    """A body that broke off counts only if a whole pair is in it: with less, asking again while
    the provider may still repeat itself is worth more than an access token without a successor.
    """
    if fields is not None:
        return tokens_of(fields, received_at)
    saved = tokens_of(salvage_fields(reply), received_at)
    return saved if saved is not None and saved.refresh_token is not None else None


def _may_have_rotated(reply: HttpReply) -> bool:
    """Whether a success that cannot be used was the token endpoint's own: cut off, or with parts
    of tokens in it. An empty or foreign body is a portal's.
    """
    return not reply.complete or b"_token" in reply.body


def _refused(
    grant: Grant, reply: HttpReply, word: ErrorWord, received_at: datetime
) -> RefreshOutcome:
    match word.meaning:
        case Meaning.GRANT | Meaning.CLIENT | Meaning.PERSON:
            return RefreshFailure(
                FailureKind.REFUSED, _detail(grant, word), code=word.code, status=reply.status
            )
        case Meaning.RESOURCE if grant.resource and grant.variant is Variant.AS_LOGIN:
            return OtherVariant(Variant.NO_RESOURCE)
        case Meaning.SCOPE if _known_scope(grant) and grant.variant is not Variant.WITH_SCOPE:
            return OtherVariant(Variant.WITH_SCOPE)
        case _:
            # With the other form refused too, the request is at fault, and what is at fault
            # may be mended at the provider: the grant has not been called dead.
            failure = _transient(reply, received_at, _detail(grant, word))
            return replace(failure, code=word.code or None)


def _detail(grant: Grant, word: ErrorWord) -> str:
    tokens = grant.tokens
    secrets = (tokens.refresh_token, tokens.access_token, grant.client.client_secret)
    said = word.said or word.code or "error"
    if not word.description or word.description.lower() == said:
        return said
    return displayable(f"{said}: {word.description}", without=secrets)


def _transient(reply: HttpReply, received_at: datetime, detail: str) -> RefreshFailure:
    headers = reply.headers
    return RefreshFailure(
        FailureKind.TRANSIENT,
        detail,
        status=reply.status,
        retry_at=parse_retry_after(
            headers.get("retry-after"), received_at, date=headers.get("date")
        ),
        suspect=Suspect.PORTAL if _may_be_a_portal(reply) else None,
    )


def _may_be_a_portal(reply: HttpReply) -> bool:
    return reply.status in SIGN_IN_STATUSES or (
        200 <= reply.status < 300 and looks_like_page(reply)
    )


def _known_scope(grant: Grant) -> str | None:
    """As asked for at login; providers leave `offline_access` out of what they say they gave."""
    return grant.scope or grant.tokens.scope
