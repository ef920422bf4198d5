"""Bodies that come packed: what unpacking costs."""

import time
import tracemalloc
import zlib

import pytest

from mcpproxy.gateway.transports.inflate import PIECE, Inflate
from tests.gateway.test_http1 import BODY, CODED, gzipped


@pytest.mark.parametrize("plain", [b"", b"x"], ids=["empty", "one byte"])
def test_many_little_members_cost_the_time_of_their_bytes(plain: bytes) -> None:
    member = gzipped(plain)
    many = 2 * 1024 * 1024 // len(member)
    inflate, begun, found = Inflate("gzip"), time.process_time(), 0
    inflate.put(member * many)
    while inflate.has_more:
        found += len(inflate.piece())
    assert found == many * len(plain)
    assert time.process_time() - begun < 2
    inflate.end()


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7])
@pytest.mark.parametrize("cut", [1_000_000, 1000, 7])
def test_members_of_any_size_are_unpacked_whole_and_once(size: int, cut: int) -> None:
    whole = b"".join(bytes([n]) * size for n in range(3))
    packed = b"".join(gzipped(bytes([n]) * size) for n in range(3)) + b"no member" + CODED
    inflate, found = Inflate("gzip"), b""
    for at in range(0, len(packed), cut):
        inflate.put(packed[at : at + cut])
        while inflate.has_more:
            found += inflate.piece()
            assert len(found) <= len(whole)
    assert found == whole
    inflate.end()


@pytest.mark.parametrize("level", [0, 9])
@pytest.mark.parametrize("size", [0, 1, PIECE, 2 * PIECE])
def test_a_member_that_comes_when_all_before_it_is_unpacked_is_part_of_the_body(
    size: int, level: int
) -> None:
    packer = zlib.compressobj(level, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    member = packer.compress(bytes(size)) + packer.flush()
    inflate, found = Inflate("gzip"), 0
    for _ in range(3):
        inflate.put(member)
        while inflate.has_more:
            found += len(inflate.piece())
        inflate.end()
    assert found == 3 * size


def test_what_follows_the_end_of_a_body_is_not_gathered() -> None:
    inflate = Inflate("gzip")
    inflate.put(CODED)
    assert inflate.piece() == BODY
    tracemalloc.start()
    try:
        for _ in range(64):
            inflate.put(bytes(64 * 1024))
            assert inflate.piece() == b""
        now, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now < 1024 * 1024
    inflate.end()
