"""Head and body leave together, and nothing stays behind."""

import asyncio
from typing import cast

import pytest

from mcpproxy.web.one_write import OneWrite

pytestmark = pytest.mark.anyio


class Wire:
    """What a transport was told to write, and whether it was closed."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.writes.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def around(wire: Wire) -> OneWrite:
    return OneWrite(cast("asyncio.Transport", wire), asyncio.get_running_loop())


async def test_head_and_body_are_one_write() -> None:
    wire = Wire()
    transport = around(wire)
    for _ in range(2):
        transport.write(b"head ")
        transport.write(b"body")
    await asyncio.sleep(0)
    assert wire.writes == [b"head body", b"head body"]


async def test_a_head_alone_waits_for_no_more_than_one_turn() -> None:
    wire = Wire()
    around(wire).write(b"head")
    await asyncio.sleep(0)
    assert wire.writes == [b"head"]


async def test_order_is_kept_over_turns() -> None:
    wire = Wire()
    transport = around(wire)
    for part in (b"1", b"2", b"3"):
        transport.write(part)
    await asyncio.sleep(0)
    transport.write(b"4")
    await asyncio.sleep(0)
    assert b"".join(wire.writes) == b"1234"


async def test_closing_sends_what_is_held_first() -> None:
    wire = Wire()
    transport = around(wire)
    transport.write(b"last words")
    transport.close()
    await asyncio.sleep(0)
    assert (wire.writes, transport.is_closing()) == ([b"last words"], True)


async def test_nothing_is_written_after_the_end() -> None:
    wire = Wire()
    transport = around(wire)
    transport.write(b"head")
    wire.close()
    await asyncio.sleep(0)
    transport.write(b"more")
    transport.write(b"of it")
    assert wire.writes == []
