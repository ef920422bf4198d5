"""What a real Linux kernel tells is heard, and where it may not be heard nobody stumbles."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from mcpproxy.network.netlink import listen

ROOT = Path(__file__).parents[2]


def test_links_addresses_and_routes_that_come_and_go(tmp_path: Path) -> None:
    """The stories of tests/network/links.py, in a network where anybody may change anything."""
    namespace = ["unshare", "--net"]
    if os.geteuid() != 0:
        namespace[1:1] = ["--user", "--map-root-user"]
    pytest_there = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"]
    run = subprocess.run(
        [*namespace, *pytest_there, f"--basetemp={tmp_path / 'links'}", "tests/network/links.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


class NoReaders(asyncio.SelectorEventLoop):
    """A loop that can wait for no socket, as the one of Windows."""

    def add_reader(self, *_: object) -> None:
        raise NotImplementedError


async def _listens() -> bool:
    listener = listen(lambda told: None)
    if listener is not None:
        listener.close()
    return listener is not None


def test_a_loop_that_cannot_wait_for_a_socket_is_told_so_without_an_error() -> None:
    with asyncio.Runner(loop_factory=NoReaders) as runner:
        assert not runner.run(_listens())


def test_a_system_that_forbids_it_is_told_so_without_an_error() -> None:
    """No more descriptors is how any process can be forbidden a socket."""
    program = (
        "import asyncio, os, resource\n"
        "from mcpproxy.network.netlink import listen\n"
        "async def main():\n"
        "    here = os.open('/', os.O_RDONLY)\n"
        "    os.close(here)\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (here, here))\n"
        "    print(listen(lambda told: None))\n"
        "asyncio.run(main())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout == "None\n"
