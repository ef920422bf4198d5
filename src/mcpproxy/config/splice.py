"""Change one value in a JSON text and leave every other character as it was. Pure.

Law: an edit is a splice between positions; comments, order, unknown keys and indentation stay.
"""

import json
import re

from mcpproxy.config.jsonc import Json, Node

INDENT = "  "


def set_member(text: str, node: Node, key: str, value: Json) -> str:
    """`text` with `"key": value` in the object `node`: replaced where it is, else added last."""
    present = node.member(key)
    indent = _indent_at(text, node.start)
    written = _write(value, indent + INDENT)
    if present is not None:
        return text[: present.start] + written + text[present.end :]
    entries = [member.value for member in node.members or ()]
    return _append(text, node, entries, f"{json.dumps(key)}: {written}")


def append_item(text: str, node: Node, value: Json) -> str:
    """`text` with `value` as the last item of the array `node`."""
    indent = _indent_at(text, node.start)
    return _append(text, node, list(node.items or ()), _write(value, indent + INDENT))


def remove_item(text: str, node: Node, at: int) -> str:
    """`text` without the item number `at` of the array `node`."""
    items = node.items or ()
    return _remove(text, node, [item.start for item in items], [i.end for i in items], at)


def remove_member(text: str, node: Node, key: str) -> str:
    """`text` without this key of the object `node`, which has it."""
    members = node.members or ()
    at = next(at for at, member in enumerate(members) if member.key == key)
    starts = [member.start for member in members]
    return _remove(text, node, starts, [member.value.end for member in members], at)


def _append(text: str, node: Node, entries: list[Node], written: str) -> str:
    outer = _indent_at(text, node.start)
    inner = outer + INDENT
    if not entries:
        blank = text[node.start + 1 : node.end - 1]
        kept = blank.rstrip() if blank.strip() else ""
        return f"{text[: node.start + 1]}{kept}\n{inner}{written}\n{outer}{text[node.end - 1 :]}"
    last = entries[-1].end
    inner = _indent_at(text, last) if "\n" in text[node.start : last] else inner
    tail = text[last : node.end - 1]
    comma = _comma(tail)
    head = text[:last] + ("," if comma is None else "")
    rest = tail.rstrip()
    return f"{head}{rest}\n{inner}{written}\n{outer}{text[node.end - 1 :]}"


def _remove(text: str, node: Node, starts: list[int], ends: list[int], at: int) -> str:
    start, end = starts[at], ends[at]
    following = starts[at + 1] if at + 1 < len(starts) else node.end - 1
    comma = _comma(text[end:following])
    if comma is not None:
        end += comma + 1
    elif at > 0:
        # The last one, without a trailing comma: the one before it must not keep its own.
        before = ends[at - 1]
        lone = _comma(text[before:start])
        if lone is not None:
            gap = text[before + lone + 1 : start]
            return _close_gap(text[: before + lone] + gap, text[end:])
    return _close_gap(text[:start], text[end:])


def _close_gap(head: str, tail: str) -> str:
    """Join without leaving an empty line where the entry stood."""
    rest = re.match(r"[ \t]*\r?\n", tail)
    if rest and (not head.rstrip(" \t") or head.rstrip(" \t").endswith("\n")):
        return head.rstrip(" \t") + tail[rest.end() :]
    return head + tail


def _comma(between: str) -> int | None:
    """Where the comma is in text between two entries, comments skipped."""
    for found in re.finditer(r"//[^\n]*|/\*.*?\*/|,", between, re.DOTALL):
        if found[0] == ",":
            return found.start()
    return None


def _indent_at(text: str, at: int) -> str:
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _write(value: Json, indent: str) -> str:
    written = json.dumps(value, indent=INDENT, ensure_ascii=False)
    return written.replace("\n", f"\n{indent}")
