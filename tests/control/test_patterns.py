"""Patterns, what a server's rules say of a tool, and what a profile lets through."""

import time
from datetime import timedelta

import pytest

from mcpproxy.core.control import Profile, ServerControl, Tier, matches
from mcpproxy.core.model import Upstream
from mcpproxy.gateway.access import EVERYTHING, Caller, Permit, may_call, may_reach
from mcpproxy.gateway.tools import Effect, Tool

GITHUB, JIRA = Upstream("github", url="https://g"), Upstream("jira", url="https://j")


def tool(name: str, effect: Effect = Effect.READ) -> Tool:
    return Tool(name, "", effect, b"{}")


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("get_issue", "get_issue", True),
        ("get_issue", "get_issues", False),
        ("get_*", "get_", True),
        ("get_*", "forget_it", False),
        ("*_issue", "get_issue", True),
        ("g*t*e", "get_the_issue", True),
        ("**", "", True),
        ("a.b", "aXb", False),
        ("Get", "get", False),
        ("a*a", "a", False),
        ("*", "several\nlines", True),
    ],
)
def test_a_star_stands_for_anything_and_nothing_else_does(
    pattern: str, name: str, expected: bool
) -> None:
    assert matches((pattern,), name) is expected


def test_a_pattern_of_many_stars_is_no_slower_than_the_name_is_long() -> None:
    pattern, name = "a*" * 100 + "b", "a" * 256
    begun = time.process_time()
    assert not matches((pattern,), name)
    assert time.process_time() - begun < 1


def test_what_is_disabled_stays_so_although_it_is_enabled_too() -> None:
    rules = ServerControl(enabled_tools=("get_*", "list"), disabled_tools=("*_secret",))
    assert [name for name in ("get_it", "list", "lists", "get_secret") if rules.allows(name)] == [
        "get_it",
        "list",
    ]
    assert ServerControl().allows("anything")


def test_the_first_pattern_that_matches_says_how_long_a_call_may_take() -> None:
    slow, fast = timedelta(minutes=9), timedelta(seconds=3)
    rules = ServerControl(
        call_timeout=timedelta(minutes=1), tool_timeouts=(("build_*", slow), ("*", fast))
    )
    assert (rules.timeout("build_all"), rules.timeout("get")) == (slow, fast)
    assert ServerControl(call_timeout=fast).timeout("get") == fast
    assert ServerControl().timeout("get") is None


def test_a_profile_shows_its_servers_and_tools_and_no_others() -> None:
    profile = Profile("p", frozenset({"github"}), ("github:get_*", "jira:*"), ("*:get_secret",))
    caller = Caller("owner").within(profile)
    assert may_reach(caller, GITHUB)
    assert not may_reach(caller, JIRA)
    assert may_call(caller, GITHUB, tool("get_issue"))
    assert not may_call(caller, GITHUB, tool("get_secret"))
    assert not may_call(caller, GITHUB, tool("list"))
    assert not may_call(caller, JIRA, tool("get_issue"))


def test_a_profile_that_names_tools_and_no_servers_has_the_servers_of_these_tools() -> None:
    caller = Caller("owner").within(Profile("p", allow=("git*:get_*",)))
    assert (may_reach(caller, GITHUB), may_reach(caller, JIRA)) == (True, False)
    assert may_call(caller, GITHUB, tool("get_issue"))
    assert not may_call(caller, GITHUB, tool("list"))


def test_a_profile_without_servers_has_all_and_one_with_none_has_nothing() -> None:
    assert may_call(Caller("owner").within(Profile("all")), JIRA, tool("get"))
    nothing = Caller("owner").within(Profile("none", frozenset()))
    assert not may_reach(nothing, JIRA)


def test_a_tier_takes_the_stronger_effects_away() -> None:
    caller = Caller("owner").within(Profile("p", max_tier=Tier.WRITE))
    assert may_call(caller, GITHUB, tool("get", Effect.READ))
    assert may_call(caller, GITHUB, tool("put", Effect.WRITE))
    assert not may_call(caller, GITHUB, tool("drop", Effect.DESTRUCTIVE))
    assert Permit.ADMIN not in caller.permits


def test_a_profile_never_gives_a_caller_more_than_it_had() -> None:
    narrow = Caller(
        "agent",
        permits=frozenset({Permit.READ}),
        servers=frozenset({"github"}),
        tools=frozenset({"github:get"}),
    )
    wide = narrow.within(Profile("p", max_tier=Tier.DESTRUCTIVE))
    assert wide.permits == {Permit.READ}
    assert not may_reach(wide, JIRA)
    assert not may_call(wide, GITHUB, tool("list"))
    assert may_call(wide, GITHUB, tool("get"))
    assert not Caller("owner").within(Profile("p")).unlimited
    assert Caller("owner", EVERYTHING).unlimited
