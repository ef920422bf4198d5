"""Servers with client credentials: their grants are what is configured, without anybody's doing."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mcpproxy.core.errors import DiscoveryFailed, LoginError
from mcpproxy.core.health import Seeding, Snapshot, assess
from mcpproxy.core.http import HttpReply, NoReply
from mcpproxy.core.model import AssertionAudience, Secret, Upstream
from mcpproxy.core.notices import LoggedOut, LoginFailed, LoginSucceeded
from tests.builders import NOW, SERVER_URL
from tests.custody.bench import NAME, NO_ANSWER, error_reply, tokens_reply, until, virtually
from tests.custody.credentials import ANOTHER, CREDENTIALS, DOWN, answers, configure, login_id
from tests.custody.desk import a_desk

SECOND = timedelta(seconds=1)


@virtually
async def test_the_first_token_is_there_without_a_login() -> None:
    async with a_desk() as desk:
        answers(desk)
        configure(desk)
        assert desk.machine.seeding(NAME) == Seeding()
        await until(lambda: desk.bench.stored.generation == 2 if login_id(desk) else False)
        assert await desk.manager.token(NAME, SERVER_URL) == Secret("access-1")
        assert desk.machine.seeding(NAME) is None


@virtually
async def test_the_token_is_renewed_like_any_other() -> None:
    async with a_desk() as desk:
        answers(desk)
        configure(desk)
        await asyncio.sleep(timedelta(minutes=50).total_seconds())
        assert desk.bench.stored.generation == 3
        assert desk.bench.stored.tokens.refresh_token is None
        assert len(desk.pages.seeded) == 1


@virtually
async def test_a_grant_that_is_what_is_configured_is_kept_over_a_restart() -> None:
    async with a_desk() as desk:
        answers(desk)
        configure(desk)
        await until(lambda: login_id(desk) == "machine-1")
        desk.machine.apply()
        configure(desk)
        await asyncio.sleep(5)
        assert len(desk.pages.seeded) == 1
        assert desk.machine.seeding(NAME) is None


@virtually
@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "another"},
        {"client_secret": Secret("another")},
        {"client_secret": None, "private_key": Secret("a key")},
        {"scopes": ("read",)},
        {"extra_params": {"resource": "urn:other"}},
        {"key_id": "7"},
        {"assertion_audience": AssertionAudience.ENDPOINT},
    ],
)
async def test_other_credentials_or_scopes_make_another_grant(changes: dict[str, Any]) -> None:
    async with a_desk() as desk:
        answers(desk)
        configure(desk)
        await until(lambda: login_id(desk) == "machine-1")
        configure(desk, replace(CREDENTIALS, **changes))
        await until(lambda: login_id(desk) == "machine-2")


@virtually
async def test_another_address_makes_another_grant() -> None:
    async with a_desk() as desk:
        answers(desk)
        configure(desk)
        await until(lambda: login_id(desk) == "machine-1")
        configure(desk, url="https://elsewhere.example.com/mcp")
        await until(lambda: login_id(desk) == "machine-2")


@virtually
async def test_a_login_of_a_person_gives_way_to_configured_credentials() -> None:
    async with a_desk() as desk:
        desk.bench.store()
        answers(desk)
        configure(desk)
        await until(lambda: login_id(desk) == "machine-1")


@virtually
async def test_what_cannot_be_looked_up_is_tried_again_and_never_a_matter_of_a_login() -> None:
    async with a_desk() as desk:
        answers(desk)
        desk.pages.seeding_fails = [DOWN, DOWN, DOWN]
        configure(desk)
        await until(lambda: len(desk.pages.seeded) == 1)
        seeding = desk.machine.seeding(NAME)
        assert seeding is not None
        now = desk.bench.clock.now()
        health = assess(Snapshot(seeding=seeding), now)
        assert health.line == (
            "Fetching a token with client credentials: The server's OAuth metadata cannot be read "
            "now: connection refused; retry in 10s"
        )
        assert health.action != "login"
        await until(lambda: login_id(desk) == "machine-1", within=600)
        first, *rest = desk.pages.seeded
        assert [at - first for at in rest] == [10 * SECOND, 30 * SECOND, 70 * SECOND]


@virtually
async def test_a_bug_is_told_and_ends_nothing() -> None:
    told: list[dict[str, Any]] = []
    async with a_desk() as desk:
        answers(desk)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))
        desk.pages.seeding_fails = [KeyError("a bug")]
        configure(desk)
        await until(lambda: login_id(desk) == "machine-1")
        (context,) = told
        assert isinstance(context["exception"], KeyError)


@virtually
async def test_a_fresh_network_is_tried_at_once_but_never_within_ten_seconds() -> None:
    async with a_desk() as desk:
        answers(desk)
        desk.pages.seeding_fails = [DOWN] * 7
        configure(desk)
        await until(lambda: len(desk.pages.seeded) == 6, within=600)
        desk.machine.retry_now()
        await until(lambda: len(desk.pages.seeded) == 7, within=11)
        assert desk.pages.seeded[6] - desk.pages.seeded[5] >= 10 * SECOND


@virtually
async def test_a_full_disk_is_waited_out_too() -> None:
    async with a_desk() as desk:
        answers(desk)
        desk.bench.disk.is_unreadable = True
        configure(desk)
        await until(lambda: desk.pages.seeded)
        desk.bench.disk.is_unreadable = False
        await until(lambda: login_id(desk) is not None)


@virtually
@pytest.mark.parametrize(
    "changes", [{"enabled": False}, {"problem": "${env:KEY}: not set"}, {"oauth": None}]
)
async def test_what_is_switched_off_or_not_configured_to_the_end_is_left_alone(
    changes: dict[str, Any],
) -> None:
    async with a_desk() as desk:
        configure(desk, **changes)
        await asyncio.sleep(60)
        assert desk.pages.seeded == []
        assert desk.machine.seeding(NAME) is None


@virtually
async def test_a_grant_that_vanishes_from_the_store_is_made_again_when_that_is_noticed() -> None:
    async with a_desk() as desk:
        answers(desk)
        configure(desk)
        await until(lambda: login_id(desk) == "machine-1")
        await desk.bench.disk.forget_grant(NAME)
        await until(lambda: login_id(desk) == "machine-2", within=60)
        await desk.logins.logout(NAME)
        await asyncio.sleep(600)
        assert login_id(desk) is None


@virtually
async def test_a_server_that_is_switched_off_keeps_its_grant() -> None:
    async with a_desk() as desk:
        answers(desk)
        configure(desk)
        await until(lambda: login_id(desk) == "machine-1")
        configure(desk, enabled=False)
        await asyncio.sleep(60)
        assert login_id(desk) == "machine-1"


@virtually
async def test_credentials_that_are_taken_out_of_the_configuration_are_given_back() -> None:
    async with a_desk() as desk:
        desk.bench.endpoint.replies = [tokens_reply(1), HttpReply(200, {}, b"")]
        configure(desk)
        await until(lambda: desk.bench.stored.generation == 2 if login_id(desk) else False)
        configure(desk, None)
        await until(lambda: login_id(desk) is None)
        assert desk.bench.endpoint.revoked == ["access-1"]
        assert desk.manager.grant(NAME) is None
        assert len(desk.bench.notices.of(LoggedOut)) == 1


@virtually
async def test_a_change_while_it_is_tried_counts_at_once() -> None:
    async with a_desk() as desk:
        answers(desk)
        desk.pages.seeding_fails = [DOWN] * 3
        configure(desk)
        await until(lambda: len(desk.pages.seeded) == 3, within=600)
        configure(desk, replace(CREDENTIALS, client_secret=Secret("right")))
        await until(lambda: login_id(desk) is not None, within=5)
        assert desk.bench.stored.client.client_secret == Secret("right")


@virtually
async def test_stopping_ends_what_is_tried() -> None:
    async with a_desk() as desk:
        desk.pages.seeding_fails = [DOWN] * 3
        configure(desk)
        await until(lambda: desk.pages.seeded)
        await desk.machine.stop()
        await asyncio.sleep(600)
        assert len(desk.pages.seeded) == 1


# --- asked for by hand --------------------------------------------------------------------------


@virtually
async def test_a_login_by_hand_is_over_when_the_first_token_is_there() -> None:
    async with a_desk() as desk:
        answers(desk)
        desk.upstreams[NAME] = Upstream(NAME, url=SERVER_URL, oauth=CREDENTIALS)
        flow = await desk.logins.begin(NAME)
        assert (flow.outcome, flow.authorization_url) == ("succeeded", "")
        assert desk.bench.stored.generation == 2
        assert await desk.logins.wait(flow.flow_id, SECOND) == flow
        assert desk.logins.pending(NAME) is None
        assert len(desk.bench.notices.of(LoginSucceeded)) == 1


@virtually
async def test_a_login_by_hand_gives_the_token_of_the_one_before_back_first() -> None:
    async with a_desk() as desk:
        desk.bench.endpoint.replies = [tokens_reply(1), HttpReply(200, {}, b""), tokens_reply(2)]
        configure(desk)
        await until(lambda: desk.bench.stored.generation == 2 if login_id(desk) else False)
        await desk.logins.begin(NAME)
        assert desk.bench.endpoint.revoked == ["access-1"]
        assert desk.bench.stored.tokens.access_token == Secret("access-2")


@virtually
@pytest.mark.parametrize("answer", [NO_ANSWER, error_reply("server_error", 500)])
async def test_a_token_that_cannot_be_given_back_keeps_nobody_from_logging_in(
    answer: HttpReply | NoReply,
) -> None:
    async with a_desk() as desk:
        desk.bench.endpoint.replies = [tokens_reply(1), answer, tokens_reply(2)]
        configure(desk)
        await until(lambda: desk.bench.stored.generation == 2 if login_id(desk) else False)
        flow = await desk.logins.begin(NAME)
        assert flow.outcome == "succeeded"
        assert await desk.manager.token(NAME, SERVER_URL) == Secret("access-2")


@virtually
async def test_a_provider_that_is_silent_about_the_old_token_is_not_waited_for_long() -> None:
    async with a_desk() as desk:
        answers(desk)
        configure(desk)
        await until(lambda: desk.bench.stored.generation == 2 if login_id(desk) else False)
        desk.bench.endpoint.revoking = asyncio.Event()
        began = desk.bench.clock.elapsed()
        flow = await desk.logins.begin(NAME)
        assert flow.outcome == "succeeded"
        assert desk.bench.clock.elapsed() - began < 12 * SECOND


@virtually
async def test_an_edit_while_the_old_token_is_given_back_leaves_no_grant_unused() -> None:
    async with a_desk() as desk:
        answers(desk)
        configure(desk)
        await until(lambda: desk.bench.stored.generation == 2 if login_id(desk) else False)
        desk.bench.endpoint.revoking = asyncio.Event()
        configure(desk, ANOTHER)
        await until(lambda: desk.bench.endpoint.revoked)
        configure(desk, ANOTHER, headers={"X-Team": Secret("a")})
        await until(lambda: desk.bench.stored.generation == 2, within=15)
        assert login_id(desk) == "machine-2"


@virtually
async def test_a_login_by_hand_that_the_provider_refuses_says_so() -> None:
    async with a_desk() as desk:
        desk.bench.endpoint.replies = [error_reply("invalid_client", 401)]
        desk.upstreams[NAME] = Upstream(NAME, url=SERVER_URL, oauth=CREDENTIALS)
        flow = await desk.logins.begin(NAME)
        assert flow.outcome == "failed"
        assert flow.message == (
            "The provider refuses the client credentials of 'github-mcp': invalid_client."
        )
        assert len(desk.bench.notices.of(LoginFailed)) == 1
        health = assess(Snapshot(grant=desk.bench.stored), desk.bench.clock.now())
        assert (health.cause, health.action) == ("credentials_refused", "set_secret")


@virtually
async def test_a_login_by_hand_that_cannot_be_looked_up_says_why_at_once() -> None:
    async with a_desk() as desk:
        desk.pages.seeding_fails = [DOWN]
        desk.upstreams[NAME] = Upstream(NAME, url=SERVER_URL, oauth=CREDENTIALS)
        with pytest.raises(DiscoveryFailed):
            await desk.logins.begin(NAME)


@virtually
async def test_a_login_by_hand_with_a_secret_that_is_missing_names_it() -> None:
    async with a_desk() as desk:
        upstream = Upstream(NAME, url=SERVER_URL, oauth=CREDENTIALS, problem="${env:KEY}: not set")
        desk.upstreams[NAME] = upstream
        with pytest.raises(LoginError, match="env:KEY"):
            await desk.logins.begin(NAME)
        assert desk.pages.seeded == []


def test_fetching_hides_the_call_for_a_login_but_not_what_a_person_switched_off() -> None:
    assert assess(Snapshot(seeding=Seeding()), NOW).cause == "credentials_fetching"
    off = Snapshot(enabled=False, seeding=Seeding())
    assert assess(off, NOW).cause == "disabled"
