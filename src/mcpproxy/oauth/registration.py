"""Our client at an authorization server: configured, a metadata document, or registered by us
(RFC 7591).

Law: a registration belongs to one issuer and one redirect URI and is used nowhere else; only one
that we made ourselves is ever made anew.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from mcpproxy.core.errors import DiscoveryFailed, RegistrationFailed
from mcpproxy.core.http import HttpReply, HttpRequest, NoReply
from mcpproxy.core.model import (
    AuthMethod,
    ClientRegistration,
    GrantType,
    OAuthConfig,
    RegistrationSource,
    Secret,
)
from mcpproxy.core.outbound import is_loopback
from mcpproxy.oauth.body import Fields, read_fields, text_of, token_of
from mcpproxy.oauth.discovery import ServerMetadata
from mcpproxy.oauth.endpoints import check_endpoint
from mcpproxy.oauth.refusals import ErrorWord, error_word
from mcpproxy.oauth.steps import Steps
from mcpproxy.oauth.token import displayable

CLIENT_NAME: Final = "mcpproxy"
CLIENT_ID: Final = re.compile(r"[\x20-\x7e]+")
MAX_CLIENT_ID: Final = 1024
PREFERENCE: Final = (AuthMethod.NONE, AuthMethod.SECRET_BASIC, AuthMethod.SECRET_POST)
"""A public client first: it has no secret that could expire or leak."""

DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
GRANT_TYPES: Final[Mapping[GrantType, tuple[str, ...]]] = {
    GrantType.AUTHORIZATION_CODE: ("authorization_code", "refresh_token"),
    GrantType.DEVICE_CODE: ("authorization_code", "refresh_token", DEVICE_GRANT),
}
"""What a client is registered for; one for devices may log in with a browser as well."""

CONFIGURE_CLIENT: Final = (
    "Register a client with the provider yourself and set `oauth.client_id` (and "
    "`oauth.client_secret`) for this server in the configuration."
)


def configured_client(
    config: OAuthConfig, server: ServerMetadata, redirect_uri: str
) -> ClientRegistration | None:
    """The client the person configured: their own, or a metadata document where that is taken."""
    if config.client_id is not None:
        method = AuthMethod.NONE if config.client_secret is None else _secret_method(server)
        signs = config.private_key is not None
        return ClientRegistration(
            issuer=server.issuer,
            client_id=config.client_id,
            source=RegistrationSource.CONFIGURED,
            redirect_uri=redirect_uri,
            auth_method=AuthMethod.PRIVATE_KEY_JWT if signs else method,
            client_secret=None if signs else config.client_secret,
            private_key=config.private_key,
            key_id=config.key_id,
            signing_alg=config.signing_alg,
            assertion_audience=config.assertion_audience,
        )
    if config.client_metadata_url is not None and server.takes_metadata_documents:
        return ClientRegistration(
            issuer=server.issuer,
            client_id=config.client_metadata_url,
            source=RegistrationSource.METADATA_DOCUMENT,
            redirect_uri=redirect_uri,
        )
    return None


def is_usable(
    registration: ClientRegistration,
    now: datetime,
    way: GrantType = GrantType.AUTHORIZATION_CODE,
) -> bool:
    """Whether a stored registration may begin another login in this way."""
    expires_at = registration.secret_expires_at
    fits = way is not GrantType.DEVICE_CODE or DEVICE_GRANT in registration.grant_types
    return fits and (expires_at is None or now < expires_at)


def register(
    server: ServerMetadata,
    redirect_uri: str,
    scope: str | None,
    server_url: str,
    way: GrantType = GrantType.AUTHORIZATION_CODE,
) -> Steps[ClientRegistration]:
    """Register a new client for this way of logging in. Raises RegistrationFailed.

    A provider that does not like our first proposal gets the next one it might.
    """
    endpoint = server.registration_endpoint
    if endpoint is None:
        raise RegistrationFailed(
            f"{server.issuer} does not let clients register themselves.",
            next_step=CONFIGURE_CLIENT,
        )
    said = ""
    for proposal in _proposals(server, redirect_uri, scope, way):
        reply = yield _registration_request(endpoint, proposal, server_url)
        if isinstance(reply, NoReply):
            raise RegistrationFailed(
                f"{server.issuer} did not answer the registration: {reply.failure.detail}.",
                next_step="Try again in a while; nothing was changed.",
            )
        fields = read_fields(reply) or {}
        if 200 <= reply.status < 300 and client_id_of(fields):
            made = _registration(fields, server, redirect_uri, proposal, server_url)
            device = way is GrantType.DEVICE_CODE
            return replace(made, grant_types=GRANT_TYPES[way]) if device else made
        word = error_word(fields, reply.status)
        said = _complaint(reply, word)
        if reply.status != 400 or (word is not None and word.said == "invalid_redirect_uri"):
            break
    raise RegistrationFailed(
        f"{server.issuer} does not accept our client: {said}.", next_step=CONFIGURE_CLIENT
    )


def client_id_of(fields: Fields) -> str | None:
    """A client id that can be sent and shown: RFC 6749 appendix A.1's characters, not endless."""
    text = text_of(fields.get("client_id"))
    return text if text and len(text) <= MAX_CLIENT_ID and CLIENT_ID.fullmatch(text) else None


def _proposals(
    server: ServerMetadata, redirect_uri: str, scope: str | None, way: GrantType
) -> Iterator[Mapping[str, object]]:
    """What to ask for, best first; without the scope last, for providers that refuse to say."""
    methods = [
        method
        for method in PREFERENCE
        if server.auth_methods is None or method.value in server.auth_methods
    ]
    if not methods:
        offered = displayable(", ".join(server.auth_methods or ()))
        raise RegistrationFailed(
            f"{server.issuer} wants clients to prove themselves by {offered}, "
            "which mcpproxy does not support.",
            next_step=CONFIGURE_CLIENT,
        )
    for method in methods[:2]:
        yield _proposal(redirect_uri, method, scope, way)
    if scope:
        yield _proposal(redirect_uri, methods[0], None, way)


def _proposal(
    redirect_uri: str, method: AuthMethod, scope: str | None, way: GrantType
) -> Mapping[str, object]:
    proposal: dict[str, object] = {
        "client_name": CLIENT_NAME,
        "redirect_uris": [redirect_uri],
        "application_type": "native" if _is_native(redirect_uri) else "web",
        "grant_types": list(GRANT_TYPES[way]),
        "response_types": ["code"],
        "token_endpoint_auth_method": method.value,
    }
    if scope:
        proposal["scope"] = scope
    return proposal


def _is_native(redirect_uri: str) -> bool:
    """Whether the redirect comes back to this machine (RFC 8252)."""
    return is_loopback(urlsplit(redirect_uri).hostname or "")


def _registration_request(
    endpoint: str, proposal: Mapping[str, object], server_url: str
) -> HttpRequest:
    headers = {"content-type": "application/json", "accept": "application/json"}
    body = json.dumps(proposal).encode()
    return HttpRequest("POST", endpoint, headers, body, on_behalf_of=server_url)


def _registration(
    fields: Fields,
    server: ServerMetadata,
    redirect_uri: str,
    proposal: Mapping[str, object],
    server_url: str,
) -> ClientRegistration:
    secret = token_of(fields.get("client_secret"))
    return ClientRegistration(
        issuer=server.issuer,
        client_id=client_id_of(fields) or "",
        source=RegistrationSource.DYNAMIC,
        redirect_uri=redirect_uri,
        auth_method=_agreed_method(fields, server, proposal, secret),
        client_secret=secret,
        secret_expires_at=secret_expiry(fields.get("client_secret_expires_at")) if secret else None,
        registration_uri=management_url(fields.get("registration_client_uri"), server_url),
        registration_token=token_of(fields.get("registration_access_token")),
    )


def _agreed_method(
    fields: Fields, server: ServerMetadata, proposal: Mapping[str, object], secret: Secret | None
) -> AuthMethod:
    """The provider's word counts; without one, a secret that came is there to be used."""
    said = fields.get("token_endpoint_auth_method", proposal["token_endpoint_auth_method"])
    known = next((method for method in AuthMethod if method.value == said), None)
    public = known is AuthMethod.NONE and "token_endpoint_auth_method" in fields
    if secret is None or public:
        return AuthMethod.NONE
    return _secret_method(server) if known in (None, AuthMethod.NONE) else known


def _secret_method(server: ServerMetadata) -> AuthMethod:
    """How to send a secret: in the header, RFC 8414's default, unless only the body is taken."""
    methods = server.auth_methods
    if methods is not None and AuthMethod.SECRET_BASIC.value not in methods:
        return AuthMethod.SECRET_POST
    return AuthMethod.SECRET_BASIC


def secret_expiry(value: object) -> datetime | None:
    """RFC 7591: seconds since 1970, or 0 for never."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def management_url(value: object, server_url: str) -> str | None:
    try:
        return None if value is None else check_endpoint(value, "registration URL", server_url)
    except DiscoveryFailed:
        return None


def _complaint(reply: HttpReply, word: ErrorWord | None) -> str:
    if word is None or not word.said:
        return f"HTTP {reply.status}"
    return displayable(f"{word.said}: {word.description}" if word.description else word.said)
