"""What a person sees while the provider is in trouble, and what still works meanwhile."""

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.daemon import Server, caused_by, connected
from tests.e2e.world import FAST, NAME, Builder, World
from tests.peers.process import wait_until

pytestmark = pytest.mark.anyio

POLICY = {**FAST, "backoff_base": "4s", "backoff_cap": "5s"} | {
    "connect_timeout": "1s",
    "answer_timeout": "1s",
}
AT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
LINE = re.compile(rf"{NAME} +(\w+) +(\w+) \((.*)\)")


def listed(world: World) -> tuple[str, str, str]:
    """What `mcpproxy upstream list` prints of the server: status, level, line."""
    shown = world.daemon.cli("upstream", "list")
    assert shown.returncode == 0, shown.stderr
    head, line = shown.stdout.splitlines()
    assert head.split() == ["NAME", "STATUS", "HEALTH"]
    found = LINE.fullmatch(line)
    assert found, line
    return found[1], found[2], found[3]


def failed(times: int) -> Callable[[Server], bool]:
    """For `until`: that many refreshes in a row have failed."""
    return lambda server: (server["oauth"]["failure"] or {}).get("count") == times


@contextmanager
def black_hole(port: int) -> Iterator[None]:
    """A port on which connections are neither accepted nor refused."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield


def assert_told_once(world: World, verdict: str) -> None:
    """The end stands in the ledger and in the metrics once, also after a restart."""

    def count() -> float:
        name = f'mcpproxy_oauth_logins_total{{server="{NAME}",reason="{verdict}"}}'
        return world.daemon.metrics().get(name, 0.0)

    def ends() -> list[Server]:
        lines: list[Server] = world.daemon.rest("GET", f"/servers/{NAME}/ledger")["lines"]
        return [line for line in lines if line["outcome"] == "ended"]

    wait_until(lambda: count() == 1, deadline=10, what="the lost login in the metrics")
    assert [line["code"] for line in ends()] == [verdict]
    world.daemon.restart()
    world.daemon.until(NAME, caused_by("grant_ended"))
    assert (count(), len(ends())) == (0, 1)
    explained = world.daemon.cli("explain", NAME).stdout
    assert "The login ended: the provider ended it (invalid_grant" in explained


async def recovered(world: World) -> None:
    world.daemon.until(NAME, connected)
    assert world.daemon.refreshes(NAME, "success") == 1
    assert await world.whoami() == "alice"
    assert len(world.logins()) == 1
    assert listed(world)[2].startswith("Token refresh scheduled for ")


async def test_a_provider_that_answers_503_shows_as_a_pending_retry(builder: Builder) -> None:
    world = builder.world(policy=POLICY)
    world.log_in()
    world.oidc.fault("status", status=503, times=None, grant_type="refresh_token")
    world.begin_refresh()
    health = world.daemon.until(NAME, failed(1))["health"]

    assert (health["level"], health["summary"]) == ("degraded", "Token refresh pending")
    assert re.fullmatch(rf"Refresh retry 1 scheduled for {AT}: .*503.*", health["detail"])
    assert health["action"] == "view_logs"
    status, level, line = listed(world)
    assert (status, level) == ("connected", "degraded")
    assert re.fullmatch(r"Refresh retry 1 in \ds: .*503.*", line), line
    assert await world.whoami() == "alice"
    assert world.daemon.refreshes(NAME, "failed_other") == 1
    assert world.daemon.refreshes(NAME, "failed_network") == 0

    world.oidc.clear_faults()
    await recovered(world)


async def test_a_provider_that_cannot_be_reached_shows_its_timeouts(builder: Builder) -> None:
    world = builder.world(policy=POLICY)
    world.log_in()
    world.provider.kill()
    with black_hole(world.provider.port):
        world.begin_refresh()
        world.daemon.until(NAME, failed(2))
        status, level, line = listed(world)
        assert (status, level) == ("connected", "degraded")
        assert re.fullmatch(r"Refresh retry 2 in \ds: timeout", line), line
        assert world.daemon.refreshes(NAME, "failed_network") >= 2
        assert await world.whoami() == "alice"
    world.provider.start()
    await recovered(world)


async def test_silence_after_sending_is_told_as_an_unknown_outcome(builder: Builder) -> None:
    world = builder.world(policy=POLICY)
    world.log_in()
    world.oidc.fault("hang", grant_type="refresh_token")
    world.begin_refresh()
    server = world.daemon.until(NAME, failed(1))

    assert server["health"]["cause"] == "refresh_outcome_unknown"
    assert re.fullmatch(
        r"Refresh retry 1 in \ds: timeout \(outcome unknown, re-sending\)",
        server["health"]["line"],
    ), server["health"]["line"]
    assert world.daemon.refreshes(NAME, "failed_network") == 1
    await recovered(world)
    first, second = world.refreshes()
    assert first.refresh_token == second.refresh_token


async def test_an_answer_lost_on_the_way_costs_no_login_where_tokens_do_not_rotate(
    builder: Builder,
) -> None:
    world = builder.world(policy=POLICY)
    world.oidc.configure(rotate=False)
    try:
        world.log_in()
        world.oidc.fault("drop", when="after", grant_type="refresh_token")
        world.begin_refresh()
        world.daemon.until(NAME, failed(1))
        await recovered(world)
    finally:
        world.oidc.configure(rotate=True)


async def test_an_answer_lost_on_the_way_is_told_apart_where_the_provider_is_strict(
    builder: Builder,
) -> None:
    world = builder.world(policy=POLICY)
    world.log_in()
    world.oidc.fault("drop", when="after", grant_type="refresh_token")
    world.begin_refresh()
    world.daemon.until(NAME, caused_by("grant_lost_in_transit"), deadline=20)
    assert listed(world) == (
        "error",
        "unhealthy",
        "Refresh answer lost in transit - login required",
    )


async def test_a_grant_that_the_provider_ended_asks_for_a_login(builder: Builder) -> None:
    world = builder.world(policy=FAST)
    world.log_in()
    world.oidc.revoke_grants()
    world.begin_refresh()
    server = world.daemon.until(NAME, caused_by("grant_ended"), deadline=20)

    assert server["health"]["summary"] == "Refresh token expired"
    assert server["health"]["detail"] == "Re-authentication required: invalid_grant"
    assert server["health"]["action"] == "login"
    assert listed(world) == ("error", "unhealthy", "Refresh token expired - login required")
    assert world.daemon.refreshes(NAME, "failed_invalid_grant") >= 1
    called = world.daemon.cli("tools", "call", NAME, "whoami")
    assert called.returncode == 11, called.stdout + called.stderr
    assert "auth login" in called.stdout + called.stderr
    assert_told_once(world, "provider_ended")

    world.log_in()
    assert await world.whoami() == "alice"
    assert len(world.refreshes()) <= 3


async def test_a_token_refused_before_its_time_costs_one_refresh_and_one_replay(
    builder: Builder,
) -> None:
    world = builder.world()
    world.log_in()
    async with world.client() as client:
        await client.list_tools()
        before = len(world.upstream.requests())
        world.upstream.answer(401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        answer = await client.call_tool(f"{NAME}__add", {"a": 2, "b": 3})
        assert not answer.is_error, answer

    posts = [found for found in world.upstream.requests()[before:] if found.method == "POST"]
    assert [found.status for found in posts[:2]] == [401, 200]
    assert posts[0].token != posts[1].token
    assert len(world.refreshes()) == 1
    assert world.daemon.refreshes(NAME, "success") == 1


async def test_a_client_that_the_provider_forgot_is_registered_anew_before_a_login_is_asked_for(
    builder: Builder,
) -> None:
    world = builder.world(policy=FAST)
    world.log_in()
    old = world.logins()[0].client_id
    assert old is not None
    world.oidc.forget_client(old)
    world.begin_refresh()
    world.daemon.until(NAME, caused_by("grant_ended"), deadline=60)
    lines = world.daemon.rest("GET", f"/servers/{NAME}/ledger")["lines"]
    told = [(line["outcome"], line["code"]) for line in lines]
    assert told[:6] == [
        ("logged_in", None),
        *[("refused", "invalid_client")] * 3,
        ("client_renewed", None),
        ("refused", "invalid_grant"),
    ], "this provider gives a refresh token to no other client"
    new = lines[4]["detail"]

    world.log_in()
    assert await world.whoami() == "alice"
    assert world.logins()[-1].client_id == new != old


async def test_nothing_that_failed_is_ever_logged_as_a_success(builder: Builder) -> None:
    world = builder.world(policy=POLICY)
    world.log_in()
    world.oidc.fault("status", status=500, times=2, grant_type="refresh_token")
    world.begin_refresh()
    messages = r"OAuth token refresh (?:scheduled|attempt|succeeded|failed|retry scheduled)"

    def told() -> list[str]:
        return re.findall(messages, world.daemon.log())

    wait_until(
        lambda: told().count("OAuth token refresh scheduled") == 2,
        deadline=20,
        what="refreshed at last, and the next one scheduled",
    )
    story = told()
    assert story == [
        "OAuth token refresh scheduled",
        "OAuth token refresh attempt",
        "OAuth token refresh failed",
        "OAuth token refresh retry scheduled",
        "OAuth token refresh attempt",
        "OAuth token refresh failed",
        "OAuth token refresh retry scheduled",
        "OAuth token refresh attempt",
        "OAuth token refresh succeeded",
        "OAuth token refresh scheduled",
    ]
