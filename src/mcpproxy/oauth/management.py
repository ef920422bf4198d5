"""Our registration, read and updated where the provider lets clients manage theirs (RFC 7592).

Law: the client stays the same one: same id, same issuer, same redirect. What an answer leaves out
stays as it was.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from enum import Enum, auto
from typing import Final

from mcpproxy.core.http import HttpReply, HttpRequest, NoReply
from mcpproxy.core.model import ClientRegistration
from mcpproxy.core.repair import RENEW_BEFORE
from mcpproxy.oauth.body import Fields, read_fields, text_of, token_of
from mcpproxy.oauth.registration import management_url, secret_expiry
from mcpproxy.oauth.steps import Steps
from mcpproxy.oauth.token import WAIT_STATUSES

NOT_FOR_UPDATES: Final = frozenset(
    {
        "registration_access_token",
        "registration_client_uri",
        "client_secret_expires_at",
        "client_id_issued_at",
    }
)
"""What RFC 7592 section 2.2 forbids in an update."""


class Unmanaged(Enum):
    """Why there is nothing new of a registration."""

    GONE = auto()
    """The provider knows it no more (RFC 7592 section 2: 401, others say 404), or does not tell."""
    UNKNOWN = auto()
    """The provider cannot be asked, now or ever."""


def read_registration(
    client: ClientRegistration, server_url: str, now: datetime
) -> Steps[ClientRegistration | Unmanaged]:
    """The registration as it is now; with a secret that is about to end, renewed if the provider
    renews secrets on an update.
    """
    if client.registration_uri is None or client.registration_token is None:
        return Unmanaged.UNKNOWN
    reply = yield _request("GET", client, server_url)
    if isinstance(reply, HttpReply) and _is_final(reply):
        return Unmanaged.GONE
    fields = _fields(client, reply)
    if fields is None:
        return Unmanaged.UNKNOWN
    read = _updated(client, fields, server_url)
    if not ends_soon(read, now):
        return read
    reply = yield _request("PUT", read, server_url, _update(read, fields))
    updated = _fields(read, reply)
    return read if updated is None else _updated(read, updated, server_url)


def ends_soon(client: ClientRegistration, now: datetime) -> bool:
    """Whether its secret is over, or will be before the next look at it."""
    expires_at = client.secret_expires_at
    return expires_at is not None and now >= expires_at - RENEW_BEFORE


def _is_final(reply: HttpReply) -> bool:
    return 400 <= reply.status < 500 and reply.status not in WAIT_STATUSES


def _request(
    method: str,
    client: ClientRegistration,
    server_url: str,
    body: Mapping[str, object] | None = None,
) -> HttpRequest:
    token = client.registration_token
    headers = {
        "accept": "application/json",
        "authorization": f"Bearer {token.reveal() if token else ''}",
    }
    if body is not None:
        headers["content-type"] = "application/json"
    content = b"" if body is None else json.dumps(body).encode()
    url = client.registration_uri or ""
    return HttpRequest(method, url, headers, content, on_behalf_of=server_url)


def _fields(client: ClientRegistration, reply: HttpReply | NoReply) -> Fields | None:
    """The answer's fields, if they are of this client."""
    if isinstance(reply, NoReply) or not 200 <= reply.status < 300 or not reply.complete:
        return None
    fields = read_fields(reply)
    known = fields is not None and text_of(fields.get("client_id")) == client.client_id
    return fields if known else None


def _updated(client: ClientRegistration, fields: Fields, server_url: str) -> ClientRegistration:
    secret = token_of(fields.get("client_secret")) or client.client_secret
    said = "client_secret_expires_at" in fields
    expires_at = secret_expiry(fields.get("client_secret_expires_at"))
    token = token_of(fields.get("registration_access_token"))
    uri = management_url(fields.get("registration_client_uri"), server_url)
    return replace(
        client,
        client_secret=secret,
        secret_expires_at=expires_at if said else client.secret_expires_at,
        registration_uri=uri or client.registration_uri,
        registration_token=token or client.registration_token,
    )


def _update(client: ClientRegistration, fields: Fields) -> Mapping[str, object]:
    """All that was said of the client, said again: what is left out would be deleted."""
    update = {
        name: _whole(value)
        for name, value in fields.items()
        if name not in NOT_FOR_UPDATES and value is not None
    }
    update["client_id"] = client.client_id
    return update


def _whole(value: object) -> object:
    """Bodies are read with every number as a float; a whole one goes back as it came."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
