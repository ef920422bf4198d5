"""What is sent to prove who we are, and what a refusal of it leads to."""

from dataclasses import dataclass, field

import pytest

from mcpproxy.core.connection import ConnectionState, Trouble
from mcpproxy.core.errors import LoginRequired, RefreshPending, UnknownTool, UpstreamError
from mcpproxy.core.model import Secret, Upstream
from tests.gateway.calls import TIMEOUT, call, failing
from tests.gateway.hostile import TOOL, Raw, Scripted, Seen, scripted
from tests.gateway.world import running

pytestmark = pytest.mark.anyio


@dataclass
class Tokens:
    """A TokenSource whose answers a test decides."""

    current: str | None = "old"
    fresh: str = "new"
    trouble: Exception | None = None
    rejected: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)

    def peek(self, server: str, url: str) -> Secret | None:
        return Secret(self.current) if self.current else None

    async def token(self, server: str, url: str) -> Secret | None:
        if self.trouble is not None:
            raise self.trouble
        return None

    async def challenged(self, server: str, url: str, rejected: Secret) -> Secret:
        self.rejected.append(rejected.reveal())
        if self.trouble is not None:
            raise self.trouble
        self.current = self.fresh
        return Secret(self.fresh)

    async def accepted(self, server: str, token: Secret) -> None:
        self.taken.append(token.reveal())


def guarded(good: set[str]) -> Scripted:
    async def answer(seen: Seen) -> Raw | None:
        token = seen.headers.get("authorization", "").removeprefix("Bearer ")
        if token in good:
            return None
        return Raw(401, headers={"WWW-Authenticate": 'Bearer resource_metadata="https://x"'})

    return Scripted(answer)


async def test_a_401_is_challenged_once_and_the_call_replayed_once() -> None:
    server, tokens = guarded({"new"}), Tokens()
    async with scripted(server) as url, running(Upstream("up", url=url), tokens=tokens) as site:
        await site.connected("up")
        assert "content" in await call(site)
        assert tokens.rejected[0] == "old"
        assert set(tokens.taken) == {"new"}
        assert server.count("tools/call") == 1


async def test_a_token_that_is_refused_though_fresh_is_no_loop() -> None:
    server, tokens = guarded(set()), Tokens()
    async with scripted(server) as url, running(Upstream("up", url=url), tokens=tokens) as site:
        await failing(site, Trouble.LOGIN_NEEDED)
        tries = server.count("initialize")
        assert tries <= 2 * len(tokens.rejected)
        assert not tokens.taken


async def test_without_a_login_a_401_says_that_one_is_needed_and_keeps_its_challenge() -> None:
    async with (
        scripted(guarded(set())) as url,
        running(Upstream("up", url=url), tokens=Tokens(current=None)) as site,
    ):
        assert "login" in await failing(site, Trouble.LOGIN_NEEDED)
        assert site.gateway.challenge("up") == 'Bearer resource_metadata="https://x"'


@pytest.mark.parametrize(
    "trouble",
    [
        LoginRequired("Not logged in", next_step="mcpproxy auth login up"),
        RefreshPending("The token is being refreshed", retry_at=None),
    ],
)
async def test_trouble_with_the_token_reaches_the_caller_as_itself(trouble: Exception) -> None:
    server, tokens = guarded({"good"}), Tokens(current="good")
    async with scripted(server) as url, running(Upstream("up", url=url), tokens=tokens) as site:
        await site.connected("up")
        tokens.current, tokens.trouble = None, trouble
        with pytest.raises(type(trouble)):
            await call(site)


async def test_a_configured_authorization_header_takes_the_tokens_place() -> None:
    headers = {"authorization": Secret("Bearer mine"), "Mcp-Session-Id": Secret("theirs")}
    server = guarded({"mine"})
    async with scripted(server) as url:
        upstream = Upstream("up", url=url, headers=headers)
        async with running(upstream, tokens=Tokens()) as site:
            await site.connected("up")
            assert server.seen[0].headers.get("mcp-session-id") is None


async def test_a_403_that_asks_for_more_scope_says_which_and_keeps_its_challenge() -> None:
    wanted = 'Bearer error="insufficient_scope", scope="files:write"'

    async def answer(seen: Seen) -> Raw | None:
        if seen.method == "tools/call":
            return Raw(403, headers={"WWW-Authenticate": wanted})
        return None

    async with scripted(Scripted(answer)) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        with pytest.raises(UpstreamError, match="files:write") as raised:
            await call(site)
        assert raised.value.next_step == "log in with: mcpproxy auth login up"
        assert site.gateway.challenge("up") == wanted
        assert site.gateway.connection("up").state is ConnectionState.CONNECTED


async def test_a_server_that_wants_more_scope_to_be_connected_at_all_asks_for_a_login() -> None:
    wanted = 'Bearer error="insufficient_scope", scope="files:read"'

    async def answer(seen: Seen) -> Raw:
        return Raw(403, headers={"WWW-Authenticate": wanted})

    async with scripted(Scripted(answer)) as url, running(Upstream("up", url=url)) as site:
        assert "files:read" in await failing(site, Trouble.SCOPE_NEEDED)
        assert site.gateway.challenge("up") == wanted


async def test_a_tool_that_is_not_listed_is_not_called() -> None:
    server = Scripted(tools=[{"name": "hidden"}, TOOL])
    async with scripted(server) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        with pytest.raises(UnknownTool, match="up has no tool hidden"):
            await site.gateway.call_tool("up", "hidden", b"{}", timeout=TIMEOUT)
        assert server.count("tools/call") == 0
