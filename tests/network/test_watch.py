"""A fresh network is noticed, soon and once; a lost one is waited out. In virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from mcpproxy.network.addresses import local_addresses
from mcpproxy.network.routes import Told
from tests.custody.bench import virtually
from tests.network.machine import CAFE, HOME, Diary, Machine

MINUTE = 60.0


@asynccontextmanager
async def watched(machine: Machine) -> AsyncIterator[Diary]:
    """The machine's watch, and when it told of a fresh network."""
    diary = Diary()
    async with machine.watch() as watch:
        keeping = asyncio.create_task(diary.keep(watch))
        await asyncio.sleep(MINUTE)
        yield diary
        keeping.cancel()


def now() -> float:
    return asyncio.get_running_loop().time()


@virtually
@pytest.mark.parametrize("tells", [True, False])
async def test_another_address_is_a_fresh_network_once(tells: bool) -> None:
    machine = Machine(HOME, tells=tells)
    async with watched(machine) as diary:
        machine.change(CAFE)
        changed_at = now()
        await asyncio.sleep(MINUTE)
        assert len(diary.told_at) == 1
        assert diary.told_at[0] - changed_at <= (1.0 if tells else 2.5)


@virtually
@pytest.mark.parametrize("tells", [True, False])
async def test_a_network_that_comes_back_is_fresh_and_one_that_goes_is_not(tells: bool) -> None:
    machine = Machine(HOME, tells=tells)
    async with watched(machine) as diary:
        machine.change()
        await asyncio.sleep(MINUTE)
        assert diary.told_at == []
        machine.change(HOME)
        await asyncio.sleep(MINUTE)
        assert len(diary.told_at) == 1


@virtually
async def test_a_second_way_out_is_fresh_and_its_end_is_not() -> None:
    machine = Machine(HOME)
    async with watched(machine) as diary:
        machine.change(HOME, "fd00::7")
        await asyncio.sleep(MINUTE)
        machine.change(HOME)
        await asyncio.sleep(MINUTE)
        assert len(diary.told_at) == 1


@virtually
async def test_a_new_route_is_fresh_though_the_address_stays() -> None:
    machine = Machine(HOME)
    async with watched(machine) as diary:
        machine.say(Told.NEWS)
        await asyncio.sleep(MINUTE)
        assert len(diary.told_at) == 1


@virtually
async def test_a_new_route_is_no_way_out_before_there_is_an_address_to_use_it_with() -> None:
    machine = Machine()
    async with watched(machine) as diary:
        machine.say(Told.NEWS)
        await asyncio.sleep(MINUTE)
        assert diary.told_at == []
        machine.change(HOME)
        await asyncio.sleep(MINUTE)
        assert len(diary.told_at) == 1


@virtually
async def test_a_burst_is_one_change_told_within_a_second() -> None:
    machine = Machine(HOME)
    async with watched(machine) as diary:
        began = now()
        for _ in range(20):
            machine.change(CAFE, told=Told.NEWS)
            await asyncio.sleep(0.02)
        await asyncio.sleep(MINUTE)
        assert len(diary.told_at) == 1
        assert diary.told_at[0] - began < 1.0


@virtually
async def test_a_kernel_that_never_pauses_holds_no_change_back_and_costs_few_looks() -> None:
    machine = Machine(HOME)
    async with watched(machine) as diary:
        machine.looks = 0
        for beat in range(1200):
            machine.change(CAFE if beat >= 600 else HOME)
            if beat == 600:
                changed_at = now()
            await asyncio.sleep(0.05)
        assert [at - changed_at < 1.5 for at in diary.told_at] == [True]
        assert machine.looks <= 120


@virtually
async def test_a_link_that_flaps_is_told_of_less_and_less_often() -> None:
    machine = Machine(HOME)
    async with watched(machine) as diary:
        for _ in range(600):
            machine.change()
            await asyncio.sleep(0.5)
            machine.change(HOME, told=Told.NEWS)
            await asyncio.sleep(0.5)
        gaps = [after - before for before, after in pairwise(diary.told_at)]
        assert len(diary.told_at) <= 30, "in ten minutes"
        assert round(min(gaps)) >= 1
        assert round(min(gaps[6:])) >= 30
        await asyncio.sleep(2 * MINUTE)
        calm = len(diary.told_at)
        machine.change(CAFE)
        changed_at = now()
        await asyncio.sleep(MINUTE)
        assert [at - changed_at < 1.0 for at in diary.told_at[calm:]] == [True]


@virtually
async def test_a_network_that_is_gone_again_when_it_would_be_told_is_not_told() -> None:
    machine = Machine(HOME)
    async with watched(machine) as diary:
        machine.change(CAFE)
        await asyncio.sleep(0.5)
        assert len(diary.told_at) == 1
        machine.change(HOME)
        await asyncio.sleep(0.4)
        machine.change()
        await asyncio.sleep(MINUTE)
        assert len(diary.told_at) == 1


@virtually
async def test_what_the_kernel_does_not_tell_is_seen_all_the_same() -> None:
    machine = Machine(HOME)
    async with watched(machine) as diary:
        machine.change(CAFE, told=Told.NOTHING)
        await asyncio.sleep(MINUTE)
        assert len(diary.told_at) == 1


@virtually
async def test_a_calm_machine_is_looked_at_seldom_when_its_kernel_tells() -> None:
    talkative, mute = Machine(HOME), Machine(HOME, tells=False)
    async with watched(talkative), watched(mute):
        talkative.looks = mute.looks = 0
        await asyncio.sleep(10 * MINUTE)
    assert talkative.looks <= 40
    assert mute.looks <= 300


@virtually
async def test_the_ear_is_closed_with_the_watch() -> None:
    machine = Machine(HOME)
    async with watched(machine):
        assert machine.is_heard
    assert not machine.is_heard


def test_asking_the_system_never_fails() -> None:
    assert all(isinstance(address, str) for address in local_addresses())
