"""A digest counts every field of a definition, and nothing of how it was written."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mcpproxy.gateway.definitions import canonical, digest, readable

TOOL = {
    "name": "get",
    "description": "Say é",
    "inputSchema": {"type": "object", "properties": {"a": {"type": "integer"}}},
    "annotations": {"readOnlyHint": True},
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def written(value: Any, **options: Any) -> bytes:
    return json.dumps(value, **options).encode()


def turned(value: Any) -> Any:
    """The same value with the members of its objects in another order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_order_blanks_and_escapes_do_not_count(value: Any) -> None:
    plain = canonical(written(value))
    assert canonical(written(turned(value), indent=3)) == plain
    assert canonical(written(value, separators=(",", ":"))) == plain
    assert canonical(plain) == plain


def test_every_field_counts_also_one_that_nobody_knows() -> None:
    known = digest(canonical(written(TOOL)))
    changed: list[dict[str, Any]] = [
        {**TOOL, "description": "Say e"},
        {**TOOL, "annotations": {"readOnlyHint": False}},
        {**TOOL, "inputSchema": {"type": "object"}},
        {**TOOL, "x-unknown": 1},
        {**TOOL, "_meta": {"a": 1.0}},
        {**TOOL, "_meta": {"a": 1}},
        {**TOOL, "_meta": {"a": None}},
        {**TOOL, "_meta": {"a": 2**70}},
        {**TOOL, "_meta": {"a": float(2**70)}},
    ]
    digests = {digest(canonical(written(each))) for each in changed}
    assert len(digests) == len(changed)
    assert known not in digests


def test_a_member_that_stands_twice_counts_twice() -> None:
    good, bad = b'{"description":"good"}', b'{"description":"bad","description":"good"}'
    other = b'{"description":"worse","description":"good"}'
    assert len({canonical(good), canonical(bad), canonical(other)}) == 3
    assert "bad" in "\n".join(readable(canonical(bad)))


def test_a_number_too_large_for_a_reader_is_not_nothing() -> None:
    texts = [b'{"a":1e400}', b'{"a":1e401}', b'{"a":null}', b'{"a":-1e400}']
    assert len({canonical(text) for text in texts}) == 4


def test_nobody_can_write_what_a_repeated_member_becomes() -> None:
    twice = canonical(b'{"a":1,"a":2}')
    assert canonical(twice.rstrip(b"\0")) != twice


def test_what_no_reader_of_ours_takes_is_taken_as_it_is() -> None:
    huge = b'{"a":' + b"9" * 10_000 + b"}"
    deep = b"[" * 100_000 + b"]" * 100_000
    assert canonical(huge) == huge
    assert canonical(deep) == deep
    assert readable(deep)


def test_a_definition_is_shown_line_by_line_and_can_always_be_sent() -> None:
    assert readable(canonical(b'{"b":1,"a":{"c":[]}}')) == [
        "{",
        '  "a": {',
        '    "c": []',
        "  },",
        '  "b": 1',
        "}",
    ]
    assert readable(b"") == []
    assert "\n".join(readable(canonical(b'{"a":"\\ud800"}'))).encode()
