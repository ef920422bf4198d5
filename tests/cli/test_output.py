"""Tables, JSON and YAML."""

import json

import pytest
import yaml

from mcpproxy.cli.output import as_json, as_yaml, table

AWKWARD = [
    "", " ", "yes", "No", "null", "true", "~", "1", "1.5", "0x1f", "-", "- x", "a: b", "a #b",
    "#x", "{x}", "[x]", "&x", "*x", "!x", "%x", "@x", "`x`", '"x"', "'x'", "x:", "a\nb", "\t",
    "2026-01-12T14:05:00Z", "2026-01-12", "é", "日本", "\x1b[2J", "\u202e", "\U0001f600", "=", "<<",
    "off", "1e3", ".5", ".inf", "0o7", "12:30", "a b", "https://x.example/a?b=c#d", "x" * 300,
]  # fmt: skip


@pytest.mark.parametrize("text", AWKWARD)
def test_a_string_comes_back_from_yaml_and_json_as_it_was(text: str) -> None:
    data = [{"key": text, "nested": {text: [text, {"a": text}]}}]
    assert yaml.safe_load(as_yaml(data)) == data
    assert json.loads(as_json(data)) == data


@pytest.mark.parametrize(
    "data",
    [
        [], {}, [[]], [{}], {"a": []}, {"a": {}}, [1, 2.5, True, False, None], "text", 5,
        {"a": {"b": {"c": [{"d": 1}, {"e": [1, [2, 3]]}]}}}, [[1, 2], [3]],
    ],
)  # fmt: skip
def test_every_shape_comes_back_from_yaml(data: object) -> None:
    assert yaml.safe_load(as_yaml(data)) == data


@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b", "\u202e", "\u2028", "\x7f"])
def test_no_format_prints_a_control_character(text: str) -> None:
    for printed in (as_json([text]), as_yaml([text]), table(("A", "B"), [(text, text)])):
        assert text not in printed
        assert all(ord(char) >= 32 or char == "\n" for char in printed)


def test_columns_are_as_wide_as_their_widest_entry() -> None:
    assert table(("A", "B"), [("long name", "x"), ("s", "y")]) == (
        "A         B\nlong name x\ns         y"
    )
    assert table(("A", "B"), [("x", "y")], at_least=(5,)) == "A     B\nx     y"
