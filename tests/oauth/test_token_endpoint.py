from dataclasses import replace
from urllib.parse import parse_qs

import pytest

from mcpproxy.core.errors import StoreUnavailable
from mcpproxy.core.http import HttpReply, NoReply
from mcpproxy.core.model import FailureKind, RefreshFailure, Secret
from mcpproxy.core.provider_ports import Issued
from mcpproxy.oauth.token_endpoint import TokenEndpoint
from tests.oauth.made import GRANT, ISSUER, NOW, FixedClock, Network, answer, nothing

pytestmark = pytest.mark.anyio

REVOKE = f"POST {ISSUER}/revoke"
BARE = replace(GRANT, tokens=replace(GRANT.tokens, refresh_token=None))


async def ready() -> None:
    """A store that takes every intent."""


async def test_an_answer_comes_back_sealed_and_is_understood_later() -> None:
    network = Network({f"POST {ISSUER}/token": answer(200, '{"access_token":"new"}')})
    endpoint = TokenEndpoint(network, FixedClock())
    packed = await endpoint.present(GRANT, before_send=ready)
    assert isinstance(packed, Secret)
    assert "new" not in repr(packed)
    outcome = endpoint.read(GRANT, packed, NOW)
    assert isinstance(outcome, Issued)
    assert outcome.tokens.access_token == Secret("new")


async def test_no_answer_is_a_value() -> None:
    network = Network({f"POST {ISSUER}/token": nothing("name not found")})
    failure = await TokenEndpoint(network, FixedClock()).present(GRANT, before_send=ready)
    assert failure == RefreshFailure(FailureKind.NOT_SENT, "name not found")


async def test_a_store_that_takes_no_intent_stops_the_request() -> None:
    async def full() -> None:
        raise StoreUnavailable("the disk is full")

    network = Network({})
    with pytest.raises(StoreUnavailable):
        await TokenEndpoint(network, FixedClock()).present(GRANT, before_send=full)
    assert network.requests == []


async def test_without_a_refresh_token_nothing_is_sent() -> None:
    network = Network({})
    failure = await TokenEndpoint(network, FixedClock()).present(BARE, before_send=ready)
    assert isinstance(failure, RefreshFailure)
    assert failure.kind is FailureKind.NOT_SENT
    assert network.requests == []


def revoked(network: Network) -> list[tuple[str, str]]:
    forms = [parse_qs(request.body.decode()) for request in network.requests]
    return [(form["token_type_hint"][0], form["token"][0]) for form in forms]


async def test_the_refresh_token_is_revoked_first_then_the_access_token() -> None:
    network = Network({REVOKE: answer(200)})
    assert await TokenEndpoint(network, FixedClock()).revoke(GRANT) is None
    assert revoked(network) == [
        ("refresh_token", "old-refresh-token"),
        ("access_token", "old-access-token"),
    ]


async def test_a_provider_that_cannot_revoke_access_tokens_is_no_trouble() -> None:
    network = Network({REVOKE: [answer(200), answer(400, '{"error":"unsupported_token_type"}')]})
    assert await TokenEndpoint(network, FixedClock()).revoke(GRANT) is None


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        (answer(503), "HTTP 503"),
        (answer(401, '{"error":"invalid_client"}'), "HTTP 401: invalid_client"),
        (nothing("timeout"), "timeout"),
    ],
)
async def test_what_the_provider_says_against_it_is_told(
    reply: HttpReply | NoReply, complaint: str
) -> None:
    endpoint = TokenEndpoint(Network({REVOKE: reply}), FixedClock())
    assert await endpoint.revoke(GRANT) == complaint


async def test_a_provider_that_does_not_answer_is_asked_once() -> None:
    network = Network({REVOKE: nothing("timeout")})
    await TokenEndpoint(network, FixedClock()).revoke(GRANT)
    assert len(network.requests) == 1


async def test_a_provider_without_revocation_is_not_asked() -> None:
    network = Network({})
    grant = replace(GRANT, revocation_endpoint=None)
    assert await TokenEndpoint(network, FixedClock()).revoke(grant) is None
    assert network.requests == []
