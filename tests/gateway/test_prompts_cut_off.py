"""A call that needs a login when mcpproxy stops."""

import asyncio

import pytest

from mcpproxy.core.errors import LoginRequired
from mcpproxy.core.ports import LoginFlow, LoginWay
from mcpproxy.gateway.access import OWNER
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.limits import DEFAULT_LIMITS
from mcpproxy.gateway.login_prompt import LoginPrompts
from tests.gateway.world import RealClock, until

pytestmark = pytest.mark.anyio


class SlowDesk:
    """A login that takes for ever to begin, as at a provider that does not answer."""

    begins = 0

    def pending(self, server: str) -> LoginFlow | None:
        return None

    async def begin(self, server: str, way: LoginWay | None = None) -> LoginFlow:
        self.begins += 1
        await asyncio.Event().wait()
        raise AssertionError("never")

    async def wait(self, flow_id: str, timeout: object) -> LoginFlow:
        raise AssertionError("nothing has begun")


async def test_it_does_not_wait_until_a_login_has_begun_and_begins_none() -> None:
    desk = SlowDesk()
    prompts = LoginPrompts(lambda: desk, RealClock(), DEFAULT_LIMITS)
    ask = Ask(OWNER, "tools/call", {})
    needs = LoginRequired("a login is needed")
    waiting = asyncio.create_task(prompts.after_login("up", ask, needs))
    await until(lambda: desk.begins == 1)
    prompts.cut_off()
    for call in (waiting, prompts.after_login("other", ask, needs)):
        with pytest.raises(LoginRequired, match="a login is needed"):
            await asyncio.wait_for(call, 5)
    assert desk.begins == 1
    for beginning in prompts._beginning.values():
        beginning.cancel()
