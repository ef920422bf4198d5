"""What every test shares: asynchronous tests run on asyncio, through anyio's plugin."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The product runs on asyncio (uvloop); a second backend would prove nothing about it."""
    return "asyncio"
