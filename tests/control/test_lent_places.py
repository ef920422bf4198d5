"""While its client is asked, a call lends its place to what the client reads meanwhile."""

import asyncio
from datetime import timedelta

import pytest

from mcpproxy.core.control import Bounds, Control, ServerControl
from tests.gateway.asking_peer import FORM, AskingServer, asking, asking_site, heard_in
from tests.gateway.by_hand import a_peer
from tests.gateway.test_parking import ADA, modern, retry, sent
from tests.gateway.world import until

pytestmark = pytest.mark.anyio

ONE = Bounds(at_once=1, waiting=5, patience=timedelta(seconds=30))
READ = {"jsonrpc": "2.0", "id": 9, "method": "resources/read", "params": {"uri": "note://x"}}
CALL = {"jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": {"name": "ask"}}


async def test_what_a_client_reads_to_answer_does_not_wait_for_the_call_that_asks() -> None:
    control = Control(others=ServerControl(bounds=ONE))
    async with (
        asking_site(server := AskingServer(), control=control) as site,
        a_peer(site) as peer,
        a_peer(site, "/s/up") as alone,
    ):
        await alone.begin()
        call = asking(1, [FORM])
        parked = await sent(peer, modern(call))
        read = await asyncio.wait_for(alone.post(READ), 10)
        assert read.json()["error"]["message"] == "Method not found"  # the server itself says so
        # Another call waits all the same: it might meet the first one half-way.
        other = asyncio.create_task(alone.post(CALL))
        loads = site.gateway.governor.loads
        await until(lambda: ("up", 1, 1) in {(e.server, e.active, e.waiting) for e in loads()})
        assert server.calls == 1
        done = await sent(peer, retry(call, parked, {"q1": ADA}))
        assert heard_in(done) == [{"result": ADA}]
        assert (await other).status_code == 200
        assert server.calls == 2
        assert {each.server: each.active for each in loads()}["up"] == 0
