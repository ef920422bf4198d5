"""What the file says of tools, calls and profiles; and how programs switch tools."""

from datetime import timedelta
from pathlib import Path

import pytest

from mcpproxy.config.changes import Changes, diff
from mcpproxy.config.edit import ConfigFile
from mcpproxy.config.load import load
from mcpproxy.core.control import (
    ALL_BOUNDS,
    SERVER_BOUNDS,
    Arguments,
    Bounds,
    Control,
    Profile,
    Tier,
    ToolApproval,
)
from mcpproxy.core.errors import ConfigError, UnknownServer
from tests.config.files import KEY, loaded, location, problems, with_servers

FULL = f"""{{
  "api_key": "{KEY}",
  "max_concurrent_requests": 50, "queue_size": 7, "queue_timeout": "5s",
  "server_concurrency_defaults": {{"max_concurrent_requests": 9}},
  "tool_approval": "all",
  "activity_arguments": true, "activity_retention_days": 3, "activity_max_records": 10,
  "activity_max_size_mb": 1,
  "profiles": [
    {{"name": "reading", "title": "Reading", "servers": ["one"], "max_tier": "read",
      "tools": {{"allow": ["one:get_*"], "deny": ["*:get_secret"]}}, "routing_mode": "direct"}},
    {{"name": "nothing", "servers": []}}
  ],
  "mcpServers": [
    {{"name": "one", "command": "x", "enabled_tools": ["get_*"], "disabled_tools": ["get_secret"],
      "tool_approval": "off", "queue_size": 0, "call_tool_timeout": "1m",
      "tool_timeouts": {{"get_all": "10m"}}}},
    {{"name": "two", "command": "x"}}
  ]
}}"""


def test_every_word_about_tools_and_calls_arrives(tmp_path: Path) -> None:
    settings = loaded(tmp_path, FULL)
    control, one = settings.control, settings.control.of("one")
    assert settings.warnings == ()
    assert control.bounds == Bounds(50, 7, timedelta(seconds=5))
    assert control.arguments is Arguments.KEPT
    assert (one.enabled_tools, one.disabled_tools) == (("get_*",), ("get_secret",))
    assert one.approval is ToolApproval.OFF
    assert one.bounds == Bounds(9, 0, SERVER_BOUNDS.patience)
    assert one.timeout("get_all") == timedelta(minutes=10)
    assert one.timeout("get") == timedelta(minutes=1)
    assert control.of("two").approval is ToolApproval.ALL
    assert control.of("two").bounds.at_once == 9
    assert control.profiles == {
        "reading": Profile(
            "reading", frozenset({"one"}), ("one:get_*",), ("*:get_secret",), Tier.READ, "direct"
        ),
        "nothing": Profile("nothing", frozenset()),
    }
    assert settings.activity.max_age == timedelta(days=3)
    assert settings.activity.max_bytes == 1024 * 1024


def test_a_file_that_says_nothing_has_generous_bounds_and_holds_what_changes(
    tmp_path: Path,
) -> None:
    settings = loaded(tmp_path, with_servers('[{"name": "one", "command": "x"}]'))
    assert settings.control == Control()
    assert settings.control.bounds == ALL_BOUNDS
    assert settings.control.of("one").bounds == SERVER_BOUNDS
    assert settings.control.of("one").approval is ToolApproval.CHANGED
    assert settings.control.arguments is Arguments.LEFT_OUT
    assert settings.activity.enabled


def test_a_file_of_the_go_project_loads_and_what_has_no_effect_is_named(tmp_path: Path) -> None:
    text = f"""{{"api_key": "{KEY}", "quarantine_enabled": false, "profiles": [
      {{"name": "p", "servers": ["one", "gone"], "unannotated": "deny",
        "tools": {{"allow": ["one:*", "other:x"]}}}}],
      "mcpServers": [{{"name": "one", "command": "x", "trust_mode": "auto",
        "disabled_tools": ["delete"], "max_concurrent_requests": 0}}]}}"""
    settings = loaded(tmp_path, text)
    assert settings.control.of("one").bounds.at_once == 0
    assert settings.warnings == (
        "mcpServers[0]: no effect in this program: trust_mode",
        "profiles[0]: no effect in this program: unannotated",
        'profiles[0]: no server is called "gone"',
        'profiles[0]: no server is called "other"',
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"tool_approval": "sometimes"', 'tool_approval: found "sometimes"; allowed: "off"'),
        ('"max_concurrent_requests": -1', "max_concurrent_requests: found -1; allowed: 0 or more"),
        ('"queue_timeout": 0', "queue_timeout: found 0; allowed:"),
        ('"profiles": [{"name": "No"}]', 'profiles[0].name: found "No"; allowed: lower-case'),
        (
            '"profiles": [{"name": "a"}, {"name": "a"}]',
            'profiles[1].name: "a" is taken by profiles[0]',
        ),
        (
            '"profiles": [{"name": "a", "tools": {"deny": ["get"]}}]',
            "profiles[0].tools.deny: found an array; allowed: server:tool",
        ),
        ('"activity_max_records": 0', "activity_max_records: found 0; allowed: 1 or more"),
    ],
)
def test_what_cannot_be_right_is_told_by_its_path(tmp_path: Path, text: str, expected: str) -> None:
    (said,) = problems(tmp_path, f'{{"api_key": "{KEY}", {text}}}')
    assert said.startswith(expected)


def test_a_pattern_that_matches_nothing_on_purpose_is_refused(tmp_path: Path) -> None:
    text = with_servers('[{"name": "one", "command": "x", "disabled_tools": [""]}]')
    (said,) = problems(tmp_path, text)
    assert said.startswith("mcpServers[0].disabled_tools: found an array; allowed: names of tools")


def test_only_the_server_whose_tools_changed_is_named_and_nothing_restarts(
    tmp_path: Path,
) -> None:
    one, two = '{"name": "one", "command": "x"%s}', '{"name": "two", "command": "x"}'
    before = loaded(tmp_path, with_servers(f"[{one % ''}, {two}]"))
    changed = ', "disabled_tools": ["a"]'
    after = loaded(tmp_path, with_servers(f"[{one % changed}, {two}]"))
    assert diff(before, after) == Changes(changed=("one",))
    assert before.upstreams == after.upstreams


WRITTEN = """{
  "api_key": "a-key-for-tests-0123456789",
  "mcpServers": [
    {"name": "one", "command": "x",
     "disabled_tools": ["delete_*" /* never */, "drop"]}, // mine
    {"name": "two", "command": "x", "enabled_tools": ["get_*"]},
    {"name": "none", "command": "x", "enabled_tools": []}
  ]
}
"""


def test_tools_are_switched_off_and_on_again_and_the_file_stays_a_persons(tmp_path: Path) -> None:
    there = location(tmp_path, WRITTEN)
    file = ConfigFile(there, {})
    file.disable_tools("one", "push")
    file.disable_tools("one", "push")
    assert load(there, {}).control.of("one").disabled_tools == ("delete_*", "drop", "push")
    assert "/* never */" in there.config_path.read_text()
    assert file.enable_tools("one", "push") is None
    assert file.enable_tools("one", "drop") is None
    assert load(there, {}).control.of("one").disabled_tools == ("delete_*",)
    assert file.enable_tools("one", "delete_it") == "Still disabled by: delete_*."
    file.disable_tools("two", "get_secret")
    assert not load(there, {}).control.of("two").allows("get_secret")
    assert "// mine" in there.config_path.read_text()


def test_a_tool_is_added_to_those_that_are_enabled_only_where_only_some_are(
    tmp_path: Path,
) -> None:
    there = location(tmp_path, WRITTEN)
    file = ConfigFile(there, {})
    file.enable_tools("two", "get_issue")
    assert load(there, {}).control.of("two").enabled_tools == ("get_*",)
    file.enable_tools("two", "list")
    assert load(there, {}).control.of("two").enabled_tools == ("get_*", "list")
    file.enable_tools("one", "push")
    assert load(there, {}).control.of("one").enabled_tools is None
    file.enable_tools("none", "list")
    assert load(there, {}).control.of("none").enabled_tools == ("list",)


def test_an_empty_list_of_enabled_tools_is_none_of_them(tmp_path: Path) -> None:
    server = '[{"name": "one", "command": "x", "enabled_tools": %s}]'
    assert not loaded(tmp_path, with_servers(server % "[]")).control.of("one").allows("get")
    assert loaded(tmp_path, with_servers(server % "null")).control.of("one").allows("get")


def test_a_bad_switch_changes_nothing(tmp_path: Path) -> None:
    there = location(tmp_path, WRITTEN)
    file = ConfigFile(there, {})
    with pytest.raises(UnknownServer):
        file.disable_tools("three", "a")
    with pytest.raises(ConfigError):
        file.disable_tools("one", " ")
    assert there.config_path.read_text() == WRITTEN


def test_servers_that_a_program_adds_wait_where_the_file_says_so(tmp_path: Path) -> None:
    there = location(tmp_path, f'{{"api_key": "{KEY}", "quarantine_enabled": true}}')
    file = ConfigFile(there, {})
    file.add_server("new", {"command": "x"})
    file.add_server("known", {"command": "x", "quarantined": False})
    found = load(there, {}).upstreams
    assert (found["new"].quarantined, found["known"].quarantined) == (True, False)
    file.approve("new")
    file.quarantine("known")
    found = load(there, {}).upstreams
    assert (found["new"].quarantined, found["known"].quarantined) == (False, True)
