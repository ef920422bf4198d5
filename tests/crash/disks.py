"""The story of an answer that is on the way while the disk ceases to take writes."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx2

from tests.crash.ground import Policy, names
from tests.crash.killing import SCALED
from tests.crash.provider_process import ProviderProcess
from tests.crash.seeding import stored, token_index
from tests.crash.stage import servers, sow
from tests.e2e.daemon import Daemon, caused_by, connected
from tests.peers.process import wait_until

UNDER_WAY = 1.5
OUTAGE = 3.0
"""Seconds; longer than every pause between two attempts to write."""


def answer_on_the_way_while(
    directory: Path, *, breaks: Callable[[int], None], heals: Callable[[int], None]
) -> None:
    """The daemon holds on to its answer, asks for no login meanwhile, and goes on by itself.

    `breaks` and `heals` get the daemon's pid.
    """
    (name,) = names(1, Policy.STRICT)
    with ProviderProcess(directory, [name], life=3600) as provider:
        sow(provider, directory / "data", life=3600)
        with Daemon(directory, servers=servers(provider, [name]), oauth_refresh=SCALED) as daemon:
            daemon.until(name, connected)
            provider.behave(hold=(UNDER_WAY, UNDER_WAY))
            with suppress(httpx2.ReadTimeout):
                daemon.request("POST", f"/servers/{name}/refresh", {}, timeout=0.3)
            (presented,) = provider.wait_for(1, deadline=30)
            pid = daemon.process.pid
            breaks(pid)
            try:
                daemon.until(name, caused_by("store_unwritable"))
                broken_at = time.monotonic()
                while time.monotonic() - broken_at < OUTAGE:
                    assert daemon.server(name)["health"]["action"] != "login"
                assert stored(daemon.data_dir)[name].generation == 1
            finally:
                heals(pid)
            wait_until(
                lambda: stored(daemon.data_dir)[name].generation == 2,
                deadline=15,
                what="the answer is stored after all",
            )
            daemon.until(name, connected)
        seen, grants = provider.record(), stored(directory / "data")
    assert [each.index for each in seen.presentations] == [presented.index]
    assert token_index(grants[name]) == 2
    assert not daemon.browser_was_opened()
