"""Logins at another device: asked about in the provider's pace, by whichever process lives."""

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest

from mcpproxy.core.errors import LoginError
from mcpproxy.core.model import GrantType, OAuthConfig, Secret, Upstream
from mcpproxy.core.notices import LoginFailed, LoginSucceeded
from mcpproxy.core.ports import LoginWay
from mcpproxy.core.provider_ports import DeviceWait
from tests.builders import SERVER_URL
from tests.custody.bench import NAME, until, virtually
from tests.custody.desk import PENDING_FOR, POLL_EVERY, a_desk

MINUTE = timedelta(minutes=1)
YES = Secret("the answer")


def wait(pause: int, interval: int | None = None) -> DeviceWait:
    return DeviceWait(timedelta(seconds=pause), timedelta(seconds=interval or pause))


@virtually
async def test_the_person_gets_a_code_and_is_logged_in_once_they_are_done() -> None:
    async with a_desk() as desk:
        flow = await desk.logins.begin(NAME, LoginWay.DEVICE)
        assert flow.user_code == "CODE-1"
        assert flow.verification_uri == flow.authorization_url.partition("?")[0]
        assert desk.logins.pending(NAME) == flow
        assert desk.port.held == 0, "nobody comes back to this machine"
        desk.pages.says = [wait(5), wait(5), YES]
        done = await desk.logins.wait(flow.flow_id, MINUTE)
        assert done.outcome == "succeeded"
        assert await desk.manager.token(NAME, SERVER_URL) == Secret("access-1")
        assert desk.bench.world.logins == {}
        assert len(desk.bench.notices.of(LoginSucceeded)) == 1


@virtually
async def test_the_configuration_can_make_it_the_usual_way() -> None:
    async with a_desk() as desk:
        config = OAuthConfig(grant_type=GrantType.DEVICE_CODE)
        desk.upstreams[NAME] = Upstream(NAME, url=SERVER_URL, oauth=config)
        assert (await desk.logins.begin(NAME)).user_code is not None
        assert (await desk.logins.begin(NAME, LoginWay.BROWSER)).user_code is None


@virtually
async def test_the_provider_is_asked_one_thing_at_a_time_and_in_its_pace() -> None:
    async with a_desk() as desk:
        desk.pages.says = [wait(5), wait(10), wait(10), wait(30, 10), YES]
        began = desk.bench.clock.now()
        flow = await desk.logins.begin(NAME, LoginWay.DEVICE)
        await desk.logins.wait(flow.flow_id, 5 * MINUTE)
        assert desk.pages.polls[0] - began == POLL_EVERY
        gaps = [after - before for before, after in pairwise(desk.pages.polls)]
        assert gaps == [timedelta(seconds=s) for s in (5, 10, 10, 30)]


@virtually
async def test_a_slower_pace_outlives_the_process() -> None:
    async with a_desk() as desk:
        desk.pages.says = [wait(20)]
        await desk.logins.begin(NAME, LoginWay.DEVICE)
        await until(lambda: desk.pages.polls)
        await desk.logins.stop()
        (stored,) = desk.bench.world.logins.values()
        assert stored.device is not None
        assert stored.device.interval == timedelta(seconds=20)


@virtually
async def test_the_next_process_goes_on_asking() -> None:
    async with a_desk() as desk:
        flow = await desk.logins.begin(NAME, LoginWay.DEVICE)
        await desk.logins.stop()
        asked = len(desk.pages.polls)
        await asyncio.sleep(60)
        assert len(desk.pages.polls) == asked, "a process that stops asks no more"
        desk.logins = desk.restarted()
        desk.pages.says = [wait(5), YES]
        await desk.logins.start()
        assert desk.logins.pending(NAME) == flow
        assert (await desk.logins.wait(flow.flow_id, MINUTE)).outcome == "succeeded"


@virtually
async def test_an_answer_that_is_under_way_when_we_stop_comes_home() -> None:
    async with a_desk() as desk:
        desk.pages.gate = asyncio.Event()
        desk.pages.says = [YES]
        flow = await desk.logins.begin(NAME, LoginWay.DEVICE)
        await until(lambda: desk.pages.polls)
        stopping = asyncio.create_task(desk.logins.stop())
        await asyncio.sleep(1)
        assert not stopping.done()
        desk.pages.gate.set()
        await stopping
        assert (await desk.logins.wait(flow.flow_id, MINUTE)).outcome == "succeeded"
        assert desk.bench.stored.login_id == flow.flow_id


@virtually
async def test_a_code_that_nobody_types_in_expires() -> None:
    async with a_desk() as desk:
        flow = await desk.logins.begin(NAME, LoginWay.DEVICE)
        ended = await desk.logins.wait(flow.flow_id, PENDING_FOR + MINUTE)
        assert (ended.outcome, ended.code) == ("timed_out", "login_timed_out")
        assert desk.bench.world.logins == {}
        asked = len(desk.pages.polls)
        await asyncio.sleep(60)
        assert len(desk.pages.polls) == asked


@virtually
async def test_one_that_ended_while_we_were_away_is_forgotten() -> None:
    async with a_desk() as desk:
        await desk.logins.begin(NAME, LoginWay.DEVICE)
        await desk.logins.stop()
        await asyncio.sleep(PENDING_FOR.total_seconds())
        await desk.restarted().start()
        assert desk.bench.world.logins == {}


@virtually
async def test_trouble_of_our_own_ends_the_login_with_its_reason() -> None:
    async with a_desk() as desk:
        desk.pages.fails = LoginError("the key cannot sign")
        flow = await desk.logins.begin(NAME, LoginWay.DEVICE)
        ended = await desk.logins.wait(flow.flow_id, MINUTE)
        assert (ended.outcome, ended.message) == ("failed", "the key cannot sign")
        (told,) = desk.bench.notices.of(LoginFailed)
        assert told.message == "the key cannot sign"
        assert len(desk.pages.polls) == 1


@virtually
@pytest.mark.parametrize("name", ["local", "nobody"])
async def test_only_servers_with_a_url_have_a_device_login(name: str) -> None:
    async with a_desk() as desk:
        with pytest.raises(Exception, match=r"local command|no server"):
            await desk.logins.begin(name, LoginWay.DEVICE)
