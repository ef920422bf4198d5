"""The ledger on every engine: in one step with the facts, bounded, and outliving the logins."""

import asyncio
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from mcpproxy.core.errors import StoreError
from mcpproxy.core.ledger import MAX_LEDGER, LedgerLine, Outcome, login_line, logout_line
from mcpproxy.core.model import Grant
from mcpproxy.core.ports import Store
from mcpproxy.storage import codec, schema
from mcpproxy.storage.connection import Access
from tests.storage.faulty import Faults, error
from tests.storage.samples import (
    CANARIES,
    NOON,
    a_grant,
    a_grant_in_trouble,
    a_grant_with_everything,
    a_line,
    a_login,
    a_registration,
)
from tests.storage.vaults import fill, open_here, sql
from tests.storage.worlds import WORLDS, World

pytestmark = pytest.mark.anyio

SERVER = "github-mcp"
DISK_FULL = 13
IO_ERROR = 10


async def ledger(store: Store, limit: int = MAX_LEDGER) -> list[LedgerLine]:
    return list(await store.load_ledger(SERVER, limit))


async def save(store: Store, grant: Grant, line: LedgerLine | None) -> bool:
    """`grant` as the successor of the revision before it."""
    return await store.save_grant(grant, expected_revision=grant.revision - 1, line=line)


# --- every engine ---------------------------------------------------------------------------


async def test_a_line_is_read_back_whole_by_another_process(world: World) -> None:
    store, _ = await world.process(1)
    line = a_line()
    assert await store.save_grant(a_grant(), expected_revision=None, line=line)
    other, _ = await world.process(2)
    assert await ledger(other) == [line]


async def test_lines_are_in_the_order_of_their_writing_and_of_one_server(world: World) -> None:
    store, _ = await world.process()
    await store.save_grant(a_grant(), expected_revision=None)
    await store.save_grant(a_grant("other"), expected_revision=None, line=a_line("other"))
    late_first = [a_line(number=number) for number in (3, 1, 2)]
    for revision, line in enumerate(late_first, 1):
        assert await save(store, replace(a_grant(), revision=revision), line)
    assert await ledger(store) == late_first
    assert list(await store.load_ledger("other", MAX_LEDGER)) == [a_line("other")]
    assert list(await store.load_ledger("nobody", MAX_LEDGER)) == []


@pytest.mark.parametrize(("limit", "kept"), [(-1, 0), (0, 0), (1, 1), (2, 2), (99, 3)])
async def test_a_limit_keeps_the_newest(world: World, limit: int, kept: int) -> None:
    store, _ = await world.process()
    await store.save_grant(a_grant(), expected_revision=None)
    lines = [a_line(number=number) for number in range(1, 4)]
    for revision, line in enumerate(lines, 1):
        await save(store, replace(a_grant(), revision=revision), line)
    assert await ledger(store, limit) == lines[3 - kept :]


async def test_a_save_that_loses_leaves_no_line(world: World) -> None:
    store, _ = await world.process()
    assert not await store.save_grant(a_grant(), expected_revision=4, line=a_line(number=1))
    await store.save_grant(replace(a_grant(), generation=3), expected_revision=None)
    going_back = replace(a_grant(), generation=2, revision=1)
    assert not await save(store, going_back, a_line(number=2))
    of_another_login = replace(a_grant(login_id="login-2"), generation=9, revision=1)
    assert not await save(store, of_another_login, a_line(number=3))
    assert not await store.save_grant(a_grant(), expected_revision=None, line=a_line(number=4))
    assert await ledger(store) == []


async def test_of_many_saves_at_once_the_winner_alone_leaves_its_line(world: World) -> None:
    stores = [(await world.process(pid))[0] for pid in range(1, 5)]
    await stores[0].save_grant(a_grant(), expected_revision=None)
    saves = [
        save(store, replace(a_grant(), revision=1, unanswered=number), a_line(number=number))
        for number, store in enumerate(stores * 4)
    ]
    assert (await asyncio.gather(*saves)).count(True) == 1
    winner = await stores[0].load_grant(SERVER)
    assert winner is not None
    assert await ledger(stores[0]) == [a_line(number=winner.unanswered)]


async def test_it_is_bounded_and_the_oldest_goes(world: World) -> None:
    store, _ = await world.process()
    await store.save_grant(a_grant("other"), expected_revision=None, line=a_line("other"))
    await store.save_grant(a_grant(), expected_revision=None)
    for number in range(1, MAX_LEDGER + 6):
        await save(store, replace(a_grant(), revision=number), a_line(number=number))
    kept = await ledger(store, 10 * MAX_LEDGER)
    assert [line.generation for line in kept] == list(range(6, MAX_LEDGER + 6))
    assert len(await store.load_ledger("other", MAX_LEDGER)) == 1


async def test_it_tells_of_logins_and_logouts_and_outlives_them(world: World) -> None:
    store, _ = await world.process()
    first, second = a_grant(login_id="login-1"), a_grant(login_id="login-2")
    attempt, out = a_line(), logout_line(a_grant(), NOON, "the provider is down")
    await store.replace_grant(first)
    await save(store, replace(first, revision=1), attempt)
    await store.forget_grant(SERVER, line=out)
    assert await ledger(store) == [login_line(first), attempt, out]
    await store.replace_grant(second)
    await store.replace_grant(second)
    await store.forget_grant(SERVER)
    assert await ledger(store) == [login_line(first), attempt, out, login_line(second)]


async def test_all_engines_keep_the_same_ledger(tmp_path: Path) -> None:
    """Random histories, the memory engine being the oracle."""
    told = {}
    for name, make in WORLDS.items():
        world = make(tmp_path / name)
        store, _ = await world.process()
        for seed in range(4):
            await _live(store, random.Random(seed))
        told[name] = await ledger(store)
        await world.close()
    assert len(told["memory"]) > 20
    assert all(lines == told["memory"] for lines in told.values())


async def _live(store: Store, dice: random.Random) -> None:
    """Sixty saves, logins and logouts, right ones and wrong ones."""
    for number in range(60):
        current = await store.load_grant(SERVER)
        login_id = f"login-{dice.randrange(3)}"
        match dice.randrange(8):
            case 0:
                await store.replace_grant(a_grant(login_id=login_id))
            case 1:
                await store.forget_grant(SERVER, line=logout_line(a_grant(), NOON, None))
            case _ if current is not None:
                changed = replace(
                    current,
                    revision=current.revision + dice.randrange(2),
                    generation=current.generation + dice.choice((-1, 0, 0, 1)),
                )
                await save(store, changed, a_line(number=number))
            case _:
                await store.save_grant(
                    a_grant(login_id=login_id), expected_revision=None, line=a_line(number=number)
                )


# --- the vault's file -----------------------------------------------------------------------


@pytest.mark.parametrize("step", ["INSERT INTO ledger", "DELETE FROM ledger", "COMMIT"])
@pytest.mark.parametrize("code", [DISK_FULL, IO_ERROR])
async def test_what_fails_to_be_written_fails_with_its_line(
    tmp_path: Path, step: str, code: int
) -> None:
    faults = Faults()
    vault = await open_here(tmp_path, connect=faults.connect)
    await vault.store.replace_grant(a_grant())
    before = await ledger(vault.store)
    faults.fail_at(step, error(code))
    newer = replace(a_grant(), revision=1)
    with pytest.raises(StoreError):
        await save(vault.store, newer, a_line())
    with pytest.raises(StoreError):
        await vault.store.forget_grant(SERVER, line=a_line())
    with pytest.raises(StoreError):
        await vault.store.replace_grant(a_grant(login_id="login-2"))
    faults.heal()
    assert await vault.store.load_grant(SERVER) == a_grant()
    assert await ledger(vault.store) == before
    assert await save(vault.store, newer, a_line())
    assert await ledger(vault.store) == [*before, a_line()]
    await vault.store.close()


async def test_a_line_that_cannot_be_read_is_left_out_and_harms_nothing(tmp_path: Path) -> None:
    await fill(tmp_path)
    vault = await open_here(tmp_path)
    for revision in (1, 2):
        await save(vault.store, replace(a_grant(), revision=revision), a_line(number=revision))
    sql(tmp_path, "UPDATE ledger SET line = x'ff00' WHERE number = 2")
    assert await ledger(vault.store) == [login_line(a_grant()), a_line(number=2)]
    await vault.store.close()


async def test_it_stands_in_the_open_and_holds_no_secret(tmp_path: Path) -> None:
    await fill(tmp_path, a_grant_in_trouble())
    vault = await open_here(tmp_path)
    await vault.store.forget_grant(SERVER, line=logout_line(a_grant_in_trouble(), NOON, "down"))
    await vault.store.close()
    rows = sql(tmp_path, "SELECT line FROM ledger")
    assert [json.loads(line)["outcome"] for (line,) in rows] == ["logged_in", "logged_out"]
    assert not any(canary in str(rows) for canary in CANARIES)


async def test_a_reader_beside_a_writer_reads_it_and_changes_no_byte(tmp_path: Path) -> None:
    await fill(tmp_path)
    writer = await open_here(tmp_path)
    await save(writer.store, replace(a_grant(), revision=1), a_line())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    reader = await open_here(tmp_path, access=Access.READ_ONLY)
    assert await ledger(reader.store) == [login_line(a_grant()), a_line()]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    await save(writer.store, replace(a_grant(), revision=2), a_line(number=2))
    assert len(await ledger(reader.store)) == 3
    await reader.store.close()
    await writer.store.close()


def write_first_schema(data_dir: Path) -> None:
    """A vault as the first version left it: its first steps and nothing after them."""
    for statement in (each for step in schema.STEPS[1:] for each in step):
        name = statement.split()[2]
        kind = "INDEX" if statement.startswith("CREATE INDEX") else "TABLE"
        sql(data_dir, f"DROP {kind} IF EXISTS {name}")
    sql(data_dir, "PRAGMA user_version = 1")


async def test_a_vault_of_the_first_schema_is_brought_up_to_date_with_all_it_holds(
    tmp_path: Path,
) -> None:
    grants = [a_grant_in_trouble("alpha"), a_grant_with_everything("beta")]
    vault = await open_here(tmp_path)
    await vault.store.replace_grant(a_grant("alpha", login_id="former"))
    for grant in grants:
        await vault.store.replace_grant(grant)
    await vault.store.save_login(a_login())
    await vault.store.save_registration(a_registration())
    await vault.store.set_setting("callback_port", "41999")
    await vault.store.close()
    write_first_schema(tmp_path)
    old = {name for (name,) in sql(tmp_path, "SELECT name FROM sqlite_schema")}
    assert not any("ledger" in name for name in old)

    vault = await open_here(tmp_path)
    assert list(await vault.store.load_grants()) == grants
    assert sql(tmp_path, "SELECT server, login_id FROM set_aside") == [("alpha", "former")]
    assert list(await vault.store.load_logins()) == [a_login()]
    issuer, redirect = a_registration().issuer, a_registration().redirect_uri
    assert await vault.store.load_registration(issuer, redirect) == a_registration()
    assert await vault.store.get_setting("callback_port") == "41999"
    assert list(await vault.store.load_ledger("alpha", MAX_LEDGER)) == []
    newer = replace(grants[0], revision=grants[0].revision + 1)
    line = a_line("alpha", outcome=Outcome.ISSUED)
    assert await save(vault.store, newer, line)
    assert list(await vault.store.load_ledger("alpha", MAX_LEDGER)) == [line]
    await vault.store.close()
    assert (tmp_path / "vault.db.schema-1").exists()
    assert sql(tmp_path, "PRAGMA user_version") == [(schema.CURRENT,)]


def test_a_line_of_an_outcome_that_is_not_known_here_is_damage_of_that_line_alone() -> None:
    written = codec.encode(a_line()).replace(b'"transient"', b'"invented_later"')
    with pytest.raises(StoreError):
        codec.decode_line(written)
