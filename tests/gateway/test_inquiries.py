"""A question that is taken back: where its client hears so."""

import asyncio
import contextlib

import pytest

from mcpproxy.gateway.inquiries import Inquiries
from mcpproxy.gateway.limits import DEFAULT_LIMITS
from mcpproxy.gateway.shares import Holder
from mcpproxy.gateway.streams import EventStream, Kept

pytestmark = pytest.mark.anyio


def a_stream(name: str) -> EventStream:
    return EventStream(name, Holder("anna"), Kept(DEFAULT_LIMITS), lambda _: None)


async def taken_back(inquiries: Inquiries, stream: EventStream) -> None:
    """After the stream's response, as when a server answers a call without waiting any longer."""
    asking = asyncio.create_task(inquiries.ask("roots/list", None, stream, 20))
    await asyncio.sleep(0)
    assert len(inquiries) == 1
    stream.put(b"{}")
    stream.end()
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking
    assert len(inquiries) == 0


async def test_nothing_follows_a_response_and_it_is_said_on_the_standing_stream() -> None:
    stream, standing = a_stream("answer"), a_stream("standing")
    await taken_back(Inquiries(lambda: standing), stream)
    assert (stream.unwritten, standing.unwritten) == (2, 1)


async def test_without_another_stream_that_goes_on_it_is_not_said() -> None:
    stream, over = a_stream("answer"), a_stream("standing")
    await taken_back(Inquiries(lambda: None), stream)
    over.end()
    await taken_back(Inquiries(lambda: over), again := a_stream("another"))
    assert (stream.unwritten, again.unwritten, over.unwritten) == (2, 2, 0)
