"""Approvals on every engine: durable, replaced by server and tool, bounded."""

import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mcpproxy.core.approvals import Approval, Trust
from mcpproxy.storage import bounds, memory, sqlite_approvals
from tests.storage.samples import NOON
from tests.storage.vaults import open_here, sql
from tests.storage.worlds import World, sqlite_world

pytestmark = pytest.mark.anyio

ONE = Approval("github", "get_issue", "d1", "w1", b'{"name":"get_issue"}', NOON)


async def test_what_was_approved_is_read_back_whole_by_another_process(world: World) -> None:
    first = await world.vault(1)
    await first.approvals.save_approvals([ONE, replace(ONE, server="jira", definition=b"")])
    second = await world.vault(2)
    assert await second.approvals.load_approvals() == [
        ONE,
        replace(ONE, server="jira", definition=b""),
    ]


async def test_a_later_approval_takes_the_place_of_the_one_before(world: World) -> None:
    approvals = (await world.vault()).approvals
    await approvals.save_approvals([ONE])
    later = replace(ONE, digest="d2", approved_at=NOON + timedelta(hours=1))
    await approvals.save_approvals([later])
    assert await approvals.load_approvals() == [later]


async def test_forgetting_a_tool_of_a_server_leaves_all_others(world: World) -> None:
    approvals = (await world.vault()).approvals
    others = [replace(ONE, tool="another"), replace(ONE, server="jira")]
    await approvals.save_approvals([ONE, *others])
    await approvals.forget_approvals("github", [ONE.tool, "never there"])
    assert await approvals.load_approvals() == others


async def test_who_let_it_pass_and_when_it_was_seen_last_are_kept(world: World) -> None:
    approvals = (await world.vault()).approvals
    first = replace(ONE, trust=Trust.FIRST_SIGHT, seen_at=NOON)
    other = replace(first, tool="other")
    await approvals.save_approvals([first, other])
    later = NOON + timedelta(days=7)
    await approvals.note_seen("github", [ONE.tool, "never there"], later)
    assert await approvals.load_approvals() == [replace(first, seen_at=later), other]


async def test_what_is_known_of_a_server_is_not_pushed_out_by_new_names(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bounds.MAX_APPROVALS >= 2 * 20_000  # all that is trusted unseen, and a person's as many
    monkeypatch.setattr(memory, "MAX_APPROVALS", 3)
    monkeypatch.setattr(sqlite_approvals, "MAX_APPROVALS", 3)
    approvals = (await world.vault()).approvals
    made = [
        replace(ONE, tool=f"tool{at}", approved_at=NOON + timedelta(minutes=at)) for at in range(5)
    ]
    await approvals.save_approvals([*made[:2], replace(ONE, server="jira")])
    again = replace(made[0], digest="d2", approved_at=NOON + timedelta(hours=1))
    await approvals.save_approvals([*made[2:], again])
    kept = await approvals.load_approvals()
    assert kept == [again, *made[1:3], replace(ONE, server="jira")]


async def test_a_spoiled_row_costs_its_own_approval_and_no_other(tmp_path: Path) -> None:
    world = sqlite_world(tmp_path)
    approvals = (await world.vault()).approvals
    await approvals.save_approvals([ONE, replace(ONE, tool="a"), replace(ONE, tool="b")])
    sql(tmp_path, "UPDATE approvals SET approved_at = 'once' WHERE tool = 'a'")
    sql(tmp_path, "UPDATE approvals SET definition = x'00' WHERE tool = 'b'")
    known = [replace(ONE, tool="b", definition=b""), ONE]
    assert await approvals.load_approvals() == known
    await world.close()


async def test_what_an_older_program_wrote_counts_as_a_persons(tmp_path: Path) -> None:
    vault = await open_here(tmp_path)
    await vault.approvals.save_approvals([replace(ONE, trust=Trust.FIRST_SIGHT, seen_at=NOON)])
    await vault.store.close()
    for column in ("trust", "seen_at"):
        sql(tmp_path, f"ALTER TABLE approvals DROP COLUMN {column}")
    sql(tmp_path, "PRAGMA user_version = 3")
    vault = await open_here(tmp_path)
    assert await vault.approvals.load_approvals() == [ONE]
    await vault.store.close()


async def test_of_long_texts_the_oldest_go_and_the_digests_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_approvals, "MAX_APPROVED_BYTES", 2500)
    approvals = sqlite_world(tmp_path)
    vault = await approvals.vault()
    long = [
        replace(
            ONE,
            tool=f"tool{at}",
            definition=random.Random(at).randbytes(1000),
            approved_at=NOON + timedelta(minutes=at),
        )
        for at in range(4)
    ]
    await vault.approvals.save_approvals(long)
    kept = await vault.approvals.load_approvals()
    assert [each.digest for each in kept] == ["d1"] * 4
    assert [len(each.definition) for each in kept] == [0, 0, 1000, 1000]
    await approvals.close()
