"""Which tools there are: switched on, and in a definition that nobody has to look at first."""

from dataclasses import replace
from datetime import timedelta

import pytest

from mcpproxy.core.approvals import Held, Standing
from mcpproxy.core.control import Control, ServerControl, ToolApproval
from mcpproxy.core.errors import NotReady, StoreUnavailable, UnknownTool
from mcpproxy.gateway import approvals
from mcpproxy.gateway.admission import Admission
from mcpproxy.gateway.approvals import Approvals
from mcpproxy.gateway.tools import Tool
from tests.control.stores import Approved, StandingClock, tool
from tests.gateway.world import until

pytestmark = pytest.mark.anyio

CHANGED, ALL, OFF = (
    Control(others=ServerControl(approval=each))
    for each in (ToolApproval.CHANGED, ToolApproval.ALL, ToolApproval.OFF)
)


async def started(
    store: Approved, control: Control = CHANGED, clock: StandingClock | None = None
) -> Admission:
    """A daemon that has read what was approved; what it trusts is durable at once."""
    approvals = Approvals(store)
    await approvals.start(lambda: None)
    return Admission(approvals, clock or StandingClock(), control)


async def restarted(store: Approved, known: int, control: Control = CHANGED) -> Admission:
    """Another daemon, once so many definitions are durable."""
    await until(lambda: len(store.rows) == known)
    return await started(store, control)


def names(tools: tuple[Tool, ...]) -> list[str]:
    return [each.name for each in tools]


async def test_what_is_seen_first_is_trusted_and_known_after_a_restart() -> None:
    store = Approved()
    admission = await started(store)
    assert names(admission.admitted("github", (tool("a"), tool("b")))) == ["a", "b"]
    admission = await restarted(store, known=2)
    offered = (tool("a", "now it does more"), tool("b"), tool("c"))
    assert names(admission.admitted("github", offered)) == ["b", "c"]
    assert admission.standing("github", "a") is Standing.HELD_CHANGED
    assert admission.counts("github").held == 1


async def test_where_all_are_looked_at_new_ones_wait_too() -> None:
    admission = await started(Approved(), ALL)
    assert admission.admitted("github", (tool("a"),)) == ()
    assert admission.standing("github", "a") is Standing.HELD_NEW


async def test_where_nobody_looks_every_definition_passes_and_is_remembered() -> None:
    store = Approved()
    admission = await started(store, OFF)
    admission.admitted("github", (tool("a"),))
    assert names(admission.admitted("github", (tool("a", "other"),))) == ["a"]
    admission = await restarted(store, known=1)
    assert names(admission.admitted("github", (tool("a", "other"),))) == ["a"]
    assert admission.admitted("github", (tool("a"),)) == ()


async def test_a_definition_written_anew_is_the_same_and_one_that_came_back_is_approved() -> None:
    admission = await started(Approved())
    first = tool("a", "does it")
    admission.admitted("github", (first,))
    spaced = replace(first, definition=first.definition.replace(b":", b" : "))
    assert names(admission.admitted("github", (spaced,))) == ["a"]
    assert admission.admitted("github", (tool("a", "does more"),)) == ()
    assert names(admission.admitted("github", (first,))) == ["a"]
    assert admission.counts("github").held == 0


async def test_a_tool_that_was_away_is_still_known() -> None:
    admission = await started(Approved())
    admission.admitted("github", (tool("a"), tool("b")))
    admission.admitted("github", (tool("b"),))
    assert names(admission.admitted("github", (tool("a", "another"), tool("b")))) == ["b"]


async def test_servers_do_not_know_each_others_tools() -> None:
    admission = await started(Approved())
    admission.admitted("github", (tool("a"),))
    assert names(admission.admitted("jira", (tool("a", "quite another"),))) == ["a"]


async def test_a_person_sees_what_changed_and_approves_of_just_that() -> None:
    store = Approved()
    admission = await started(store)
    admission.admitted("github", (tool("a", "reads"),))
    changed = tool("a", "reads and sends")
    admission.admitted("github", (changed, tool("b")))
    (held,) = await admission.held()
    assert (held.server, held.tool, held.reason) == ("github", "a", Held.CHANGED)
    assert (b"reads" in held.before, b"sends" in held.definition) == (True, True)
    await admission.approve("github", [("a", held.digest)])
    assert names(admission.admitted("github", (changed, tool("b")))) == ["a", "b"]
    # Durable when it returned: another daemon knows it without anything more being written.
    assert names((await started(store)).admitted("github", (changed,))) == ["a"]


async def test_what_changed_again_after_it_was_shown_goes_on_waiting() -> None:
    admission = await started(Approved())
    for description in ("one", "two"):
        admission.admitted("github", (tool("a", description),))
    (held,) = await admission.held("github")
    admission.admitted("github", (tool("a", "three"),))
    with pytest.raises(NotReady, match="changed again"):
        await admission.approve("github", [("a", held.digest)])
    with pytest.raises(UnknownTool):
        await admission.approve("github", [("nothing", held.digest)])
    assert admission.admitted("github", (tool("a", "three"),)) == ()


@pytest.fixture
def room_for_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approvals, "MAX_FIRST_SEEN", 3)
    monkeypatch.setattr(approvals, "MAX_APPROVED", 4)


JUNK = tuple(tool(f"junk{at}") for at in range(5))


@pytest.mark.usefixtures("room_for_three")
async def test_no_number_of_new_names_makes_a_known_definition_forgotten() -> None:
    store = Approved()
    admission = await started(store)
    admission.admitted("github", (tool("a", "reads"),))
    assert names(admission.admitted("github", JUNK)) == ["junk0", "junk1"]
    assert admission.standing("github", "junk2") is Standing.HELD_NEW
    changed = (tool("a", "sends"),)
    assert admission.admitted("github", changed) == ()
    assert admission.standing("github", "a") is Standing.HELD_CHANGED
    assert (await restarted(store, known=3)).admitted("github", changed) == ()
    assert names(admission.admitted("jira", (tool("a"),))) == ["a"]


def kept(store: Approved) -> set[str]:
    return {tool for _, tool in store.rows}


def listed_daily(
    admission: Admission, clock: StandingClock, days: int, *offered: Tool
) -> tuple[Tool, ...]:
    """What is admitted of this list on the last of so many days."""
    for _ in range(days - 1):
        clock.at += timedelta(days=1)
        admission.admitted("github", offered)
    clock.at += timedelta(days=1)
    return admission.admitted("github", offered)


@pytest.mark.usefixtures("room_for_three")
async def test_names_that_were_long_not_offered_make_room_for_new_ones() -> None:
    store, clock = Approved(), StandingClock()
    admission = await started(store, clock=clock)
    stays, today = tool("stays"), [tool(f"report-{at}") for at in range(4)]
    admission.admitted("github", (stays, *today[:2]))
    await until(lambda: len(store.rows) == 3)
    assert names(listed_daily(admission, clock, 29, stays, today[2])) == ["stays"]
    assert names(listed_daily(admission, clock, 1, stays, today[2])) == ["stays", "report-2"]
    await until(lambda: kept(store) == {"stays", "report-1", "report-2"})
    await until(lambda: store.rows["github", "stays"].seen_at is not None)
    later = await started(store, clock=clock)
    assert names(later.admitted("github", (today[3],))) == ["report-3"]
    assert later.admitted("github", (tool("stays", "now other"),)) == ()


@pytest.mark.usefixtures("room_for_three")
async def test_what_a_person_approved_of_is_not_forgotten_however_long_ago() -> None:
    store, clock = Approved(), StandingClock()
    admission = await started(store, clock=clock)
    admission.admitted("github", (tool("a", "reads"), tool("b")))
    admission.admitted("github", (tool("a", "sends"), tool("b")))
    (held,) = await admission.held()
    await admission.approve("github", [("a", held.digest)])
    listed_daily(admission, clock, 1, tool("c"))
    assert names(listed_daily(admission, clock, 40, tool("x"))) == ["x"]
    await until(lambda: kept(store) == {"a", "c", "x"})
    assert admission.admitted("github", (tool("a", "sends more"),)) == ()


@pytest.mark.usefixtures("room_for_three")
async def test_what_a_person_switched_off_by_name_is_not_forgotten_however_long_ago() -> None:
    store, clock = Approved(), StandingClock()
    control = Control(others=ServerControl(disabled_tools=("off",)))
    admission = await started(store, control, clock)
    admission.admitted("github", (tool("off", "reads"), tool("b")))
    listed_daily(admission, clock, 1, tool("c"))
    assert names(listed_daily(admission, clock, 40, tool("x"))) == ["x"]
    await until(lambda: kept(store) == {"off", "c", "x"})
    admission.control = CHANGED
    assert admission.admitted("github", (tool("off", "sends"),)) == ()


@pytest.mark.usefixtures("room_for_three")
async def test_where_nobody_looks_what_a_person_approved_of_stays_theirs() -> None:
    store, clock = Approved(), StandingClock()
    admission = await started(store, ALL, clock)
    admission.admitted("github", (tool("a"),))
    (held,) = await admission.held()
    await admission.approve("github", [("a", held.digest)])
    admission.control = OFF
    admission.admitted("github", (tool("a", "another"),))
    listed_daily(admission, clock, 1, *JUNK[:2])
    listed_daily(admission, clock, 40, *JUNK[2:])
    await until(lambda: kept(store) == {"a", "junk0", "junk2"})


@pytest.mark.usefixtures("room_for_three")
@pytest.mark.parametrize("away", [timedelta(days=60), timedelta(days=3650)])
async def test_no_absence_of_the_server_and_no_jump_of_the_clock_makes_it_forgotten(
    away: timedelta,
) -> None:
    store, clock = Approved(), StandingClock()
    admission = await started(store, clock=clock)
    admission.admitted("github", (tool("a", "reads"), tool("b")))
    clock.at += away
    assert names(admission.admitted("github", JUNK)) == ["junk0"]
    changed = (tool("a", "sends"),)
    assert admission.admitted("github", changed) == ()
    clock.at -= away
    assert names(admission.admitted("github", JUNK)) == ["junk0"]
    assert admission.admitted("github", changed) == ()


@pytest.mark.usefixtures("room_for_three")
async def test_a_tool_is_not_forgotten_for_new_names_in_the_list_that_it_is_on_itself() -> None:
    store, clock = Approved(), StandingClock()
    admission = await started(store, clock=clock)
    admission.admitted("github", (tool("a", "reads"), tool("b"), tool("c")))
    listed_daily(admission, clock, 40, tool("c"))
    assert names(admission.admitted("github", (*JUNK, tool("a", "sends")))) == ["junk0"]
    assert admission.standing("github", "a") is Standing.HELD_CHANGED


@pytest.mark.usefixtures("room_for_three")
async def test_a_person_approves_beyond_what_is_trusted_unseen_and_is_told_where_it_ends() -> None:
    admission = await started(Approved())
    admission.admitted("github", JUNK)
    held = {each.tool: each.digest for each in await admission.held()}
    await admission.approve("github", [("junk3", held["junk3"])])
    with pytest.raises(NotReady, match="4 definitions"):
        await admission.approve("github", [("junk4", held["junk4"])])
    assert names(admission.admitted("github", JUNK)) == ["junk0", "junk1", "junk2", "junk3"]


@pytest.mark.usefixtures("room_for_three")
async def test_where_nobody_looks_new_names_pass_and_are_not_kept_without_end() -> None:
    store = Approved()
    admission = await started(store, OFF)
    assert admission.admitted("github", JUNK) == JUNK
    assert (await restarted(store, known=3, control=OFF)).admitted("github", JUNK) == JUNK


async def test_an_approval_that_cannot_be_kept_is_none() -> None:
    store = Approved()
    admission = await started(store, ALL)
    admission.admitted("github", (tool("a"),))
    (held,) = await admission.held()
    store.broken = True
    with pytest.raises(StoreUnavailable):
        await admission.approve("github", [("a", held.digest)])
    assert admission.admitted("github", (tool("a"),)) == ()


async def test_while_the_approvals_cannot_be_read_nothing_passes_that_may_have_to_wait() -> None:
    store = Approved(broken=True)
    approvals = Approvals(store)
    admission = Admission(approvals, StandingClock(), CHANGED)
    assert admission.admitted("github", (tool("a"),)) == ()
    assert admission.standing("github", "a") is Standing.UNKNOWN
    admission.control = OFF
    assert names(admission.admitted("github", (tool("a"),))) == ["a"]


async def test_tools_are_switched_off_by_pattern_and_do_not_count_as_waiting() -> None:
    rules = ServerControl(disabled_tools=("delete_*",), approval=ToolApproval.ALL)
    admission = await started(Approved(), Control(servers={"github": rules}))
    offered = (tool("delete_all"), tool("get"))
    admission.admitted("github", offered)
    assert admission.standing("github", "delete_all") is Standing.DISABLED
    counts = admission.counts("github")
    assert (counts.admitted, counts.disabled, counts.held) == (0, 1, 1)
    admission.gone("github")
    assert admission.standing("github", "get") is Standing.UNKNOWN
    assert await admission.held() == []
