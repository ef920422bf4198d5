"""Giving a grant back at the provider (RFC 7009).

Law: best effort. A person who logs out is logged out here whatever the provider answers.
"""

from collections.abc import Callable, Iterator

from mcpproxy.core.http import HttpReply, HttpRequest, NoReply
from mcpproxy.core.model import ClientRegistration, Grant
from mcpproxy.oauth.assertion import Proof
from mcpproxy.oauth.body import read_fields
from mcpproxy.oauth.refusals import error_word
from mcpproxy.oauth.token import client_request


def revocation_requests(
    grant: Grant, prove: Callable[[ClientRegistration, str], Proof]
) -> Iterator[HttpRequest]:
    """One request a token, the refresh token first: with it most providers end all the rest. Each
    is signed on its own, if the client is one that signs.
    """
    url = grant.revocation_endpoint
    if url is None:
        return
    tokens = grant.tokens
    hinted = (("refresh_token", tokens.refresh_token), ("access_token", tokens.access_token))
    for hint, token in hinted:
        if token is not None and token.reveal():
            form = {"token": token.reveal(), "token_type_hint": hint}
            yield client_request(
                url,
                grant.client,
                form,
                proof=prove(grant.client, url),
                on_behalf_of=grant.server_url,  # never reached before: where it leads is checked
            )


def read_revocation(reply: HttpReply | NoReply) -> str | None:
    """None when the token is gone or cannot be revoked by design; else what went wrong."""
    match reply:
        case NoReply(failure):
            return failure.detail
        case HttpReply(status=status) if 200 <= status < 300:
            return None
        case HttpReply(status=status):
            word = error_word(read_fields(reply) or {}, status)
            if word is not None and word.said == "unsupported_token_type":
                return None
            return f"HTTP {status}: {word.said}" if word and word.said else f"HTTP {status}"
