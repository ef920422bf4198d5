"""What providers say of the refresh token's own end."""

import json
from datetime import timedelta

import pytest

from mcpproxy.core.model import TokenSet
from mcpproxy.oauth.token import read_tokens
from tests.oauth.made import NOW, answer


def read(**fields: object) -> TokenSet:
    found = read_tokens(answer(200, json.dumps({"access_token": "a1", **fields})), NOW)
    assert isinstance(found, TokenSet)
    return found


@pytest.mark.parametrize(
    "name", ["refresh_expires_in", "refresh_token_expires_in", "x_refresh_token_expires_in"]
)
@pytest.mark.parametrize("value", [86400, "86400", 86400.0])
def test_the_end_of_a_refresh_token_is_read_wherever_it_stands(name: str, value: object) -> None:
    assert read(**{name: value}).refresh_expires_at == NOW + timedelta(days=1)


@pytest.mark.parametrize("value", [0, -1, "never", None, True, [], 1e300, "NaN"])
def test_zero_and_nonsense_are_not_an_end(value: object) -> None:
    assert read(refresh_expires_in=value).refresh_expires_at is None


def test_a_word_that_can_be_believed_counts_over_one_that_cannot() -> None:
    found = read(refresh_expires_in=0, refresh_token_expires_in=60)
    assert found.refresh_expires_at == NOW + timedelta(minutes=1)
