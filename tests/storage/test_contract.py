"""What the Store and Lease ports promise, shown on every engine."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from mcpproxy.core.model import AuthMethod, Secret
from mcpproxy.storage.bounds import MAX_PENDING_LOGINS, MAX_SET_ASIDE
from mcpproxy.storage.engines import ENGINES
from tests.storage.samples import (
    ISSUER,
    REDIRECT,
    a_grant,
    a_grant_in_trouble,
    a_login,
    a_registration,
)
from tests.storage.worlds import WORLDS, World

pytestmark = pytest.mark.anyio

TTL = timedelta(seconds=40)


def test_every_engine_is_under_this_contract() -> None:
    assert {name.partition("-")[0] for name in WORLDS} == set(ENGINES)


# --- grants ---------------------------------------------------------------------------------


async def test_a_server_without_a_grant_has_none(world: World) -> None:
    store, _ = await world.process()
    assert await store.load_grant("github-mcp") is None
    assert list(await store.load_grants()) == []
    assert store.damaged() == {}


@pytest.mark.parametrize("grant", [a_grant(), a_grant_in_trouble()])
async def test_a_grant_is_read_back_whole_by_another_process(world: World, grant) -> None:
    store, _ = await world.process(1)
    assert await store.save_grant(grant, expected_revision=None)
    other, _ = await world.process(2)
    assert await other.load_grant(grant.server) == grant


async def test_grants_are_listed_sorted_by_server(world: World) -> None:
    store, _ = await world.process()
    for server in ("zeta", "alpha", "mid-9"):
        await store.replace_grant(a_grant(server))
    assert [grant.server for grant in await store.load_grants()] == ["alpha", "mid-9", "zeta"]
    assert store.damaged() == {}


async def test_a_first_save_expects_no_grant(world: World) -> None:
    store, _ = await world.process()
    assert not await store.save_grant(a_grant(), expected_revision=0)
    assert await store.load_grant("github-mcp") is None
    assert await store.save_grant(a_grant(), expected_revision=None)
    assert not await store.save_grant(replace(a_grant(), revision=1), expected_revision=None)
    assert await store.load_grant("github-mcp") == a_grant()


async def test_a_save_needs_the_revision_it_has_read(world: World) -> None:
    one, _ = await world.process(1)
    two, _ = await world.process(2)
    await one.save_grant(a_grant(), expected_revision=None)
    winner = replace(a_grant(), revision=1, refresh_count=1)
    assert await one.save_grant(winner, expected_revision=0)
    assert not await two.save_grant(replace(a_grant(), revision=1), expected_revision=0)
    assert await two.load_grant("github-mcp") == winner


async def test_a_saved_revision_is_the_grants_own(world: World) -> None:
    store, _ = await world.process()
    await store.save_grant(replace(a_grant(), revision=41), expected_revision=None)
    assert not await store.save_grant(replace(a_grant(), revision=42), expected_revision=0)
    assert await store.save_grant(replace(a_grant(), revision=42), expected_revision=41)


async def test_a_generation_never_goes_back_within_one_login(world: World) -> None:
    store, _ = await world.process()
    current = replace(a_grant(), generation=5, revision=7)
    await store.save_grant(current, expected_revision=None)
    stale = replace(a_grant(), generation=4, revision=8)
    assert not await store.save_grant(stale, expected_revision=7)
    assert await store.load_grant("github-mcp") == current
    assert await store.save_grant(replace(current, revision=8), expected_revision=7)


async def test_a_save_of_a_former_login_never_overwrites_the_new_one(world: World) -> None:
    store, _ = await world.process()
    former = a_grant(login_id="login-1")
    await store.save_grant(former, expected_revision=None)
    await store.replace_grant(a_grant(login_id="login-2"))
    late = replace(former, generation=9, revision=1)
    assert not await store.save_grant(late, expected_revision=0)
    assert await store.load_grant("github-mcp") == a_grant(login_id="login-2")


async def test_of_many_saves_at_once_one_wins(world: World) -> None:
    stores = [(await world.process(pid))[0] for pid in range(1, 5)]
    await stores[0].save_grant(a_grant(), expected_revision=None)
    saves = [
        store.save_grant(replace(a_grant(), revision=1, unanswered=n), expected_revision=0)
        for n, store in enumerate(stores * 4)
    ]
    assert sorted(await asyncio.gather(*saves)) == [False] * 15 + [True]


async def test_a_new_login_sets_the_former_grant_aside(world: World) -> None:
    store, _ = await world.process()
    await store.replace_grant(a_grant(login_id="login-1"))
    await store.replace_grant(a_grant(login_id="login-2"))
    assert await store.load_grant("github-mcp") == a_grant(login_id="login-2")
    assert list(await store.load_set_aside("github-mcp")) == [a_grant(login_id="login-1")]


async def test_what_is_set_aside_is_bounded_and_the_oldest_goes(world: World) -> None:
    store, _ = await world.process()
    await store.replace_grant(a_grant("other"))
    for number in range(MAX_SET_ASIDE + 3):
        await store.replace_grant(a_grant(login_id=f"login-{number}"))
    await store.replace_grant(a_grant("other", login_id="second"))
    kept = [grant.login_id for grant in await store.load_set_aside("github-mcp")]
    assert kept == [f"login-{number}" for number in range(2, MAX_SET_ASIDE + 2)]
    assert len(await store.load_set_aside("other")) == 1


async def test_a_new_login_takes_its_pending_login_with_it_in_one_step(world: World) -> None:
    store, _ = await world.process()
    await store.save_login(a_login("made"))
    await store.save_login(a_login("other", state="other"))
    await store.replace_grant(a_grant(login_id="made"))
    assert [login.flow_id for login in await store.load_logins()] == ["other"]


async def test_a_login_that_was_made_before_never_takes_the_place_of_what_came_after(
    world: World,
) -> None:
    store, _ = await world.process()
    first = a_grant(login_id="first")
    await store.replace_grant(first)
    refreshed = replace(first, generation=first.generation + 1, revision=first.revision + 1)
    assert await store.save_grant(refreshed, expected_revision=first.revision)
    await store.replace_grant(first)
    assert await store.load_grant(first.server) == refreshed
    second = a_grant(login_id="second")
    await store.replace_grant(second)
    await store.replace_grant(first)
    assert await store.load_grant(first.server) == second
    assert len(await store.load_set_aside(first.server)) == 1


async def test_a_logout_erases_the_grant_and_what_was_set_aside_of_it(world: World) -> None:
    store, _ = await world.process()
    for server in ("github-mcp", "other"):
        await store.replace_grant(a_grant(server, login_id="first"))
        await store.replace_grant(a_grant(server))
    await store.forget_grant("github-mcp")
    assert await store.load_grant("github-mcp") is None
    assert list(await store.load_set_aside("github-mcp")) == []
    assert await store.load_grant("other") == a_grant("other")
    assert len(await store.load_set_aside("other")) == 1
    await store.forget_grant("github-mcp")


# --- registrations --------------------------------------------------------------------------


async def test_a_registration_belongs_to_its_issuer_and_redirect_uri(world: World) -> None:
    store, _ = await world.process()
    await store.save_registration(a_registration())
    assert await store.load_registration(ISSUER, REDIRECT) == a_registration()
    assert await store.load_registration(ISSUER + "/", REDIRECT) is None
    assert await store.load_registration(ISSUER, REDIRECT + "x") is None
    assert await store.load_registration(ISSUER + REDIRECT, "") is None


async def test_a_saved_registration_takes_the_place_of_the_former(world: World) -> None:
    store, _ = await world.process()
    await store.save_registration(a_registration())
    newer = replace(a_registration(), client_id="client-2", auth_method=AuthMethod.NONE)
    await store.save_registration(newer)
    assert await store.load_registration(ISSUER, REDIRECT) == newer


async def test_a_forgotten_registration_is_gone_and_others_stay(world: World) -> None:
    store, _ = await world.process()
    other = a_registration(redirect_uri="http://127.0.0.1:1/oauth/callback")
    await store.save_registration(a_registration())
    await store.save_registration(other)
    await store.forget_registration(ISSUER, REDIRECT)
    await store.forget_registration(ISSUER, REDIRECT)
    assert await store.load_registration(ISSUER, REDIRECT) is None
    assert await store.load_registration(ISSUER, other.redirect_uri) == other


# --- pending logins -------------------------------------------------------------------------


async def test_a_state_is_used_once(world: World) -> None:
    one, _ = await world.process(1)
    two, _ = await world.process(2)
    await one.save_login(a_login())
    takes = await asyncio.gather(two.take_login("state-1"), one.take_login("state-1"))
    assert sorted(takes, key=bool) == [None, a_login()]
    assert list(await one.load_logins()) == []


async def test_an_unknown_state_takes_nothing(world: World) -> None:
    store, _ = await world.process()
    await store.save_login(a_login())
    for state in ("", "state", "state-1 ", "flow-1"):
        assert await store.take_login(state) is None
    assert list(await store.load_logins()) == [a_login()]


async def test_a_login_saved_again_takes_its_own_place(world: World) -> None:
    store, _ = await world.process()
    await store.save_login(a_login())
    answered = replace(a_login(), answer=Secret("newer"))
    await store.save_login(answered)
    assert list(await store.load_logins()) == [answered]


async def test_a_forgotten_login_is_gone(world: World) -> None:
    store, _ = await world.process()
    await store.save_login(a_login("flow-1", state="state-1"))
    await store.save_login(a_login("flow-2", state="state-2"))
    await store.forget_login("flow-1")
    await store.forget_login("flow-1")
    assert [login.flow_id for login in await store.load_logins()] == ["flow-2"]
    assert await store.take_login("state-1") is None


async def test_pending_logins_are_bounded_and_the_oldest_goes(world: World) -> None:
    store, _ = await world.process()
    for number in range(MAX_PENDING_LOGINS + 2):
        await store.save_login(a_login(f"flow-{number}", state=f"state-{number}"))
    kept = [login.flow_id for login in await store.load_logins()]
    assert kept == [f"flow-{number}" for number in range(2, MAX_PENDING_LOGINS + 2)]


# --- settings -------------------------------------------------------------------------------


async def test_a_setting_is_remembered(world: World) -> None:
    store, _ = await world.process(1)
    assert await store.get_setting("callback_port") is None
    await store.set_setting("callback_port", "41999")
    await store.set_setting("callback_port", "42000")
    other, _ = await world.process(2)
    assert await other.get_setting("callback_port") == "42000"


# --- leases ---------------------------------------------------------------------------------


async def test_a_lease_has_one_holder(world: World) -> None:
    _, one = await world.process(1)
    _, two = await world.process(2)
    hold = await one.acquire("github-mcp", TTL)
    assert hold is not None
    assert (hold.name, hold.fence, hold.until) == ("github-mcp", 1, world.clock.elapsed() + TTL)
    assert await two.acquire("github-mcp", TTL) is None
    assert await one.acquire("github-mcp", TTL) is None
    assert await two.acquire("other", TTL) is not None


async def test_of_many_who_want_a_lease_one_gets_it(world: World) -> None:
    leases = [(await world.process(pid))[1] for pid in range(1, 5)]
    holds = await asyncio.gather(*(lease.acquire("a", TTL) for lease in leases * 4))
    assert len([hold for hold in holds if hold]) == 1


async def test_a_lease_given_back_is_free_and_its_fence_grows(world: World) -> None:
    _, one = await world.process(1)
    _, two = await world.process(2)
    first = await one.acquire("a", TTL)
    assert first
    await one.release(first)
    second = await two.acquire("a", TTL)
    assert second
    assert second.fence > first.fence
    assert second.holder != first.holder


async def test_a_lease_expires_by_the_elapsed_time_of_the_boot(world: World) -> None:
    _, one = await world.process(1)
    _, two = await world.process(2)
    await one.acquire("a", TTL)
    world.clock.wall += timedelta(days=400)
    assert await two.acquire("a", TTL) is None
    world.clock.since_boot += TTL - timedelta(microseconds=1)
    assert await two.acquire("a", TTL) is None
    world.clock.since_boot += timedelta(microseconds=1)
    assert await two.acquire("a", TTL) is not None


async def test_who_lost_a_lease_cannot_give_it_back(world: World) -> None:
    _, one = await world.process(1)
    _, two = await world.process(2)
    lost = await one.acquire("a", TTL)
    world.clock.advance(TTL)
    kept = await two.acquire("a", TTL)
    assert lost
    assert kept
    await one.release(lost)
    assert await one.acquire("a", TTL) is None
    await two.release(kept)
    assert await one.acquire("a", TTL) is not None


async def test_a_former_hold_of_ours_does_not_give_back_the_present_one(world: World) -> None:
    _, one = await world.process(1)
    _, two = await world.process(2)
    lost = await one.acquire("a", TTL)
    world.clock.advance(TTL)
    assert await one.acquire("a", TTL)
    assert lost
    await one.release(lost)
    assert await two.acquire("a", TTL) is None


async def test_the_lease_of_a_dead_holder_is_broken_at_once(world: World) -> None:
    _, one = await world.process(1)
    _, two = await world.process(2)
    first = await one.acquire("a", TTL)
    world.dead.add(1)
    second = await two.acquire("a", TTL)
    assert first
    assert second
    assert second.fence == first.fence + 1


async def test_a_lease_of_another_boot_is_broken_at_once(world: World) -> None:
    _, one = await world.process(1)
    world.clock.since_boot = timedelta(days=3)
    await one.acquire("a", TTL)
    world.clock.since_boot = timedelta(seconds=5)
    _, two = await world.process(2)
    assert await two.acquire("a", TTL) is not None
