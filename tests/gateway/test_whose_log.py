"""What a server logs on a wire that all share: whose it may be, and who hears it."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest

from mcpproxy.gateway.client import Era
from mcpproxy.gateway.levels import LOG
from mcpproxy.gateway.wire import jsonrpc
from tests.gateway.libraries import Ears, libraries
from tests.gateway.lone_upstream import Lone, a_client, lone
from tests.gateway.test_asking_back import a_process, waiting
from tests.gateway.world import until

pytestmark = [
    pytest.mark.anyio,
    # What the stateless era deprecates is what these tests are about.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


async def log_while(up: Lone, client: Any, *others: Any) -> frozenset[str]:
    """Whose the log of this client's call may be while the others have calls in flight."""
    waits = [await waiting(up, other) for other in others]
    assert await up.call("log", client) == "logged"
    await up.call("go")
    await asyncio.gather(*waits)
    return up.about.pop()


async def test_a_log_may_be_of_any_caller_that_has_a_call_in_flight(tmp_path: Path) -> None:
    async with lone(a_process(tmp_path)) as up:
        await up.connected()
        anna, bert = a_client(caller="anna"), a_client(caller="bert")
        assert await log_while(up, anna) == {"anna"}
        assert await log_while(up, anna, anna) == {"anna"}
        assert await log_while(up, anna, bert) == {"anna", "bert"}
        assert await log_while(up, None, bert) == {"", "bert"}


async def test_a_stateless_call_has_no_log_that_may_be_another_callers(tmp_path: Path) -> None:
    heard: list[Any] = []
    async with lone(a_process(tmp_path)) as up:
        await up.connected()
        silent = await waiting(up, a_client(caller="bert"))
        await up.call("log", a_client(caller="anna", era=Era.MODERN), heard.append)
        assert heard == []
        assert up.about == [frozenset({"anna", "bert"})]
        await up.call("go")
        await silent


DONE = "notifications/elicitation/complete"
EARS = ("owner", "owner /s/one", "half", "half /s/one", "tooled /s/one")


ALWAYS = {"owner", "owner /s/one"}
CASES: tuple[tuple[tuple[str, ...], set[str]], ...] = (
    ((), set(EARS)),
    (("half",), {"half", "half /s/one"}),
    (("owner",), ALWAYS),
    (("half", "tooled"), ALWAYS),
    (("half", "owner"), ALWAYS),
    (("elsewhere",), set()),
)


async def test_a_log_goes_to_whose_it_is_and_if_that_is_unsure_to_who_has_no_limits() -> None:
    ears = {name: Ears() for name in EARS}
    async with libraries("legacy") as world, AsyncExitStack() as clients:
        for name, heard in ears.items():
            caller, _, at = name.partition(" ")
            asked = world.client(at=at, caller=caller, message_handler=heard)
            client = await clients.enter_async_context(asked)
            if not at:
                await client.session.set_logging_level("debug")
        sessions = world.site.gateway._down.sessions
        await until(lambda: sum(each.standing is not None for each in sessions) == len(ears))
        for number, (about, _) in enumerate(CASES):
            said = jsonrpc.raw({"level": "error", "data": number})
            message = jsonrpc.members(jsonrpc.notification(LOG, said))
            world.site.gateway.notified("one", LOG, message, frozenset(about))
        last = jsonrpc.notification(DONE, jsonrpc.raw({"elicitationId": "1"}))
        world.site.gateway.notified("one", DONE, jsonrpc.members(last), frozenset())
        ended = types.ElicitCompleteNotification
        await until(lambda: all(bool(each.of(ended)) for each in ears.values()))
        logs = types.LoggingMessageNotification
        for name, each in ears.items():
            due = [number for number, (_, hear) in enumerate(CASES) if name in hear]
            assert [note.params.data for note in each.of(logs)] == due
