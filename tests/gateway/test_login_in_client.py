"""A login that is needed reaches the person inside their client, and the call goes on after it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mcpproxy.core.errors import DiscoveryFailed, LoginRequired
from mcpproxy.core.model import Secret, Upstream
from mcpproxy.core.ports import LoginFlow, LoginWay
from mcpproxy.gateway.access import Caller, Permit
from tests.gateway.asking_peer import asking, asking_site
from tests.gateway.by_hand import Peer, a_peer, a_site, streaming
from tests.gateway.hostile import Scripted, Seen, scripted
from tests.gateway.libraries import result
from tests.gateway.test_asked_back import answer_to, begun
from tests.gateway.test_parking import modern, retry, sent
from tests.gateway.world import FAST, KEY, Site, running, until

pytestmark = pytest.mark.anyio
URL: dict[str, Any] = {"elicitation": {"url": {}}}
ACCEPT = {"result": {"action": "accept"}}


@dataclass
class Desk:
    """A LoginDesk and a TokenSource: without a login until `person` has finished one."""

    begun: list[str] = field(default_factory=list)
    refuses: bool = False
    user_code: str | None = None
    flow: LoginFlow | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)
    token_there: bool = True

    async def begin(self, server: str, way: LoginWay | None = None) -> LoginFlow:
        self.begun.append(server)
        if self.refuses:
            raise DiscoveryFailed("nobody is there")
        self.flow = LoginFlow(
            f"f{len(self.begun)}",
            server,
            f"https://provider.test/authorize?n={len(self.begun)}",
            datetime.now(UTC) + timedelta(minutes=10),
            user_code=self.user_code,
        )
        return self.flow

    def pending(self, server: str) -> LoginFlow | None:
        return self.flow if self.flow is not None and self.flow.outcome is None else None

    async def wait(self, flow_id: str, timeout: timedelta) -> LoginFlow:
        await self.done.wait()
        assert self.flow is not None
        assert self.flow.flow_id == flow_id
        return self.flow

    def person(self, outcome: str = "succeeded") -> None:
        """The person comes back from the provider."""
        assert self.flow is not None
        self.flow = replace(self.flow, outcome=outcome)
        self.token_there = outcome == "succeeded"
        self.done.set()

    def peek(self, server: str, url: str) -> Secret | None:
        return Secret("token") if self.token_there else None

    async def token(self, server: str, url: str) -> Secret | None:
        if not self.token_there:
            raise LoginRequired(f"{server}: the provider ended the login")
        return Secret("token")

    async def challenged(self, server: str, url: str, rejected: Secret) -> Secret:
        raise AssertionError("nothing is rejected")

    async def accepted(self, server: str, token: Secret) -> None: ...

    async def finish(self, redirect: str) -> LoginFlow:
        raise AssertionError("nobody pastes anything")

    async def logout(self, server: str) -> str | None:
        raise AssertionError("nobody logs out")


@asynccontextmanager
async def ended(desk: Desk, **fields: Any) -> AsyncIterator[Site]:
    """A gateway whose login at `up` has ended."""
    async with asking_site(tokens=desk, desk=lambda: desk, **fields) as site:
        desk.token_there = False
        yield site


READS: dict[str, Any] = {
    "resources/read": {"uri": "up+note://1"},
    "prompts/get": {"name": "up__review"},
    "completion/complete": {
        "ref": {"type": "ref/prompt", "name": "up__review"},
        "argument": {"name": "a", "value": ""},
    },
}
READ: dict[str, Any] = {
    "resources/read": {"contents": [{"uri": "note://1", "text": "words"}]},
    "prompts/get": {"messages": []},
    "completion/complete": {"completion": {"values": ["x"]}},
}


async def readable(seen: Seen) -> Any:
    """A server that has one of everything."""
    if seen.method == "initialize":
        return result(
            protocolVersion="2025-11-25",
            capabilities={"prompts": {}, "resources": {}, "completions": {}},
            serverInfo={"name": "x", "version": "1"},
        )
    if seen.method == "prompts/list":
        return result(prompts=[{"name": "review"}])
    read = READ.get(seen.method or "")
    return None if read is None else {"result": read}


@asynccontextmanager
async def unread(desk: Desk) -> AsyncIterator[Site]:
    """As `ended`, with something to read."""
    async with a_site(Scripted(readable), tokens=desk, desk=lambda: desk) as site:
        await site.offered("up")
        desk.token_there = False
        yield site


def reading(method: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": READS[method]}


def words_of(answer: Any) -> str:
    assert answer["result"]["isError"] is True, answer
    said: str = answer["result"]["content"][0]["text"]
    return said


async def plain(peer: Peer, request_id: Any = 1) -> Any:
    return (await peer.post(asking(request_id))).json()


async def test_a_legacy_client_is_sent_to_the_login_and_its_call_goes_on() -> None:
    desk = Desk()
    async with ended(desk) as site, a_peer(site) as peer:
        await begun(peer, **URL)
        async with streaming(peer, "POST", asking(1)) as stream:
            question = await stream.next()
            assert question["method"] == "elicitation/create"
            params = question["params"]
            assert params["mode"] == "url"
            assert params["url"] == "https://provider.test/authorize?n=1"
            assert "up needs you to log in" in params["message"]
            await peer.post(answer_to(question, ACCEPT))
            desk.person()
            told = await stream.next()
            assert told["method"] == "notifications/elicitation/complete"
            assert told["params"] == {"elicitationId": params["elicitationId"]}
            answer = await stream.next()
            assert "isError" not in answer["result"]
    assert desk.begun == ["up"]


async def test_a_stateless_client_is_sent_to_the_login_and_its_retry_goes_on() -> None:
    desk = Desk()
    async with ended(desk) as site, a_peer(site) as peer:
        call = asking(1)
        wanted = await sent(peer, modern(call, declares=URL))
        asked = wanted["result"]["inputRequests"]["q1"]
        assert asked["method"] == "elicitation/create"
        assert asked["params"]["url"] == "https://provider.test/authorize?n=1"
        again = retry(call, wanted, {"q1": {"action": "accept"}}, declares=URL)
        going = asyncio.create_task(sent(peer, again))
        await until(lambda: len(site.gateway._down.lot) == 0)
        desk.person()
        answer = await going
        assert answer["result"]["resultType"] == "complete"
        assert "isError" not in answer["result"]


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_who_says_no_gets_the_error_with_the_command_and_the_link(action: str) -> None:
    desk = Desk()
    async with ended(desk) as site, a_peer(site) as peer:
        await begun(peer, **URL)
        async with streaming(peer, "POST", asking(1)) as stream:
            question = await stream.next()
            await peer.post(answer_to(question, {"result": {"action": action}}))
            said = words_of(await stream.next())
            assert "mcpproxy auth login up" in said
            assert "https://provider.test/authorize?n=1 " in said


async def test_who_cannot_be_sent_anywhere_reads_the_command_and_the_link() -> None:
    desk = Desk()
    async with ended(desk) as site, a_peer(site) as peer:
        await begun(peer)
        for number in range(3):
            said = words_of(await plain(peer, number))
            assert said.startswith("up: the provider ended the login. ")
            assert "Log in with: mcpproxy auth login up." in said
            assert "https://provider.test/authorize?n=1 " in said
    assert desk.begun == ["up"]


async def test_a_login_that_fails_is_the_error_of_the_call() -> None:
    desk = Desk()
    async with ended(desk) as site, a_peer(site) as peer:
        await begun(peer, **URL)
        async with streaming(peer, "POST", asking(1)) as stream:
            await peer.post(answer_to(await stream.next(), ACCEPT))
            desk.person("denied")
            assert (await stream.next())["method"] == "notifications/elicitation/complete"
            assert "the provider ended the login" in words_of(await stream.next())


async def test_a_login_that_cannot_be_begun_is_not_begun_with_every_call() -> None:
    desk = Desk(refuses=True)
    async with ended(desk) as site, a_peer(site) as peer:
        await begun(peer, **URL)
        for number in range(5):
            said = words_of(await plain(peer, number))
            assert "Log in with: mcpproxy auth login up" in said
            assert "http" not in said
    assert desk.begun == ["up"]


async def test_many_calls_of_one_client_ask_its_person_once() -> None:
    desk = Desk()
    async with ended(desk) as site, a_peer(site) as peer:
        await begun(peer, **URL)
        async with streaming(peer, "POST", asking(1)) as stream:
            question = await stream.next()
            others = [asyncio.create_task(plain(peer, n)) for n in range(2, 6)]
            session = next(iter(site.gateway._down.sessions))
            await until(lambda: len(session.in_flight) == 5)
            await peer.post(answer_to(question, ACCEPT))
            desk.person()
            for answer in await asyncio.gather(*others):
                assert "isError" not in answer["result"]
    assert desk.begun == ["up"]


async def test_who_may_not_change_the_proxy_begins_no_login() -> None:
    def reader(scope: Any) -> Caller | None:
        work = frozenset({Permit.READ, Permit.WRITE, Permit.DESTRUCTIVE})
        return Caller("agent", permits=work)

    desk = Desk()
    async with ended(desk, who=reader) as site, a_peer(site) as peer:
        await begun(peer, **URL)
        assert "http" not in words_of(await plain(peer))
    assert desk.begun == []


async def test_a_code_to_type_in_is_told() -> None:
    desk = Desk(user_code="ABCD-EFGH")
    async with ended(desk) as site, a_peer(site) as peer:
        await begun(peer, **URL)
        async with streaming(peer, "POST", asking(1)) as stream:
            question = await stream.next()
            assert "ABCD-EFGH" in question["params"]["message"]
            await peer.post(answer_to(question, {"result": {"action": "cancel"}}))
            await stream.next()


async def test_a_client_that_goes_away_while_it_is_asked_leaves_nothing_behind() -> None:
    desk = Desk()
    limits = replace(FAST, resume_grace=timedelta(milliseconds=50))
    async with ended(desk, limits=limits) as site, a_peer(site) as peer:
        await begun(peer, **URL)
        async with streaming(peer, "POST", asking(1)) as stream:
            await stream.next()
        session = next(iter(site.gateway._down.sessions))
        await until(lambda: not session.in_flight)
        assert not site.gateway._dispatch._logins._asking
        assert peer.headers["X-API-Key"] == KEY


# --- what is no call ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", READS)
async def test_a_read_among_all_servers_goes_on_after_the_login_too(method: str) -> None:
    desk = Desk()
    async with unread(desk) as site, a_peer(site) as peer:
        await begun(peer, **URL)
        async with streaming(peer, "POST", reading(method)) as stream:
            question = await stream.next()
            assert question["params"]["url"] == "https://provider.test/authorize?n=1"
            await peer.post(answer_to(question, ACCEPT))
            desk.person()
            assert (await stream.next())["method"] == "notifications/elicitation/complete"
            answer = await stream.next()
    member = next(iter(READ[method]))
    assert len(answer["result"][member]) == len(READ[method][member])


@pytest.mark.parametrize("method", READS)
async def test_a_stateless_client_is_asked_for_a_login_where_its_era_lets_it(method: str) -> None:
    desk = Desk()
    name = READS[method].get("uri", READS[method].get("name"))
    headers = {"Mcp-Method": method, **({} if name is None else {"Mcp-Name": name})}
    async with unread(desk) as site, a_peer(site) as peer:
        peer.headers.update({"MCP-Protocol-Version": "2026-07-28", **headers})
        read = modern(reading(method), declares=URL)
        wanted = (await peer.post(read)).json()
        if name is None:
            assert "https://provider.test/authorize?n=1 " in wanted["error"]["message"]
            return
        assert wanted["result"]["inputRequests"]["q1"]["method"] == "elicitation/create"
        desk.person()
        again = retry(reading(method), wanted, {"q1": {"action": "accept"}}, declares=URL)
        answer = (await peer.post(again)).json()
        assert answer["result"]["resultType"] == "complete"


async def test_a_prompt_of_a_server_that_was_never_there_is_waited_for_with_its_login() -> None:
    desk = Desk(token_there=False)
    async with (
        scripted(Scripted(readable)) as url,
        running(Upstream("up", url=url), tokens=desk, desk=lambda: desk) as site,
        a_peer(site) as peer,
    ):
        await begun(peer, **URL)
        async with streaming(peer, "POST", reading("prompts/get")) as stream:
            question = await stream.next()
            assert question["method"] == "elicitation/create"
            await peer.post(answer_to(question, ACCEPT))
            desk.person()
            await site.gateway.restart("up")  # as the program does after a login
            assert (await stream.next())["method"] == "notifications/elicitation/complete"
            answer = await stream.next()
    assert answer["result"] == {"messages": []}, answer
