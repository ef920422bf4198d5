"""Logins that wait for a person: each finished once, by its own state, whatever happens between."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from mcpproxy.core.errors import (
    CallbackPortBusy,
    LoginDenied,
    LoginError,
    LoginTimedOut,
    StoreUnavailable,
    UnknownServer,
)
from mcpproxy.core.http import HttpReply
from mcpproxy.core.model import Grant, Secret
from mcpproxy.core.notices import (
    LoggedOut,
    LoginBegan,
    LoginFailed,
    LoginSucceeded,
)
from tests.builders import SERVER_URL
from tests.custody.bench import NAME, UNREACHABLE, until, virtually
from tests.custody.desk import PENDING_FOR, a_desk, denial, redirect, with_revocation

MINUTE = timedelta(minutes=1)


# --- the usual way ------------------------------------------------------------------------------


@virtually
async def test_a_login_is_finished_by_the_pasted_url() -> None:
    async with a_desk() as desk:
        flow = await desk.logins.begin(NAME)
        assert flow.authorization_url.endswith("state=state-1")
        assert desk.logins.pending(NAME) == flow
        finished = await desk.logins.finish(f"  {redirect(1)}\n")
        assert finished.outcome == "succeeded"
        assert await desk.manager.token(NAME, SERVER_URL) == Secret("access-1")
        assert desk.logins.pending(NAME) is None
        assert desk.bench.world.logins == {}
        told = [n for n in desk.bench.notices if isinstance(n, LoginBegan | LoginSucceeded)]
        assert [type(notice) for notice in told] == [LoginBegan, LoginSucceeded]


@virtually
async def test_a_login_is_finished_by_the_browser_and_its_port_is_given_back() -> None:
    async with a_desk() as desk:
        await desk.logins.begin(NAME)
        assert desk.port.held == 1
        assert desk.port.receive is not None
        assert await desk.port.receive(redirect(1)) == "done"
        await until(lambda: desk.port.held == 0)


@virtually
async def test_whoever_waits_for_a_flow_is_told_its_outcome() -> None:
    async with a_desk() as desk:
        flow = await desk.logins.begin(NAME)
        waiting = asyncio.create_task(desk.logins.wait(flow.flow_id, MINUTE))
        await asyncio.sleep(5)
        assert not waiting.done()
        await desk.logins.finish(redirect(1))
        assert (await waiting).outcome == "succeeded"
        second = await desk.logins.begin(NAME)
        assert (await desk.logins.wait(second.flow_id, MINUTE)).outcome is None


@virtually
async def test_the_callback_port_is_chosen_once_and_for_ever() -> None:
    async with a_desk() as desk:
        await desk.logins.begin(NAME)
        assert desk.bench.world.settings == {"callback_port": "49152"}
        desk.bench.world.settings["callback_port"] = "50000"
        await desk.logins.begin(NAME)
        assert "http://127.0.0.1:50000/oauth/callback" in desk.port.listening_on


# --- no, and never ------------------------------------------------------------------------------


@virtually
async def test_a_state_is_used_once() -> None:
    async with a_desk() as desk:
        await desk.logins.begin(NAME)
        await desk.logins.finish(redirect(1))
        with pytest.raises(LoginError, match="used before"):
            await desk.logins.finish(redirect(1))
        assert desk.pages.presented == ["code"]


@virtually
@pytest.mark.parametrize("pasted", ["", "not a url", "http://127.0.0.1:1/?code=x", redirect(99)])
async def test_a_redirect_of_no_login_says_what_to_paste(pasted: str) -> None:
    async with a_desk() as desk:
        await desk.logins.begin(NAME)
        with pytest.raises(LoginError) as told:
            await desk.logins.finish(pasted)
        assert "whole address" in told.value.next_step
        assert desk.logins.pending(NAME) is not None, "the login still waits"


@virtually
async def test_a_denial_ends_the_flow_and_leaves_the_login_before_alone() -> None:
    async with a_desk() as desk:
        before = desk.bench.store()
        flow = await desk.logins.begin(NAME)
        assert desk.port.receive is not None
        assert await desk.port.receive(denial(1)) == "denied"
        assert (await desk.logins.wait(flow.flow_id, MINUTE)).outcome == "denied"
        assert desk.bench.stored == before
        (failed,) = desk.bench.notices.of(LoginFailed)
        assert failed.code == "login_denied"
        with pytest.raises(LoginError):
            await desk.logins.finish(redirect(1))


@virtually
async def test_a_denial_that_is_pasted_is_told_to_who_pastes_it() -> None:
    async with a_desk() as desk:
        await desk.logins.begin(NAME)
        with pytest.raises(LoginDenied, match="access_denied"):
            await desk.logins.finish(denial(1))


@virtually
async def test_a_login_that_nobody_finishes_expires() -> None:
    async with a_desk() as desk:
        flow = await desk.logins.begin(NAME)
        ended = await desk.logins.wait(flow.flow_id, PENDING_FOR + MINUTE)
        assert (ended.outcome, ended.code) == ("timed_out", "login_timed_out")
        assert desk.port.held == 0
        assert desk.bench.world.logins == {}
        with pytest.raises(LoginError):
            await desk.logins.finish(redirect(1))


@virtually
async def test_a_redirect_that_comes_after_a_long_sleep_is_too_late() -> None:
    async with a_desk() as desk:
        await desk.logins.begin(NAME)
        desk.bench.clock.sleep(2 * PENDING_FOR)
        with pytest.raises(LoginTimedOut):
            await desk.logins.finish(redirect(1))
        assert desk.pages.presented == []


@virtually
async def test_a_busy_port_leaves_nothing_behind() -> None:
    async with a_desk() as desk:
        desk.port.is_busy = True
        with pytest.raises(CallbackPortBusy):
            await desk.logins.begin(NAME)
        assert desk.logins.pending(NAME) is None
        assert desk.bench.world.logins == {}
        assert desk.bench.notices.of(LoginBegan) == []


@virtually
async def test_only_a_server_with_a_url_has_a_login() -> None:
    async with a_desk() as desk:
        with pytest.raises(UnknownServer):
            await desk.logins.begin("nobody")
        with pytest.raises(LoginError, match="local command"):
            await desk.logins.begin("local")


@virtually
async def test_a_code_that_the_provider_does_not_take_fails_the_flow() -> None:
    async with a_desk() as desk:
        desk.pages.fails = LoginError("the code was refused")
        flow = await desk.logins.begin(NAME)
        with pytest.raises(LoginError, match="refused"):
            await desk.logins.finish(redirect(1))
        assert (await desk.logins.wait(flow.flow_id, MINUTE)).outcome == "failed"


# --- several at once ----------------------------------------------------------------------------


@virtually
async def test_logins_for_different_servers_know_nothing_of_each_other() -> None:
    async with a_desk() as desk:
        await desk.logins.begin(NAME)
        await desk.logins.begin("jira-mcp")
        await desk.logins.finish(redirect(2))
        assert desk.logins.pending(NAME) is not None
        assert desk.manager.grant(NAME) is None
        await desk.logins.finish(redirect(1))
        assert await desk.manager.token(NAME, SERVER_URL) == Secret("access-1")
        assert desk.bench.world.grants["jira-mcp"].tokens.access_token == Secret("access-2")


@virtually
async def test_a_second_login_switches_accounts_and_sets_the_first_aside() -> None:
    async with a_desk() as desk:
        await desk.logins.begin(NAME)
        await desk.logins.finish(redirect(1))
        await desk.logins.begin(NAME)
        assert await desk.manager.token(NAME, SERVER_URL) == Secret("access-1"), "until then"
        await desk.logins.finish(redirect(2))
        assert await desk.manager.token(NAME, SERVER_URL) == Secret("access-2")
        (aside,) = await desk.bench.disk.load_set_aside(NAME)
        assert aside.tokens.access_token == Secret("access-1")


@virtually
async def test_of_two_logins_for_one_server_the_one_finished_last_is_in_use() -> None:
    async with a_desk() as desk:
        await desk.logins.begin(NAME)
        await desk.logins.begin(NAME)
        await desk.logins.finish(redirect(2))
        await desk.logins.finish(redirect(1))
        assert await desk.manager.token(NAME, SERVER_URL) == Secret("access-1")


# --- whatever happens between -------------------------------------------------------------------


@virtually
async def test_a_cancelled_finish_goes_on_to_its_end() -> None:
    async with a_desk() as desk:
        desk.pages.gate = asyncio.Event()
        flow = await desk.logins.begin(NAME)
        finishing = asyncio.create_task(desk.logins.finish(redirect(1)))
        await until(lambda: desk.pages.presented)
        finishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await finishing
        desk.pages.gate.set()
        assert (await desk.logins.wait(flow.flow_id, MINUTE)).outcome == "succeeded"
        assert await desk.manager.token(NAME, SERVER_URL) == Secret("access-1")


@virtually
async def test_stopping_waits_for_a_code_that_was_sent() -> None:
    async with a_desk() as desk:
        desk.pages.gate = asyncio.Event()
        await desk.logins.begin(NAME)
        finishing = asyncio.create_task(desk.logins.finish(redirect(1)))
        await until(lambda: desk.pages.presented)
        stopping = asyncio.create_task(desk.logins.stop())
        await asyncio.sleep(3)
        assert not stopping.done()
        desk.pages.gate.set()
        await stopping
        assert (await finishing).outcome == "succeeded"


@virtually
async def test_a_pending_login_is_finished_after_a_restart() -> None:
    async with a_desk() as desk:
        await desk.logins.begin(NAME)
        await desk.logins.stop()
        assert desk.port.held == 0
        desk.logins = desk.restarted()
        await desk.logins.start()
        assert desk.port.held == 1
        pending = desk.logins.pending(NAME)
        assert pending is not None
        assert pending.flow_id == "flow-1"
        assert desk.port.receive is not None
        assert await desk.port.receive(redirect(1)) == "done"
        assert await desk.manager.token(NAME, SERVER_URL) == Secret("access-1")


@virtually
async def test_an_answer_that_was_stored_but_not_read_is_read_after_a_restart() -> None:
    async with a_desk() as desk:
        await desk.logins.begin(NAME)
        (login,) = desk.bench.world.logins.values()
        await desk.bench.disk.save_login(replace(login, answer=Secret("the provider's yes")))
        await desk.logins.stop()
        desk.logins = desk.restarted()
        await desk.logins.start()
        assert await desk.manager.token(NAME, SERVER_URL) == Secret("access-1")
        assert desk.pages.presented == []
        assert desk.bench.world.logins == {}


@virtually
async def test_a_login_that_expired_while_nothing_ran_is_forgotten_at_the_start() -> None:
    async with a_desk() as desk:
        await desk.logins.begin(NAME)
        await desk.logins.stop()
        desk.bench.clock.sleep(2 * PENDING_FOR)
        desk.logins = desk.restarted()
        await desk.logins.start()
        assert desk.bench.world.logins == {}
        assert desk.port.held == 0


@virtually
async def test_a_grant_that_the_disk_does_not_take_is_taken_up_at_the_next_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def full(grant: Grant) -> None:
        raise StoreUnavailable("the disk is full")

    async with a_desk() as desk:
        await desk.logins.begin(NAME)
        with monkeypatch.context() as patch:
            patch.setattr(desk.bench.disk, "replace_grant", full)
            with pytest.raises(StoreUnavailable):
                await desk.logins.finish(redirect(1))
        await desk.logins.stop()
        desk.logins = desk.restarted()
        await desk.logins.start()
        assert await desk.manager.token(NAME, SERVER_URL) == Secret("access-1")


@virtually
async def test_a_login_that_the_disk_refused_is_kept_and_stored_as_soon_as_it_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def full(_: object) -> None:
        raise StoreUnavailable("the disk is full")

    async with a_desk() as desk:
        await desk.logins.begin(NAME)
        with monkeypatch.context() as patch:
            patch.setattr(desk.bench.disk, "replace_grant", full)
            patch.setattr(desk.bench.disk, "save_login", full)
            with pytest.raises(StoreUnavailable):
                await desk.logins.finish(redirect(1))
            await asyncio.sleep(60)
            assert desk.bench.notices.of(LoginSucceeded) == []
        await until(lambda: desk.bench.notices.of(LoginSucceeded))
        assert await desk.manager.token(NAME, SERVER_URL) == Secret("access-1")
        assert desk.pages.presented == ["code"]
        flow = await desk.logins.wait("flow-1", MINUTE)
        assert flow.outcome == "succeeded"


@virtually
async def test_an_answer_that_was_made_a_grant_before_never_replaces_what_came_after() -> None:
    async with a_desk() as desk:
        await desk.logins.begin(NAME)
        (login,) = desk.bench.world.logins.values()
        await desk.logins.finish(redirect(1))
        await desk.manager.refresh_now(NAME)
        refreshed = desk.bench.stored
        # As if the process had died between the two: the pending login is still there.
        await desk.bench.disk.save_login(replace(login, answer=Secret("the provider's yes")))
        desk.logins = desk.restarted()
        await desk.logins.start()
        assert desk.bench.stored == refreshed
        assert desk.bench.world.logins == {}
        assert desk.manager.peek(NAME, SERVER_URL) == refreshed.tokens.access_token


# --- logging out --------------------------------------------------------------------------------


@virtually
async def test_logging_out_revokes_and_forgets() -> None:
    async with a_desk() as desk:
        desk.bench.endpoint.replies = [HttpReply(200, {}, b"")]
        desk.manager.adopt(desk.bench.put(with_revocation(desk.bench.store())))
        assert await desk.logins.logout(NAME) is None
        assert desk.bench.endpoint.revoked == ["refresh-1", "access-1"]
        assert NAME not in desk.bench.world.grants
        assert await desk.manager.token(NAME, SERVER_URL) is None
        assert desk.bench.notices.of(LoggedOut) == [LoggedOut(NAME)]


@virtually
async def test_logging_out_forgets_here_even_when_the_provider_is_down() -> None:
    async with a_desk() as desk:
        desk.bench.endpoint.replies = [UNREACHABLE]
        desk.manager.adopt(desk.bench.put(with_revocation(desk.bench.store())))
        assert await desk.logins.logout(NAME) == "connection refused"
        assert desk.bench.world.grants == {}
        assert desk.manager.grant(NAME) is None


@virtually
async def test_logging_out_of_what_has_no_login_is_nothing() -> None:
    async with a_desk() as desk:
        assert await desk.logins.logout(NAME) is None
        assert desk.bench.notices.of(LoggedOut) == []


@virtually
async def test_a_refresh_under_way_does_not_bring_a_login_back_after_logging_out() -> None:
    async with a_desk() as desk:
        desk.bench.endpoint.gate = asyncio.Event()
        desk.manager.adopt(desk.bench.store(age=timedelta(hours=2)))
        await until(lambda: desk.bench.endpoint.presented)
        await desk.logins.logout(NAME)
        desk.bench.endpoint.gate.set()
        await asyncio.sleep(60)
        assert desk.bench.world.grants == {}
        assert desk.manager.grant(NAME) is None
