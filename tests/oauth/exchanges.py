"""What the tests of the OAuth client send, and how they read what came of it."""

from datetime import timedelta

from mcpproxy.core.http import HttpReply, HttpRequest, NoReply
from mcpproxy.core.model import FailureKind, RefreshFailure
from mcpproxy.core.policy import RefreshPolicy
from mcpproxy.oauth.client import OAuthHttpSender
from tests.oauth.wire import Connection

BODY = b"grant_type=refresh_token&refresh_token=the-secret"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
QUICK = RefreshPolicy(answer_timeout=timedelta(seconds=0.6))
HASTY = RefreshPolicy(connect_timeout=timedelta(seconds=0.4))
NOT_SENT, UNKNOWN = FailureKind.NOT_SENT, FailureKind.UNKNOWN


def post(port: int, *, scheme: str = "http", host: str = "127.0.0.1") -> HttpRequest:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return HttpRequest("POST", f"{scheme}://{host}:{port}/token", headers, BODY)


async def fine(connection: Connection) -> None:
    await connection.request()
    await connection.send(OK)


class Intent:
    """A `before_send` that notes when it was awaited."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self) -> None:
        self.times += 1


def failure_of(reply: HttpReply | NoReply) -> RefreshFailure:
    assert isinstance(reply, NoReply), reply
    return reply.failure


async def not_sent(request: HttpRequest, sender: OAuthHttpSender | None = None) -> RefreshFailure:
    intent = Intent()
    reply = await (sender or OAuthHttpSender()).exchange(request, before_send=intent)
    failure = failure_of(reply)
    assert failure.kind is NOT_SENT
    assert intent.times == 0
    return failure
