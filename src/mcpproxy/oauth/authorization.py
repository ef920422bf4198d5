"""The authorization request and the redirect that answers it (RFC 6749 section 4.1, RFC 7636,
RFC 8707, RFC 9207).

Law: pure. PKCE, state and resource go into every request; nothing in a redirect is believed
before its state and issuer match.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit

from mcpproxy.core.errors import LoginDenied, LoginError
from mcpproxy.core.model import Secret
from mcpproxy.core.pending_login import PendingLogin
from mcpproxy.oauth.discovery import Discovered
from mcpproxy.oauth.token import displayable

OFFLINE_ACCESS: Final = "offline_access"
PROTECTED: Final = frozenset(
    {
        "response_type",
        "client_id",
        "redirect_uri",
        "state",
        "code_challenge",
        "code_challenge_method",
    }
)
"""Parameters that a configuration may not change: a login without them is not safe."""

DENIALS: Final = frozenset({"access_denied", "consent_required", "login_required"})
CLIENT_REFUSED: Final = frozenset({"invalid_client", "unauthorized_client"})
ONCE: Final = ("state", "iss", "code", "error")
MAX_FIELDS: Final = 50


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What the browser is sent to ask, and what its answer is checked against."""

    endpoint: str
    client_id: str
    redirect_uri: str
    state: Secret
    code_verifier: Secret
    resource: str | None
    scope: str | None
    extra: Mapping[str, str]


def authorization_url(request: AuthorizationRequest) -> str:
    """The URL for the browser."""
    query: dict[str, str] = {
        "response_type": "code",
        "client_id": request.client_id,
        "redirect_uri": request.redirect_uri,
        "state": request.state.reveal(),
        "code_challenge": code_challenge(request.code_verifier),
        "code_challenge_method": "S256",
    }
    if request.scope:
        query["scope"] = request.scope
        if OFFLINE_ACCESS in request.scope.split():
            query["prompt"] = "consent"  # OpenID Connect Core section 11
    query |= {name: value for name, value in request.extra.items() if name not in PROTECTED}
    if request.resource:
        query["resource"] = request.resource
    joint = "&" if urlsplit(request.endpoint).query else "?"
    return f"{request.endpoint.rstrip('?&')}{joint}{urlencode(query)}"


def code_challenge(verifier: Secret) -> str:
    """RFC 7636 section 4.2, method S256."""
    digest = hashlib.sha256(verifier.reveal().encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def choose_scope(configured: tuple[str, ...], found: Discovered) -> str | None:
    """Configured, else what the server's challenge or metadata names, else nothing.

    `offline_access` is added where the provider lists it: without it many issue no refresh
    token, and the login would end with the first access token.
    """
    scopes = list(dict.fromkeys(configured or found.scopes))
    if OFFLINE_ACCESS in found.server.scopes and OFFLINE_ACCESS not in scopes:
        scopes.append(OFFLINE_ACCESS)
    return " ".join(scopes) or None


def read_redirect(login: PendingLogin, redirect: str) -> str:
    """The code in a redirect. Raises LoginDenied when the answer is no, LoginError otherwise.

    State and issuer are checked first, on refusals too: a stranger's "no" is not an answer.
    """
    fields = _fields(redirect)
    if not hmac.compare_digest(_one(fields, "state").encode(), login.state.reveal().encode()):
        raise _not_ours("its state is not the one this login sent")
    _check_issuer(login, fields)
    error = _one(fields, "error")
    if error:
        said = displayable(error)
        description = displayable(_one(fields, "error_description"))
        text = f"{said}: {description}" if description else said
        if error in DENIALS:
            raise LoginDenied(
                f"The provider says no: {text}.",
                next_step=f"Run `mcpproxy auth login {login.server}` to try again.",
            )
        raise LoginError(
            f"The provider refused the login: {text}.",
            next_step=f"Run `mcpproxy auth login {login.server}` again; if it goes on, check the "
            "server's `oauth` settings.",
        )
    code = _one(fields, "code")
    if not code:
        raise _not_ours("it holds neither a code nor an error")
    return code


def refuses_client(redirect: str) -> bool:
    """Whether the provider says here that it does not know our client."""
    return _fields(redirect).get("error", [""])[0] in CLIENT_REFUSED


def _check_issuer(login: PendingLogin, fields: Mapping[str, list[str]]) -> None:
    """RFC 9207 section 2.4: compared exactly, and required of those who announced it."""
    issuer = _one(fields, "iss")
    if not issuer and "iss" not in fields:
        if login.iss_required:
            raise _not_ours("it does not say which provider it comes from")
        return
    if issuer != login.issuer:
        raise _not_ours(f"it comes from {displayable(issuer)}, not from {login.issuer}")


def _fields(redirect: str) -> Mapping[str, list[str]]:
    try:
        query = urlsplit(redirect.strip()).query
        return parse_qs(query, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        return {}


def _one(fields: Mapping[str, list[str]], name: str) -> str:
    values = fields.get(name, [])
    if len(values) > 1 and name in ONCE:
        raise _not_ours(f"it has {name} more than once")
    return values[0] if values else ""


def _not_ours(why: str) -> LoginError:
    return LoginError(
        f"This redirect is not the answer to this login: {why}.",
        next_step="Start the login again, and do not use links from elsewhere.",
    )
