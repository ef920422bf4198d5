"""The simulated provider's word is what everything is judged by, so it is tested itself."""

from random import Random
from urllib.parse import urlencode

import pytest

from mcpproxy.core.http import HttpRequest
from tests.simulation.provider import Fate, Login, Provider, Rotation

LIFE = 600.0


def present(provider: Provider, token: str, now: float) -> int:
    form = {"grant_type": "refresh_token", "refresh_token": token}
    request = HttpRequest("POST", "https://example.com", {}, urlencode(form).encode())
    return provider.refresh(request, now).reply.status


def used_once(rotation: Rotation, fate: Fate) -> tuple[Provider, str]:
    """A login whose first refresh token was used at second 100, and what became of the answer."""
    provider = Provider(Random(1))
    _, refresh = provider.log_in(Login("server", rotation, LIFE), 0.0)
    assert present(provider, refresh, 100.0) == 200
    provider.family("server").issues[-1].fate = fate
    return provider, refresh


@pytest.mark.parametrize(
    ("rotation", "after", "status"),
    [
        (Rotation.STRICT, 1.0, 400),
        (Rotation.LEEWAY_10, 9.0, 200),
        (Rotation.LEEWAY_10, 11.0, 400),
        (Rotation.LEEWAY_30, 29.0, 200),
        (Rotation.LEEWAY_30, 31.0, 400),
        (Rotation.UNTIL_SUCCESSOR_USED, 5000.0, 200),
        (Rotation.NONE, 5000.0, 200),
    ],
)
def test_a_used_token_is_taken_again_only_as_the_provider_rotates(
    rotation: Rotation, after: float, status: int
) -> None:
    provider, refresh = used_once(rotation, Fate.LOST)
    assert present(provider, refresh, 100.0 + after) == status
    assert (provider.family("server").ended is None) == (status == 200)


@pytest.mark.parametrize(
    ("rotation", "fate", "ours"),
    [
        (Rotation.STRICT, Fate.LOST, False),
        (Rotation.STRICT, Fate.DELIVERED, True),
        (Rotation.STRICT, Fate.UNDER_WAY, True),
        (Rotation.LEEWAY_10, Fate.LOST, False),
        (Rotation.LEEWAY_30, Fate.LOST, True),
        (Rotation.LEEWAY_30, Fate.OUTLIVED, False),
        (Rotation.LEEWAY_60, Fate.DELIVERED, True),
    ],
)
def test_reuse_is_ours_unless_the_wire_left_no_way(
    rotation: Rotation, fate: Fate, ours: bool
) -> None:
    provider, refresh = used_once(rotation, fate)
    assert present(provider, refresh, 300.0) == 400
    family = provider.family("server")
    assert (family.lost_by_us, family.lost_in_transit) == (ours, not ours)


def test_a_token_whose_successor_was_used_is_never_taken_again() -> None:
    provider, refresh = used_once(Rotation.UNTIL_SUCCESSOR_USED, Fate.DELIVERED)
    successor = provider.family("server").issues[-1].value
    assert present(provider, successor, 200.0) == 200
    assert present(provider, refresh, 201.0) == 400
    assert provider.family("server").lost_by_us


def test_an_access_token_works_until_its_time_or_its_revocation() -> None:
    provider = Provider(Random(1))
    access, _ = provider.log_in(Login("server", Rotation.STRICT, LIFE), 0.0)
    family = provider.family("server")
    assert family.knows_access(access, LIFE - 1)
    assert not family.knows_access(access, LIFE)
    assert not family.knows_access("another", 1.0)
    provider.revoke_access("server")
    assert not family.knows_access(access, 1.0)
    assert family.ended is None
