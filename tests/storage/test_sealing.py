"""A sealed row opens with its key and in its place, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpproxy.core.errors import StoreCorrupt, WrongKey
from mcpproxy.storage.sealing import KEY_BYTES, Sealer

SEALER = Sealer(b"a" * KEY_BYTES)


@given(st.binary(max_size=500), st.lists(st.text(max_size=8), max_size=4))
def test_what_is_sealed_opens_again(plain: bytes, identity: list[str]) -> None:
    assert SEALER.open(SEALER.seal(plain, *identity), *identity) == plain


def test_the_same_row_never_seals_to_the_same_bytes() -> None:
    assert SEALER.seal(b"token", "grant", "a") != SEALER.seal(b"token", "grant", "a")


@pytest.mark.parametrize(
    "elsewhere",
    [
        ("grant", "b", "1"),
        ("login", "a", "1"),
        ("grant", "a1"),
        ("grant", "a", "2"),
        ("granta", "1"),
    ],
)
def test_a_row_moved_to_another_place_is_refused(elsewhere: tuple[str, ...]) -> None:
    sealed = SEALER.seal(b"token", "grant", "a", "1")
    with pytest.raises(StoreCorrupt):
        SEALER.open(sealed, *elsewhere)


def test_every_flipped_bit_is_noticed() -> None:
    sealed = SEALER.seal(b"token", "grant", "a")
    for at in range(len(sealed) * 8):
        flipped = bytearray(sealed)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises((StoreCorrupt, WrongKey)):
            SEALER.open(bytes(flipped), "grant", "a")


def test_every_cut_is_noticed() -> None:
    sealed = SEALER.seal(b"token", "grant", "a")
    for length in range(len(sealed)):
        with pytest.raises(StoreCorrupt):
            SEALER.open(sealed[:length], "grant", "a")


def test_another_key_is_named_as_the_reason() -> None:
    sealed = SEALER.seal(b"token", "grant", "a")
    with pytest.raises(WrongKey) as caught:
        Sealer(b"b" * KEY_BYTES).open(sealed, "grant", "a")
    assert caught.value.next_step == "put the former key back"


def test_neither_the_key_nor_the_content_shows_in_a_representation() -> None:
    assert "aaaa" not in repr(SEALER)


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(b"short")
