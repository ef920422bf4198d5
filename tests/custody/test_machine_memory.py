"""What outlives a grant of client credentials: whose they are, and that a person logged out."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from mcpproxy.core.errors import LoginError
from mcpproxy.core.health import Seeding
from mcpproxy.core.model import OAuthConfig, Secret, Upstream
from tests.builders import ISSUER
from tests.custody.bench import NAME, until, virtually
from tests.custody.credentials import ANOTHER, CREDENTIALS, DOWN, answers, configure, login_id
from tests.custody.desk import Desk, a_desk

ELSEWHERE = "https://elsewhere.example.com"


async def is_refused(desk: Desk) -> None:
    await until(lambda: desk.machine.seeding(NAME) not in (None, Seeding()))
    seeding = desk.machine.seeding(NAME)
    assert seeding is not None
    assert f"names {ELSEWHERE} as its provider now, not {ISSUER}" in (seeding.error or "")


@virtually
@pytest.mark.parametrize(
    "config",
    [ANOTHER, replace(CREDENTIALS, client_secret=None, private_key=Secret("a key"))],
    ids=["secret", "key"],
)
async def test_new_credentials_go_to_no_other_provider_than_the_old_ones_did(
    config: OAuthConfig,
) -> None:
    async with a_desk() as desk:
        answers(desk)
        configure(desk)
        await until(lambda: login_id(desk) == "machine-1")
        desk.pages.issuer = ELSEWHERE
        configure(desk, config)
        await is_refused(desk)
        assert desk.bench.stored.issuer == ISSUER


@virtually
async def test_the_provider_is_remembered_over_a_logout() -> None:
    async with a_desk() as desk:
        answers(desk)
        configure(desk)
        await until(lambda: login_id(desk) == "machine-1")
        await desk.logins.logout(NAME)
        desk.pages.issuer = ELSEWHERE
        with pytest.raises(LoginError, match="as its provider now"):
            await desk.logins.begin(NAME)
        configure(desk, ANOTHER)
        await is_refused(desk)
        assert login_id(desk) is None


@virtually
async def test_the_provider_is_remembered_though_the_grant_is_damaged() -> None:
    async with a_desk() as desk:
        answers(desk)
        configure(desk)
        await until(lambda: desk.bench.stored.generation == 2 if login_id(desk) else False)
        desk.manager.forget(NAME)
        desk.bench.disk.is_unreadable = True
        desk.pages.issuer = ELSEWHERE
        configure(desk, replace(CREDENTIALS, scopes=("read",)))
        await is_refused(desk)
        assert login_id(desk) == "machine-1"


@virtually
async def test_the_provider_of_a_persons_login_is_known_too() -> None:
    async with a_desk() as desk:
        desk.bench.store()
        desk.pages.issuer = ELSEWHERE
        configure(desk)
        await is_refused(desk)


@virtually
async def test_another_address_with_other_credentials_is_another_server() -> None:
    async with a_desk() as desk:
        answers(desk)
        configure(desk)
        await until(lambda: login_id(desk) == "machine-1")
        desk.pages.issuer = ELSEWHERE
        url = "https://elsewhere.example.com/mcp"
        configure(desk, url=url)
        await is_refused(desk)
        configure(desk, ANOTHER, url=url)
        await until(lambda: desk.bench.stored.issuer == ELSEWHERE)


@virtually
@pytest.mark.parametrize("other", [{"scopes": ("read",)}, {"client_secret": Secret("another")}])
async def test_a_logout_lasts_until_the_login_is_configured_anew(other: dict[str, Any]) -> None:
    async with a_desk() as desk:
        answers(desk)
        configure(desk)
        await until(lambda: login_id(desk) == "machine-1")
        await desk.logins.logout(NAME)
        desk.upstreams["more"] = Upstream("more", command="more")
        configure(desk)
        configure(desk, headers={"X-Team": Secret("a")})
        await asyncio.sleep(3600)
        assert login_id(desk) is None
        assert desk.machine.seeding(NAME) is None
        configure(desk, replace(CREDENTIALS, **other))
        await until(lambda: login_id(desk) == "machine-2")


@virtually
async def test_a_logout_lasts_until_the_person_logs_in() -> None:
    async with a_desk() as desk:
        answers(desk)
        configure(desk)
        await until(lambda: login_id(desk) == "machine-1")
        await desk.logins.logout(NAME)
        await desk.logins.begin(NAME)
        assert login_id(desk) == "machine-2"
        await desk.bench.disk.forget_grant(NAME)
        desk.machine.apply()
        await until(lambda: login_id(desk) == "machine-3")


@virtually
async def test_a_logout_ends_what_is_tried() -> None:
    async with a_desk() as desk:
        desk.pages.seeding_fails = [DOWN] * 9
        configure(desk)
        await until(lambda: len(desk.pages.seeded) == 2, within=600)
        await desk.logins.logout(NAME)
        assert desk.machine.seeding(NAME) is None
        await asyncio.sleep(3600)
        assert len(desk.pages.seeded) == 2


@virtually
async def test_a_server_that_names_another_provider_gets_the_credentials_there_only_if_told() -> (
    None
):
    async with a_desk() as desk:
        answers(desk)
        configure(desk)
        await until(lambda: login_id(desk) == "machine-1")
        desk.pages.issuer = "https://elsewhere.example.com"
        configure(desk, replace(CREDENTIALS, scopes=("read",)))
        await until(lambda: desk.machine.seeding(NAME) not in (None, Seeding()))
        seeding = desk.machine.seeding(NAME)
        assert seeding is not None
        assert "names https://elsewhere.example.com as its provider now" in (seeding.error or "")
        assert login_id(desk) == "machine-1"
        configure(desk, replace(CREDENTIALS, issuer="https://elsewhere.example.com"))
        await until(lambda: desk.bench.stored.issuer == "https://elsewhere.example.com")
