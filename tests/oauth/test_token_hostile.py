"""Whatever a token endpoint answers, the classifier lives and ends nobody's login by accident."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpproxy.core.http import HttpReply
from mcpproxy.core.model import FailureKind, RefreshFailure, Secret, Variant
from mcpproxy.core.provider_ports import Issued
from tests.oauth.made import GRANT, NOW, answer
from tests.oauth.readings import ENDPOINT, REFUSED, TRANSIENT, UNKNOWN, WHOLE, failed, read

FIELDS = (
    *("access_token", "refresh_token", "expires_in", "scope", "token_type", "ok"),
    *("error", "errors", "error_description", "code", "message"),
)
bodies = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(FIELDS),
                inner,
                max_size=5,
            )
        ),
        max_leaves=10,
    ).map(lambda value: json.dumps(value).encode()),
    st.integers(min_value=0, max_value=len(WHOLE)).map(lambda cut: WHOLE[:cut].encode()),
)
headers = st.dictionaries(
    st.sampled_from(["content-type", "retry-after", "date", "x-other"]),
    st.sampled_from(["text/html", "application/json", "30", "-1", "Mon, 23 Nov 2026 14:31:00 GMT"])
    | st.text(max_size=40),
)


@given(st.integers(100, 599), headers, bodies, st.booleans(), st.sampled_from(list(Variant)))
def test_no_answer_whatever_breaks_the_classifier(
    status: int, headers: dict[str, str], body: bytes, complete: bool, variant: Variant
) -> None:
    outcome = read(HttpReply(status, headers, body, complete), replace(GRANT, variant=variant))
    if isinstance(outcome, RefreshFailure):
        assert outcome.kind is not FailureKind.NOT_SENT
        assert outcome.detail.isprintable()
        assert len(outcome.detail) <= 160
        assert outcome.code is None or outcome.code.isascii()
        if outcome.kind is REFUSED:
            assert 200 <= status < 500
    if isinstance(outcome, Issued):
        assert 200 <= status < 300
        outcome.tokens.access_token.reveal().encode("ascii")


@given(st.text())
def test_a_stored_answer_that_is_none_of_ours_is_an_unknown_outcome(text: str) -> None:
    outcome = ENDPOINT.read(GRANT, Secret(text), NOW)
    assert isinstance(outcome, RefreshFailure)
    assert outcome.kind is UNKNOWN


@pytest.mark.parametrize("body", ["[" * 200_000, '{"a":' * 200_000, "a=" * 200_000])
def test_deep_and_long_bodies_are_survived(body: str) -> None:
    assert failed(answer(200, body)).kind is TRANSIENT
