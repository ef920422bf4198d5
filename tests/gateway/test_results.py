"""Results that are too long for a model: cut at a pause, kept for their caller, read to the end."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.cutting import fitted, note, piece
from mcpproxy.gateway.kept import KeptResults
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.modes.results import Results
from mcpproxy.gateway.wire import jsonrpc
from tests.web.stubs import ManualClock

ANNA, BERT = Caller("anna"), Caller("bert")
LIMIT = 100


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def cut(result: dict[str, Any], limit: int = LIMIT) -> tuple[dict[str, Any], list[str]]:
    """The result as it is shown, and what was kept."""
    kept: list[str] = []

    def keep(whole: str) -> str:
        kept.append(whole)
        return "the-key"

    return json.loads(bytes(fitted(jsonrpc.raw(result), limit, keep))), kept


def shown(result: dict[str, Any]) -> list[str]:
    return [block["text"] for block in result["content"] if block["type"] == "text"]


# --- cutting ----------------------------------------------------------------------------------


def test_what_is_short_passes_byte_for_byte() -> None:
    odd = jsonrpc.raw({"content": [text("short")], "x-vendor": [1, None]})
    assert fitted(odd, LIMIT, lambda _: "key") is odd


def test_a_long_text_is_cut_at_a_pause_and_says_how_to_read_on() -> None:
    lines = "\n".join(f"line {n}" for n in range(100))
    result, kept = cut({"content": [text(lines)], "_meta": {"a": 1}})
    assert kept == [lines]
    first, said = shown(result)
    assert lines.startswith(first)
    assert first.endswith("\n")
    assert LIMIT * 3 / 4 <= len(first) <= LIMIT
    assert f'read_cache with {{"key": "the-key", "offset": {len(first)}}}' in said
    assert result["_meta"] == {"a": 1}


def test_blocks_that_fit_stay_and_pictures_always_do() -> None:
    picture = {"type": "image", "data": "A" * 500, "mimeType": "image/png"}
    link = {"type": "resource_link", "uri": "file:///a", "name": "a"}
    blocks = [text("first"), picture, text("word " * 100), link, text("last")]
    result, kept = cut({"content": blocks, "isError": True})
    assert result["content"][:2] == blocks[:2]
    assert link in result["content"]
    assert "last" not in shown(result)
    assert kept[0].startswith("first\n\nword ")
    assert kept[0].endswith("\n\nlast")
    assert result["isError"] is True


def test_pictures_alone_are_not_cut() -> None:
    pictures = {"content": [{"type": "image", "data": "A" * 500, "mimeType": "image/png"}]}
    assert cut(pictures) == (pictures, [])


def test_the_text_of_a_resource_counts_as_text() -> None:
    resource = {"uri": "file:///a", "text": "word " * 100}
    result, kept = cut({"content": [{"type": "resource", "resource": resource}]})
    assert kept == ["word " * 100]
    assert shown(result)[0] == ("word " * 20)
    assert all(block["type"] == "text" for block in result["content"])


def test_structured_content_is_kept_whole_with_the_text() -> None:
    rows = {"rows": list(range(200))}
    result, kept = cut({"content": [text("Two hundred rows")], "structuredContent": rows})
    assert "structuredContent" not in result
    assert json.loads(kept[0].partition("\n\n")[2]) == rows
    assert shown(result)[0] == "Two hundred rows"
    assert "".join(shown(result)[1]).startswith('{"rows":[0,1,')


@pytest.mark.parametrize(
    ("texts", "structured"),
    [
        ([json.dumps({"rows": list(range(200))}, indent=1)], {"rows": list(range(200))}),
        (["word " * 100], {"result": "word " * 100}),
        (['{"a": 1}'] * 30, {"result": [{"a": 1}] * 30}),
        (['{"a": 1}'] * 30, [{"a": 1}] * 30),
        (["1" * 150], {"result": int("1" * 150)}),
    ],
)
def test_structured_content_that_repeats_the_text_is_kept_once(
    texts: list[str], structured: object
) -> None:
    content = [text(each) for each in texts]
    assert cut({"content": content, "structuredContent": structured})[1] == ["\n\n".join(texts)]


def test_structured_content_without_any_text_is_read_as_json() -> None:
    result, kept = cut({"content": [], "structuredContent": {"rows": list(range(200))}})
    assert json.loads(kept[0]) == {"rows": list(range(200))}
    assert shown(result)[0] == kept[0][: len(shown(result)[0])]


@pytest.mark.parametrize(
    "result",
    [
        {"resultType": "input_required", "inputRequests": {"a": "x" * 500}},
        {"content": "x" * 500},
        {"content": [1, "x" * 500]},
        {"content": [{"type": "text", "text": 5, "more": "x" * 500}]},
    ],
)
def test_what_is_no_ordinary_result_passes_untouched(result: dict[str, Any]) -> None:
    assert cut(result) == (result, [])


def test_what_cannot_be_kept_is_not_cut() -> None:
    long = jsonrpc.raw({"content": [text("x" * 500)]})
    assert fitted(long, LIMIT, lambda _: None) is long


@given(st.text(), st.integers(1, 40), st.lists(st.text(max_size=60), max_size=4))
def test_the_pieces_make_up_the_whole(words: str, limit: int, more: list[str]) -> None:
    content = [text(each) for each in (words, *more)]
    result, kept = cut({"content": content}, limit)
    if not kept:
        assert result == {"content": content}
        return
    whole = kept[0]
    assert whole == "\n\n".join((words, *more))
    read, at = "", 0
    while at < len(whole):
        part = piece(whole, at, limit)
        assert at == part.start < part.end <= at + limit
        read, at = read + part.text, part.end
    assert read == whole
    assert "this is the end" in note(part, "key")
    # What is shown is where the first piece ends, so that reading on neither skips nor repeats.
    first = piece(whole, 0, limit)
    assert f'"offset": {first.end}' in shown(result)[-1]
    assert sum(map(len, shown(result)[:-1])) >= first.end - 2 * len(content)


# --- keeping ----------------------------------------------------------------------------------


def kept_with(**limits: Any) -> tuple[KeptResults, ManualClock]:
    clock = ManualClock()
    return KeptResults(clock, GatewayLimits(**limits)), clock


def test_a_key_opens_for_its_caller_only() -> None:
    kept, _ = kept_with()
    key = kept.keep(ANNA, "secret")
    assert key is not None
    assert len(key) >= 16
    assert kept.read(ANNA, key) == "secret"
    for other in (BERT, Caller("anna", denied=frozenset({"s"}))):
        assert kept.read(other, key) is None
    assert key != kept.keep(ANNA, "secret")


def test_what_nobody_reads_is_forgotten_and_reading_keeps_it() -> None:
    kept, clock = kept_with(kept_for=timedelta(minutes=30))
    read, left = kept.keep(ANNA, "read"), kept.keep(ANNA, "left")
    clock.advance(timedelta(minutes=20))
    assert kept.read(ANNA, read or "") == "read"
    clock.advance(timedelta(minutes=20))
    assert kept.read(ANNA, left or "") is None
    assert kept.read(ANNA, read or "") == "read"
    clock.advance(timedelta(minutes=31))
    assert kept.read(ANNA, read or "") is None
    assert (len(kept), kept.size) == (0, 0)


def test_one_caller_does_not_push_out_anothers() -> None:
    kept, _ = kept_with(kept_results_of_caller=3, kept_results=5)
    berts = kept.keep(BERT, "b")
    annas = [kept.keep(ANNA, str(n)) for n in range(10)]
    assert kept.read(BERT, berts or "") == "b"
    assert [key for key in annas if key and kept.read(ANNA, key)] == annas[-3:]
    others = [kept.keep(Caller(f"c{n}"), "c") for n in range(5)]
    assert len(kept) == 5
    assert kept.read(Caller("c4"), others[-1] or "") == "c"


def test_bytes_are_bounded_for_each_caller_and_for_all() -> None:
    kept, _ = kept_with(kept_bytes_of_caller=10_000, kept_bytes=15_000)
    assert kept.keep(ANNA, "x" * 20_000) is None
    for n in range(10):
        assert kept.keep(ANNA, f"{n}" * 4_000)
        assert kept.size <= 10_000
    assert kept.keep(BERT, "x" * 9_000)
    assert kept.size <= 15_000


# --- reading ----------------------------------------------------------------------------------


def results(limit: int = LIMIT) -> Results:
    kept, _ = kept_with()
    return Results(kept, GatewayLimits(response_limit=limit))


def body(response: Any) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(bytes(response["result"]))
    return decoded


def test_a_result_is_read_to_its_end_by_what_the_notes_say() -> None:
    words = " ".join(str(n) for n in range(200))
    reader = results()
    answer = body(reader.fitted(ANNA, jsonrpc.result(jsonrpc.encode({"content": [text(words)]}))))
    read, said = shown(answer)
    while "read_cache" in said:
        asked = json.loads(said[said.index("{") : said.index("}") + 1])
        more, said = shown(body(reader.read(ANNA, asked["key"], asked["offset"], None)))
        assert len(more) <= LIMIT
        read += more
    assert read == words
    assert "this is the end" in said


def test_a_wrong_key_or_offset_is_told_what_to_do() -> None:
    reader = results()
    long = jsonrpc.result(jsonrpc.encode({"content": [text("x" * 500)]}))
    said = shown(body(reader.fitted(ANNA, long)))[-1]
    key = json.loads(said[said.index("{") : said.index("}") + 1])["key"]
    for caller, wrong, offset in ((ANNA, "guess", 0), (BERT, key, 0), (ANNA, key, 500)):
        refused = body(reader.read(caller, wrong, offset, None))
        assert refused["isError"] is True
    assert "Call the tool again" in shown(body(reader.read(BERT, key, 0, None)))[0]
    assert len(shown(body(reader.read(ANNA, key, 10, 5)))[0]) == 5


def test_without_a_limit_nothing_is_cut() -> None:
    long = jsonrpc.result(jsonrpc.encode({"content": [text("x" * 500)]}))
    before = bytes(long["result"])
    assert bytes(results(0).fitted(ANNA, long)["result"]) == before
