"""Finding the authorization server of an MCP server (RFC 9728, RFC 8414, OpenID Discovery).

Law: in the order of the MCP specification; the issuer asked for is the issuer that answers; a
server that is down is never taken for one that has no metadata.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from mcpproxy.core.challenge import Challenge, bearer_challenge
from mcpproxy.core.errors import DiscoveryFailed
from mcpproxy.core.http import HttpRequest, NoReply
from mcpproxy.core.model import GrantType
from mcpproxy.core.text import escape_unsafe, shorten
from mcpproxy.oauth.endpoints import (
    canonical_resource,
    check_endpoint,
    covers,
    origin_of,
    same_issuer,
)
from mcpproxy.oauth.steps import Document, Redirects, Steps, Unclear, fetch_document

MAX_SERVERS: Final = 5
"""How many authorization servers of one resource are tried."""

MAX_NAMES: Final = 200
"""How many scopes or methods of a list are read."""

HELLO: Final = (
    b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",'
    b'"capabilities":{},"clientInfo":{"name":"mcpproxy","version":"1"}}}'
)
"""Something that every MCP server answers, in every era, if only with 401."""

DEVICE_ENDPOINT: Final = "device_authorization_endpoint"
"""RFC 8628 section 4."""

TRY_LATER: Final = "Try again in a while; nothing was changed."


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """What an authorization server says about itself (RFC 8414), checked.

    `auth_methods` is None when it does not say. An endpoint that the wanted way to a token needs
    is there; of the others only those that the server names.
    """

    issuer: str
    authorization_endpoint: str | None
    token_endpoint: str
    registration_endpoint: str | None = None
    revocation_endpoint: str | None = None
    device_endpoint: str | None = None
    auth_methods: tuple[str, ...] | None = None
    scopes: tuple[str, ...] = ()
    takes_metadata_documents: bool = False
    sends_iss: bool = False


@dataclass(frozen=True, slots=True)
class Discovered:
    """An authorization server and what to ask it for. `resource` is None for servers of the
    revision 2025-03-26, which knew no resource indicators.
    """

    server: ServerMetadata
    resource: str | None
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Resource:
    issuers: tuple[str, ...]
    resource: str
    scopes: tuple[str, ...]


def discover(
    server_url: str, header: str | None, way: GrantType = GrantType.AUTHORIZATION_CODE
) -> Steps[Discovered]:
    """The authorization server for `server_url`, fit for this way to a token. Raises
    DiscoveryFailed.

    `header` is the WWW-Authenticate of its 401, empty if that had none; None when the server was
    not seen to ask for a login: then it is asked.
    """
    if header is None:
        header = yield from _ask(server_url)
    challenge = bearer_challenge(header)
    protected = yield from _protected_resource(server_url, challenge)
    asked = tuple((challenge.scope or "").split()) if challenge else ()
    if protected is None:
        legacy = yield from _legacy_server(server_url, header, way)
        return Discovered(legacy, None, asked)
    for issuer in protected.issuers[:MAX_SERVERS]:
        server = yield from issuer_metadata(issuer, server_url, way)
        if server is not None:
            return Discovered(server, protected.resource, asked or protected.scopes)
    names = ", ".join(shorten(escape_unsafe(issuer), 100) for issuer in protected.issuers)
    raise DiscoveryFailed(
        f"The authorization server {names} has no metadata document.",
        next_step="Tell the people who run this server; MCP requires one (RFC 8414).",
    )


def protected_resource_urls(server_url: str) -> tuple[str, ...]:
    """RFC 9728 section 3.1: the well-known URL with the server's path, then without."""
    base = f"{origin_of(server_url)}/.well-known/oauth-protected-resource"
    path = urlsplit(server_url).path.rstrip("/")
    return (f"{base}{path}", base) if path else (base,)


def issuer_metadata_urls(issuer: str) -> tuple[str, ...]:
    """RFC 8414 section 3.1, then OpenID Discovery, in the order the MCP specification gives."""
    origin, path = origin_of(issuer), urlsplit(issuer).path.rstrip("/")
    oauth = f"{origin}/.well-known/oauth-authorization-server{path}"
    openid = f"{origin}/.well-known/openid-configuration{path}"
    if not path:
        return (oauth, openid)
    return (oauth, openid, f"{origin}{path}/.well-known/openid-configuration")


def _ask(server_url: str) -> Steps[str | None]:
    """What the server says to somebody without a token; None unless that is 401."""
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
    }
    reply = yield HttpRequest("POST", server_url, headers, HELLO)
    if isinstance(reply, NoReply) or reply.status != 401:
        return None
    return reply.headers.get("www-authenticate", "")


def _protected_resource(server_url: str, challenge: Challenge | None) -> Steps[_Resource | None]:
    named = challenge.resource_metadata if challenge else None
    own, *shared = protected_resource_urls(server_url)
    candidates = ([named] if named else []) + [own, *shared]
    unclear: str | None = None
    for url in candidates:
        try:
            document = yield from fetch_document(url, "protected resource metadata", server_url)
        except Unclear as error:
            unclear = unclear or error.detail
            continue
        if document is None:
            continue
        resource = document.get("resource", canonical_resource(server_url))
        if isinstance(resource, str) and covers(resource, server_url):
            return _resource(document, resource, server_url)
        if url not in shared:
            shown = shorten(escape_unsafe(str(resource)), 100)
            raise DiscoveryFailed(
                f"The metadata at {escape_unsafe(url)} speaks for '{shown}', not for {server_url}.",
                next_step="Check the server's URL in the configuration.",
            )
    if unclear is not None:
        raise DiscoveryFailed(
            f"The server's OAuth metadata cannot be read now: {unclear}.", next_step=TRY_LATER
        )
    return None


def _resource(document: Document, resource: str, server_url: str) -> _Resource:
    issuers = _names(document.get("authorization_servers")) or (origin_of(server_url),)
    return _Resource(issuers, resource, _names(document.get("scopes_supported")) or ())


def issuer_metadata(
    issuer: str, server_url: str, way: GrantType, redirects: Redirects = Redirects.FOLLOWED
) -> Steps[ServerMetadata | None]:
    """What `issuer` says about itself; None when it has no metadata. Raises DiscoveryFailed."""
    check_endpoint(issuer, "authorization server", server_url)
    unclear: str | None = None
    for url in issuer_metadata_urls(issuer):
        try:
            document = yield from fetch_document(
                url, "authorization server metadata", server_url, redirects
            )
        except Unclear as error:
            unclear = unclear or error.detail
            continue
        if document is not None:
            return server_metadata(document, issuer, server_url, way)
    if unclear is not None:
        raise DiscoveryFailed(
            f"The authorization server {escape_unsafe(issuer)} cannot be asked now: {unclear}.",
            next_step=TRY_LATER,
        )
    return None


def _legacy_server(server_url: str, header: str | None, way: GrantType) -> Steps[ServerMetadata]:
    """Revision 2025-03-26: the MCP server's origin is the issuer, with or without metadata."""
    origin = origin_of(server_url)
    found = yield from issuer_metadata(origin, server_url, way)
    if found is None and header is None:
        raise DiscoveryFailed(
            f"{server_url} does not ask for a login and has no OAuth metadata.",
            next_step="Use it without a login, or check the server's URL in the configuration.",
        )
    if found is None and way is GrantType.DEVICE_CODE:
        raise _no_device_login(origin)
    return found or legacy_metadata(origin)


def legacy_metadata(origin: str) -> ServerMetadata:
    """The default endpoints of that revision, at an origin without metadata."""
    return ServerMetadata(
        issuer=origin,
        authorization_endpoint=f"{origin}/authorize",
        token_endpoint=f"{origin}/token",
        registration_endpoint=f"{origin}/register",
    )


def server_metadata(
    document: Document,
    issuer: str,
    server_url: str,
    way: GrantType = GrantType.AUTHORIZATION_CODE,
) -> ServerMetadata:
    """The checked metadata of `issuer`. Raises DiscoveryFailed: wrong issuer (RFC 8414 section
    3.3), an endpoint that may not be used or, where the way needs it, is not there; for a login
    in a browser also without PKCE with S256.
    """
    named = document.get("issuer")
    if not isinstance(named, str) or not same_issuer(named, issuer):
        shown = shorten(escape_unsafe(str(named)), 100)
        raise DiscoveryFailed(
            f"The authorization server {escape_unsafe(issuer)} calls itself '{shown}'.",
            next_step="Tell the people who run it: the issuer must be the same (RFC 8414).",
        )
    in_browser = way is GrantType.AUTHORIZATION_CODE
    pkce = _names(document.get("code_challenge_methods_supported")) or ()
    if in_browser and "S256" not in pkce:
        raise DiscoveryFailed(
            f"The authorization server {escape_unsafe(issuer)} does not say that it supports "
            "PKCE with S256, and without it a login can be stolen.",
            next_step="Tell the people who run it: `code_challenge_methods_supported` is needed.",
        )

    if way is GrantType.DEVICE_CODE and document.get(DEVICE_ENDPOINT) is None:
        raise _no_device_login(issuer)

    def required(name: str) -> str:
        return check_endpoint(document.get(name), name, server_url)

    def optional(name: str) -> str | None:
        return None if document.get(name) is None else required(name)

    return ServerMetadata(
        issuer=named,
        authorization_endpoint=(required if in_browser else optional)("authorization_endpoint"),
        token_endpoint=required("token_endpoint"),
        registration_endpoint=optional("registration_endpoint"),
        revocation_endpoint=optional("revocation_endpoint"),
        device_endpoint=optional(DEVICE_ENDPOINT) if way is GrantType.DEVICE_CODE else None,
        auth_methods=_names(document.get("token_endpoint_auth_methods_supported")),
        scopes=_names(document.get("scopes_supported")) or (),
        takes_metadata_documents=document.get("client_id_metadata_document_supported") is True,
        sends_iss=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _no_device_login(issuer: str) -> DiscoveryFailed:
    return DiscoveryFailed(
        f"The authorization server {escape_unsafe(issuer)} has no logins by a device code.",
        next_step="Log in with the browser; `--no-browser` prints the URL and takes the address "
        "that it ends on.",
    )


def _names(value: object) -> tuple[str, ...] | None:
    """A list of words; None when it is none."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    return tuple(word for word in value[:MAX_NAMES] if isinstance(word, str) and word)
