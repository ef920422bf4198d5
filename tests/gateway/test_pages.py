"""Long lists a page at a time, and cursors that are good for one list only."""

import json

import pytest

from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.pages import PAGE_BYTES, PAGE_ITEMS, Pages
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

ME, YOU = Caller("me"), Caller("you")


def definitions(count: int, size: int = 1) -> list[bytes]:
    return [b'{"n":%d,"x":"%s"}' % (number, b"x" * size) for number in range(count)]


def result(answer: Members) -> dict[str, object]:
    found: dict[str, object] = json.loads(bytes(answer["result"]))
    return found


def walk(pages: Pages, caller: Caller) -> list[int]:
    """The sizes of all pages."""
    sizes = []
    cursor = None
    while True:
        page = result(pages.answer(caller, cursor))
        tools = page["tools"]
        assert isinstance(tools, list)
        sizes.append(len(tools))
        if "nextCursor" not in page:
            return sizes
        cursor = jsonrpc.raw(page["nextCursor"])


@pytest.mark.parametrize(
    ("count", "size", "sizes"),
    [
        (0, 1, [0]),
        (1, 1, [1]),
        (PAGE_ITEMS, 1, [PAGE_ITEMS]),
        (PAGE_ITEMS + 1, 1, [PAGE_ITEMS, 1]),
        (2 * PAGE_ITEMS + 5, 1, [PAGE_ITEMS, PAGE_ITEMS, 5]),
        (3, PAGE_BYTES, [1, 1, 1]),
    ],
)
def test_every_item_is_on_one_page(count: int, size: int, sizes: list[int]) -> None:
    pages = Pages("tools")
    assert not pages.knows(ME, 1)
    pages.put(ME, definitions(count, size))
    assert walk(pages, ME) == sizes


def test_each_caller_has_its_own_list() -> None:
    pages = Pages("tools")
    for caller, count in ((ME, 3), (YOU, 2)):
        assert not pages.knows(caller, 1)
        pages.put(caller, definitions(count))
    assert pages.knows(ME, 1)
    assert walk(pages, ME) == [3]
    assert walk(pages, YOU) == [2]


@pytest.mark.parametrize(
    "cursor", ["", "x", "AAAA", "é", "LjE=", 7, {"a": 1}, "MDAwMDAwMDAwMDAwLjE="]
)
def test_a_cursor_that_we_never_gave_is_refused(cursor: object) -> None:
    pages = Pages("tools")
    pages.knows(ME, 1)
    pages.put(ME, definitions(PAGE_ITEMS + 1))
    error = jsonrpc.error_of(pages.answer(ME, jsonrpc.raw(cursor)))
    assert error is not None
    assert error.code == jsonrpc.INVALID_PARAMS


def test_a_cursor_of_a_list_that_changed_is_refused_with_what_to_do() -> None:
    pages, others = Pages("tools"), Pages("prompts")
    pages.knows(ME, 1)
    pages.put(ME, definitions(PAGE_ITEMS + 1))
    cursor = jsonrpc.raw(result(pages.answer(ME, None))["nextCursor"])
    others.knows(ME, 1)
    others.put(ME, definitions(PAGE_ITEMS + 1))
    assert jsonrpc.error_of(others.answer(ME, cursor)) is not None
    assert not pages.knows(ME, 2)
    pages.put(ME, definitions(PAGE_ITEMS + 2))
    error = jsonrpc.error_of(pages.answer(ME, cursor))
    assert error is not None
    assert error.code == jsonrpc.INVALID_PARAMS
    assert "without one" in error.message


def test_lists_are_kept_for_so_many_callers_only() -> None:
    pages = Pages("tools")
    for number in range(200):
        caller = Caller(f"caller {number}")
        assert not pages.knows(caller, 1)
        pages.put(caller, definitions(1))
        assert walk(pages, caller) == [1]
    assert not pages.knows(Caller("caller 0"), 1)
