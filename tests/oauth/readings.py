"""Reads answers as custody would, for the tests of the classifier."""

import json

from mcpproxy.core.http import HttpReply
from mcpproxy.core.model import FailureKind, Grant, RefreshFailure
from mcpproxy.core.provider_ports import Issued, RefreshOutcome
from mcpproxy.oauth.answer import pack
from mcpproxy.oauth.token_endpoint import TokenEndpoint
from tests.oauth.made import GRANT, NOW, FixedClock, Network, answer

REFUSED, TRANSIENT, UNKNOWN = FailureKind.REFUSED, FailureKind.TRANSIENT, FailureKind.UNKNOWN
HTML = {"content-type": "text/html; charset=utf-8"}
PAGE = "<!DOCTYPE html><html><body>Sign in to the hotel Wi-Fi</body></html>"
ENDPOINT = TokenEndpoint(Network({}), FixedClock())
WHOLE = '{"access_token":"new-a","refresh_token":"new-r","expires_in":3600,"token_type":"Bearer"}'


def read(reply: HttpReply, grant: Grant = GRANT) -> RefreshOutcome:
    return ENDPOINT.read(grant, pack(reply, NOW), NOW)


def issued(body: str | bytes, status: int = 200, **more: object) -> Issued:
    outcome = read(answer(status, body, **more))  # type: ignore[arg-type]
    assert isinstance(outcome, Issued), outcome
    return outcome


def failed(reply: HttpReply, grant: Grant = GRANT) -> RefreshFailure:
    outcome = read(reply, grant)
    assert isinstance(outcome, RefreshFailure), outcome
    return outcome


def oauth(error: str, description: str = "") -> str:
    more = {"error_description": description} if description else {}
    return json.dumps({"error": error, **more})
