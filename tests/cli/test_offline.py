"""What commands say from the vault when no daemon runs."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mcpproxy.clock import SystemClock
from mcpproxy.core.model import FailureKind, Grant, RefreshFailure, Refusals
from mcpproxy.storage.engines import Opening, open_vault
from mcpproxy.storage.keys import KEY_SOURCES
from tests.cli.conftest import Program
from tests.web.stubs import ACCESS_CANARY, REFRESH_CANARY, grant

pytestmark = pytest.mark.anyio

CONFIG = {
    "mcpServers": [
        {"name": name, "url": f"https://{name}.example/mcp"} for name in ("alive", "ended", "new")
    ]
}


async def store(program: Program, *grants: Grant) -> None:
    program.configure(json.dumps(CONFIG))
    data_dir = program.data_dir
    keys = KEY_SOURCES["file"](data_dir, {})
    vault = await open_vault(Opening(data_dir, keys, SystemClock()))
    for each in grants:
        await vault.store.replace_grant(each)
    await vault.store.close()


def ended(now: datetime) -> Grant:
    refused = RefreshFailure(FailureKind.REFUSED, "dead", code="invalid_grant")
    made = grant("ended", issued_at=now, life=timedelta(hours=1))
    return replace(made, refusals=Refusals(2, now, now, refused))


async def test_stored_logins_are_shown_for_what_they_are(program: Program) -> None:
    now = datetime.now(UTC)
    await store(program, grant("alive", issued_at=now, life=timedelta(hours=1)), ended(now))
    ran = program.run("upstream", "list")
    assert ran.out.splitlines() == [
        "NAME  STATUS       HEALTH",
        "alive disconnected degraded (Daemon not running)",
        "ended error        unhealthy (Refresh token expired - login required)",
        "new   disconnected degraded (Daemon not running)",
    ]
    assert "no daemon runs" in ran.err
    alive, over = json.loads(program.run("auth", "status", "-o", "json").out)
    assert (alive["authenticated"], alive["token_valid"]) == (True, True)
    assert (over["authenticated"], over["ended"]) == (False, "provider_ended")
    explained = program.run("explain", "ended").out
    assert "invalid_grant" in explained
    assert "mcpproxy auth login ended" in explained


async def test_a_stored_login_without_a_server_is_shown_as_not_configured(
    program: Program,
) -> None:
    now = datetime.now(UTC)
    await store(program, grant("gone", issued_at=now, life=timedelta(hours=1)))
    (found,) = json.loads(program.run("auth", "status", "-o", "json").out)
    assert (found["name"], found["configured"], found["authenticated"]) == ("gone", False, True)


async def test_looking_shows_no_secret_and_changes_no_byte(program: Program) -> None:
    now = datetime.now(UTC)
    await store(program, ended(now))
    before = {path.name: path.read_bytes() for path in program.data_dir.iterdir()}
    for arguments in (
        ("upstream", "list"), ("upstream", "inspect", "ended"), ("explain", "ended"),
        ("auth", "status"), ("status",), ("doctor",),
    ):  # fmt: skip
        ran = program.run(*arguments, "-o", "json")
        assert ACCESS_CANARY not in ran.out + ran.err
        assert REFRESH_CANARY not in ran.out + ran.err
    assert {path.name: path.read_bytes() for path in program.data_dir.iterdir()} == before


async def test_a_vault_that_cannot_be_opened_is_a_remark_and_no_login_is_asked_for(
    program: Program,
) -> None:
    await store(program, grant("alive", issued_at=datetime.now(UTC), life=timedelta(hours=1)))
    (program.data_dir / "vault.key").unlink()
    ran = program.run("upstream", "list")
    assert ran.code == 0
    assert "the store cannot be read" in ran.err
    assert "login required" not in ran.out


async def test_a_corrupt_vault_is_a_remark_too(program: Program) -> None:
    await store(program, grant("alive", issued_at=datetime.now(UTC), life=timedelta(hours=1)))
    (program.data_dir / "vault.db").write_bytes(b"this is no database" * 500)
    ran = program.run("upstream", "list")
    assert ran.code == 0
    assert "the store cannot be read" in ran.err


async def test_the_ledger_is_told_without_a_daemon_and_without_its_key(program: Program) -> None:
    now = datetime.now(UTC)
    await store(program, ended(now))
    found = program.run("explain", "ended")
    assert "no daemon runs" in found.err
    assert "What happened:" in found.out
    assert "Logged in at https://provider.example." in found.out
    (program.data_dir / "vault.key").unlink()
    locked = program.run("explain", "ended")
    assert "Logged in at https://provider.example." in locked.out
    assert "the store cannot be read" in locked.err
    assert "auth login" not in locked.out
