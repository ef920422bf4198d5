"""Logins that wait for a person: begin, watch, finish by a pasted redirect URL."""

from datetime import timedelta
from typing import Annotated, Final

import msgspec

from mcpproxy.core.health import rfc3339
from mcpproxy.core.ports import LoginFlow, LoginWay
from mcpproxy.web.items import Time
from mcpproxy.web.rest.endpoint import Call, NoBody, NoQuery, get, post
from mcpproxy.web.rest.servers import find

MAX_WAIT: Final = 30
"""Seconds a watcher may be kept waiting; it asks again, so that a dead one costs little."""


class LoginItem(msgspec.Struct, frozen=True, kw_only=True):
    """`outcome` is null while the login waits for the person, else succeeded, denied, failed or
    timed_out; `code` and `message` say why. At another device `user_code` is typed in at
    `verification_uri`. With client credentials there is nothing to open: `auth_url` is empty and
    the outcome is there at once.
    """

    flow_id: str
    server: str
    auth_url: str
    expires_at: Time
    outcome: str | None = None
    code: str | None = None
    message: str | None = None
    user_code: str | None = None
    verification_uri: str | None = None


class BeginLogin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the person logs in; null is as the server's `oauth.grant_type` says."""

    way: LoginWay | None = None


class WaitQuery(msgspec.Struct, frozen=True):
    wait: Annotated[float, msgspec.Meta(ge=0, le=MAX_WAIT)] = 0.0


class FinishLogin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The address the browser ended on, as it was pasted."""

    redirect_url: Annotated[str, msgspec.Meta(min_length=1, max_length=8192)]


async def _begin(call: Call[BeginLogin, NoQuery]) -> LoginItem:
    find(call.parts, call.name)
    return _item(await call.parts.logins.begin(call.name, call.body.way))


async def _watch(call: Call[NoBody, WaitQuery]) -> LoginItem:
    return _item(await call.parts.logins.wait(call.name, timedelta(seconds=call.query.wait)))


async def _finish(call: Call[FinishLogin, NoQuery]) -> LoginItem:
    return _item(await call.parts.logins.finish(call.body.redirect_url.strip()))


def _item(flow: LoginFlow) -> LoginItem:
    return LoginItem(
        flow_id=flow.flow_id,
        server=flow.server,
        auth_url=flow.authorization_url,
        expires_at=rfc3339(flow.expires_at),
        outcome=flow.outcome,
        code=flow.code,
        message=flow.message,
        user_code=flow.user_code,
        verification_uri=flow.verification_uri,
    )


ENDPOINTS: Final = (
    post("/api/v1/servers/{name}/login", "Begin a login", _begin, LoginItem, BeginLogin),
    get("/api/v1/logins/{flow_id}", "Watch a login", _watch, LoginItem, WaitQuery),
    post("/api/v1/logins/finish", "Finish a login", _finish, LoginItem, FinishLogin),
)
