"""Stories of links, addresses and routes that come and go, told by a real Linux kernel;
test_netlink.py runs them in a network of their own, where anybody may change it.
"""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable

import pytest

from mcpproxy.network.addresses import Addresses, local_addresses
from mcpproxy.network.netlink import Hear, Listener, listen
from mcpproxy.network.watch import NetworkWatch
from tests.network.machine import Diary
from tests.proof import record

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[{"use_uvloop": True}], ids=["uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """The loop that the daemon runs on where there is one."""
    return "asyncio", request.param


on_every_loop = pytest.mark.parametrize(
    "anyio_backend", [{"use_uvloop": True}, {"use_uvloop": False}], ids=str, indirect=True
)


def ip(*commands: str) -> None:
    """Each of them, in one go: a burst."""
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)


class Ear:
    """A watch on the machine's real network, what it told, and how often it looked."""

    def __init__(self) -> None:
        self.diary = Diary()
        self.looks = 0
        self.is_listening = False

    def addresses(self) -> Addresses:
        self.looks += 1
        return local_addresses()

    def listen(self, hear: Hear) -> Listener | None:
        listener = listen(hear)
        self.is_listening = listener is not None
        return listener

    async def told(self, times: int) -> float:
        """Wait until it told so often; how long that took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await _until(lambda: len(self.diary.told_at) >= times)
        assert len(self.diary.told_at) == times
        return loop.time() - began

    async def looked(self) -> None:
        """Wait until everything that the kernel said so far was considered."""
        before = self.looks
        ip("addr add 10.66.0.1/32 dev lo", "addr del 10.66.0.1/32 dev lo")
        await _until(lambda: self.looks > before)


async def _until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not fact():  # noqa: ASYNC110 - a fact of the code under test, not an event of ours
            await asyncio.sleep(0.01)


@pytest.fixture
async def ear() -> AsyncIterator[Ear]:
    """A machine with a cable that lies loose: a link that is up and has no address yet."""
    ip("link set lo up", "link add out0 type veth peer name out1", "link set out1 up")
    ip("link set out0 up")
    heard = Ear()
    try:
        async with NetworkWatch(heard.addresses, heard.listen) as watch:
            assert heard.is_listening
            keeping = asyncio.create_task(heard.diary.keep(watch))
            yield heard
            keeping.cancel()
    finally:
        ip("link del out0")


SOON_S = 3.0
"""On a machine that does much else; test_watch.py holds it to a second, and a look by itself would
come after fifteen."""

JOIN = ("addr add 10.9.0.2/24 dev out0", "route add default via 10.9.0.1 dev out0")
LEAVE = ("route del default", "addr del 10.9.0.2/24 dev out0")
CONTAINER = (
    "link add c0 type veth peer name c1",
    "link set c0 up",
    "link set c1 up",
    "addr add 172.30.0.1/16 dev c0",
    "addr add fd00:dead::1/64 dev c0 nodad",
    "link del c0",
)


@on_every_loop
async def test_a_network_that_is_joined_is_told_once_and_soon(ear: Ear) -> None:
    ip(*JOIN)
    took = await ear.told(1)
    assert took < SOON_S
    await ear.looked()
    assert len(ear.diary.told_at) == 1
    record(
        "fresh-network",
        goal="A network that is joined is told once, within a second, by the kernel's own word.",
        held=f"told after {took:.2f} s",
        figures={"told_after_s": round(took, 2), "told": len(ear.diary.told_at)},
    )


async def test_a_network_that_is_left_is_not_told_and_joined_again_it_is(ear: Ear) -> None:
    ip(*JOIN)
    await ear.told(1)
    ip(*LEAVE)
    await ear.looked()
    assert len(ear.diary.told_at) == 1
    ip(*JOIN)
    await ear.told(2)


async def test_a_network_with_ipv6_alone_is_told(ear: Ear) -> None:
    ip("addr add 2001:db8:1::2/64 dev out0 nodad", "route add default via fe80::1 dev out0")
    assert await ear.told(1) < SOON_S


async def test_another_router_is_told_though_the_address_stays(ear: Ear) -> None:
    ip(*JOIN)
    await ear.told(1)
    ip("route replace default via 10.9.0.254 dev out0")
    await ear.told(2)


async def test_a_route_that_is_announced_again_is_not_told(ear: Ear) -> None:
    ip(*JOIN)
    await ear.told(1)
    for _ in range(3):
        ip("route replace default via 10.9.0.1 dev out0")
    await ear.looked()
    assert len(ear.diary.told_at) == 1


async def test_a_vpn_that_takes_the_world_in_halves_is_told(ear: Ear) -> None:
    ip(*JOIN)
    await ear.told(1)
    ip(
        "link add tun0 type veth peer name tun1",
        "link set tun1 up",
        "link set tun0 up",
        "addr add 10.8.0.2/24 dev tun0",
        "route add 0.0.0.0/1 via 10.8.0.1 dev tun0",
        "route add 128.0.0.0/1 via 10.8.0.1 dev tun0",
    )
    try:
        await ear.told(2)
    finally:
        ip("link del tun0")


async def test_a_cable_that_is_plugged_in_again_is_told(ear: Ear) -> None:
    ip(*JOIN)
    await ear.told(1)
    ip("link set out1 down")
    await ear.looked()
    assert len(ear.diary.told_at) == 1
    ip("link set out1 up")
    await ear.told(2)


async def test_containers_that_come_and_go_are_not_told(ear: Ear) -> None:
    ip(*JOIN)
    await ear.told(1)
    for _ in range(5):
        ip(*CONTAINER)
    await ear.looked()
    assert len(ear.diary.told_at) == 1


async def test_a_link_that_flaps_is_no_storm(ear: Ear) -> None:
    for _ in range(20):
        ip(*JOIN)
        ip(*LEAVE)
    ip(*JOIN)
    await ear.told(1)
    await ear.looked()
    assert len(ear.diary.told_at) <= 2


async def test_more_news_than_the_kernel_keeps_for_us_is_no_loss(ear: Ear) -> None:
    """The loop is blocked while thousands of messages come: the kernel drops the last ones."""
    ip(*(f"link set out1 mtu {1280 + n % 200}" for n in range(2000)), *JOIN)
    await ear.told(1)
