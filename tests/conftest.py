"""What every test shares: asynchronous tests run on asyncio, through anyio's plugin."""

import signal

import pytest

# A shell's background job ignores SIGINT, and so would every program that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

CRASH = "crash"
"""Tests that count on a core of their own: they never run two at a time."""


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The product runs on asyncio (uvloop); a second backend would prove nothing about it."""
    return "asyncio"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What `--dist=loadgroup` keeps on one worker: a file, and all of the crash tests."""
    for item in items:
        group = CRASH if item.path.parent.name == CRASH else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
