"""Programs edit the file, and it stays the person's file."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpproxy.config import splice
from mcpproxy.config.edit import ConfigFile
from mcpproxy.config.jsonc import parse
from mcpproxy.config.load import load
from mcpproxy.core.errors import ConfigError, NotPermitted, UnknownServer
from tests.config.files import KEY, location

WRITTEN = """{
  // My servers. Do not touch!
  "api_key": "a-key-for-tests-0123456789", /* secret */
  "colour": "kept",
  "mcpServers": [
    {"name": "one", "command": "x"}, // the first
    {
      "name": "two",
      "enabled": false, // for now
      "url": "https://two.example/mcp",
    },
    // nothing after this
  ],
}
"""


def edited(directory: Path, text: str = WRITTEN) -> tuple[ConfigFile, Path]:
    there = location(directory, text)
    return ConfigFile(there, {}), there.config_path


def test_an_added_server_leaves_all_else_as_it_was(tmp_path: Path) -> None:
    file, path = edited(tmp_path)
    file.add_server("three", {"url": "https://three.example/mcp", "headers": {"A": "${env:X}"}})
    assert path.read_text() == WRITTEN.replace(
        "    // nothing after this\n",
        """    // nothing after this
    {
      "name": "three",
      "url": "https://three.example/mcp",
      "headers": {
        "A": "${env:X}"
      }
    }
""",
    )
    assert set(load(location(tmp_path), {"X": "1"}).upstreams) == {"one", "two", "three"}


def test_a_removed_server_leaves_all_else_as_it_was(tmp_path: Path) -> None:
    file, path = edited(tmp_path)
    file.remove_server("two")
    cut = WRITTEN.index("    {\n"), WRITTEN.index("    // nothing")
    assert path.read_text() == WRITTEN[: cut[0]] + WRITTEN[cut[1] :]


def test_a_switched_server_changes_one_word(tmp_path: Path) -> None:
    file, path = edited(tmp_path)
    file.enable("two")
    assert path.read_text() == WRITTEN.replace('"enabled": false', '"enabled": true')
    file.disable("two")
    assert path.read_text() == WRITTEN
    file.disable("one")
    assert load(location(tmp_path), {}).upstreams["one"].enabled is False


def test_an_approved_server_is_no_longer_quarantined(tmp_path: Path) -> None:
    text = WRITTEN.replace('"command": "x"', '"command": "x", "quarantined": true')
    file, path = edited(tmp_path, text)
    file.approve("one")
    assert path.read_text() == text.replace('"quarantined": true', '"quarantined": false')


def test_a_server_disabled_in_other_clients_words_is_switched_in_them(tmp_path: Path) -> None:
    text = WRITTEN.replace('"command": "x"', '"command": "x", "disabled": true')
    file, path = edited(tmp_path, text)
    file.enable("one")
    assert '"disabled": false' in path.read_text()
    assert load(location(tmp_path), {}).upstreams["one"].enabled is True


def test_servers_keyed_by_name_stay_so(tmp_path: Path) -> None:
    text = f'{{"api_key": "{KEY}", "mcpServers": {{"one": {{"command": "x"}}}}}}'
    file, path = edited(tmp_path, text)
    file.add_server("two", {"command": "y"})
    file.disable("two")
    file.remove_server("one")
    assert parse(path.read_text()).value() == {
        "api_key": KEY,
        "mcpServers": {"two": {"command": "y", "enabled": False}},
    }


def test_the_first_server_of_a_file_without_any(tmp_path: Path) -> None:
    for text in ('{"api_key": "%s"}', '{"api_key": "%s", "mcpServers": null}'):
        file, _ = edited(tmp_path, text.replace("%s", KEY))
        file.add_server("one", {"command": "x"})
        assert list(load(location(tmp_path), {}).upstreams) == ["one"]


@pytest.mark.parametrize(
    ("name", "definition"),
    [
        ("two", {"command": "y"}),
        ("Bad Name", {"command": "y"}),
        ("three", {"url": "ftp://x"}),
        ("three", {}),
    ],
)
def test_an_edit_that_would_not_load_is_refused_and_the_file_untouched(
    tmp_path: Path, name: str, definition: dict[str, str]
) -> None:
    file, path = edited(tmp_path)
    before = path.stat()
    with pytest.raises(ConfigError):
        file.add_server(name, definition)
    assert path.read_text() == WRITTEN
    assert path.stat().st_ino == before.st_ino


def test_edits_of_two_programs_at_once_are_all_made(tmp_path: Path) -> None:
    """Each has a ConfigFile of its own, as processes have."""
    there = location(tmp_path, WRITTEN)
    names = [f"server-{number}" for number in range(12)]
    with ThreadPoolExecutor(12) as programs:
        added = [
            programs.submit(ConfigFile(there, {}).add_server, name, {"command": "x"})
            for name in names
        ]
    for each in added:
        each.result()
    assert set(load(there, {}).upstreams) == {"one", "two", *names}


def test_an_unknown_server_is_refused_by_name(tmp_path: Path) -> None:
    file, path = edited(tmp_path)
    for edit in (file.enable, file.disable, file.approve, file.remove_server):
        with pytest.raises(UnknownServer, match='"nobody"'):
            edit("nobody")
    assert path.read_text() == WRITTEN


def test_a_broken_file_is_not_edited(tmp_path: Path) -> None:
    file, path = edited(tmp_path, '{"mcpServers": [')
    with pytest.raises(ConfigError):
        file.add_server("a", {"command": "x"})
    assert path.read_text() == '{"mcpServers": ['


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    real = tmp_path / "dotfiles" / "real.json"
    real.write_text(WRITTEN)
    there = location(tmp_path)
    there.config_path.symlink_to(real)
    ConfigFile(there, {}).enable("two")
    assert there.config_path.is_symlink()
    assert '"enabled": true' in real.read_text()
    assert [path.name for path in real.parent.iterdir()] == ["real.json"]


def test_an_edited_file_is_its_owners_alone(tmp_path: Path) -> None:
    file, path = edited(tmp_path)
    path.chmod(0o644)
    file.enable("two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_write_that_cannot_be_made_leaves_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: object, target: object) -> None:
        raise PermissionError(13, "Permission denied")

    file, path = edited(tmp_path)
    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(NotPermitted):
        file.enable("two")
    assert path.read_text() == WRITTEN
    assert [found.name for found in tmp_path.iterdir()] == ["mcp_config.json"]


# --- the first run --------------------------------------------------------------------------


def test_the_first_run_makes_a_file_with_a_key(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    there = location(tmp_path / "home" / ".mcpproxy")
    ConfigFile(there, {}).prepare()
    assert stat.S_IMODE(there.config_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(there.config_path.parent.stat().st_mode) == 0o700
    settings = load(there, {})
    assert len(settings.api_key.reveal()) == 43
    assert settings.warnings == ()


def test_a_later_run_keeps_the_key(tmp_path: Path) -> None:
    there = location(tmp_path)
    ConfigFile(there, {}).prepare()
    first = there.config_path.read_text()
    ConfigFile(there, {}).prepare()
    assert there.config_path.read_text() == first


@pytest.mark.parametrize("text", ["{}", '{"api_key": ""}', '{\n  // mine\n  "tools_limit": 3,\n}'])
def test_a_file_without_a_key_gets_one_and_keeps_the_rest(tmp_path: Path, text: str) -> None:
    file, path = edited(tmp_path, text)
    path.chmod(0o644)
    file.prepare()
    after = parse(path.read_text()).value()
    assert isinstance(after, dict)
    assert len(str(after.pop("api_key"))) == 43
    before = parse(text).value()
    assert isinstance(before, dict)
    assert after == {key: value for key, value in before.items() if key != "api_key"}
    assert ("// mine" in path.read_text()) == ("// mine" in text)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# --- splices --------------------------------------------------------------------------------

_ITEMS = st.lists(st.sampled_from(['{"a": 1}', '"x, // y"', "[1,\n2]", "7"]), max_size=4)
_GAPS = st.sampled_from(["", " ", "\n  ", " // note, really\n", "/* a, b */", "\n\n\t"])


@given(_ITEMS, st.data())
def test_items_appended_and_removed_anywhere_change_nothing_else(
    items: list[str], data: st.DataObject
) -> None:
    text = "["
    for at, item in enumerate(items):
        text += data.draw(_GAPS) + item + data.draw(_GAPS)
        text += "," if at < len(items) - 1 or data.draw(st.booleans()) else ""
    text += data.draw(_GAPS) + "]"
    before = [json.loads(item) for item in items]
    comments = text.count("/*")
    appended = splice.append_item(text, parse(text), {"new": [1]})
    assert parse(appended).value() == [*before, {"new": [1]}]
    assert appended.count("/*") == comments
    if items:
        at = data.draw(st.integers(0, len(items) - 1))
        removed = splice.remove_item(text, parse(text), at)
        assert parse(removed).value() == before[:at] + before[at + 1 :]


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=4), st.text(max_size=5))
def test_members_set_and_removed_change_nothing_else(tree: dict[str, int], key: str) -> None:
    text = json.dumps(tree, indent=2)
    changed = splice.set_member(text, parse(text), key, {"deep": None})
    assert parse(changed).value() == {**tree, key: {"deep": None}}
    removed = splice.remove_member(changed, parse(changed), key)
    assert parse(removed).value() == {name: tree[name] for name in tree if name != key}
