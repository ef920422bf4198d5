"""JSON with comments and trailing commas, and errors that name their place."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpproxy.config.jsonc import MAX_DEPTH, parse
from mcpproxy.core.errors import ConfigError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON, st.sampled_from([None, 0, 2, "\t"]))
def test_plain_json_reads_as_json_does(value: object, indent: int | str | None) -> None:
    text = json.dumps(value, indent=indent)
    assert parse(text).value() == value


def test_comments_and_trailing_commas_are_allowed() -> None:
    text = """
    // who we are
    { /* one */ "a": [1, 2, /* three */ 3,], // the end
      "b": { "url": "https://x//y", },
    }
    // really
    """
    assert parse(text).value() == {"a": [1, 2, 3], "b": {"url": "https://x//y"}}


def test_every_value_knows_where_it_stands() -> None:
    text = '{"a": [1, "two"], "b": {"c": null}}'
    root = parse(text)
    items = root.member("a")
    assert items is not None
    assert items.items is not None
    assert text[items.items[1].start : items.items[1].end] == '"two"'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1, column 1: expected a value, found the end of the file"),
        ('{\n  "a" 1\n}', "line 2, column 7: expected \":\", found '1'"),
        ('{\n  "a": 1\n  "b": 2\n}', 'line 3, column 3: expected "," or "}", found \'"\''),
        ("[1 2]", 'line 1, column 4: expected "," or "]", found \'2\''),
        ("[,]", "line 1, column 2: expected a value, found ','"),
        ("{a: 1}", 'line 1, column 2: expected a key in "quotes" or "}", found \'a\''),
        ('{"a": tru}', "line 1, column 7: expected a value, found 't'"),
        ("[NaN]", "line 1, column 2: expected a value, found 'N'"),
        ("{} {}", "line 1, column 4: expected the end of the file, found '{'"),
        ('{"a": "b\n"}', "line 1, column 7: this string does not end on its line"),
        (r'{"a": "C:\path"}', "line 1, column 7: this string has an escape"),
        ("[1", 'line 1, column 3: expected "," or "]", found the end of the file'),
        ("/* open", "line 1, column 1: expected a value, found '/'"),
    ],
)
def test_a_syntax_error_names_its_line_and_column(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert caught.value.message.startswith(told)


def test_nesting_is_bounded() -> None:
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(ConfigError, match="levels deep"):
        parse("[" * 100_000)


@given(st.text(alphabet='{}[]",:/*\\ \n1a', max_size=30))
def test_no_text_makes_the_reader_fail_otherwise(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse(text)
