"""Framing and envelopes, without any I/O."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.wire import eras, jsonrpc, mend, sse
from mcpproxy.gateway.wire.handshake import BadRequest, handshake
from mcpproxy.gateway.wire.jsonrpc import Kind
from mcpproxy.gateway.wire.lines import LineSplitter
from mcpproxy.gateway.wire.sse import Event, EventParser

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces, cut at these places."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(ends)]


# --- events -----------------------------------------------------------------------------------


@given(st.lists(JSON, max_size=5), st.lists(st.integers(0, 10_000), max_size=20))
def test_events_come_out_as_they_were_written_however_they_are_cut(
    values: list[object], places: list[int]
) -> None:
    written = b"".join(sse.event(json.dumps(value, indent=1).encode()) for value in values)
    parser = EventParser(1 << 20)
    events = [event for piece in cut(written, places) for event in parser.feed(piece)]
    assert [json.loads(event.data) for event in events] == values


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_kind_of_line_end_is_understood_one_byte_at_a_time(end: bytes) -> None:
    stream = end.join(
        [
            b"\xef\xbb\xbfid: 7",
            b"event: hint",
            b"data: a",
            b"data:b",
            b": note",
            b"retry: 50",
            b"",
            b"",
        ]
    )
    parser = EventParser(100)
    events = [event for byte in stream for event in parser.feed(bytes([byte]))]
    assert events == [Event(b"a\nb", "hint", "7")]
    assert (parser.last_id, parser.retry_ms) == ("7", 50)


@given(st.lists(st.sampled_from([b"data: x", b"\r", b"\n", b"\r\n"])), st.lists(st.integers(0, 99)))
def test_mixed_line_ends_mean_the_same_however_they_are_cut(
    written: list[bytes], places: list[int]
) -> None:
    stream = b"".join(written)
    parser = EventParser(1000)
    pieces = [event for piece in cut(stream, places) for event in parser.feed(piece)]
    assert pieces == EventParser(1000).feed(stream)


def test_an_event_without_data_is_none_and_the_last_id_stays() -> None:
    parser = EventParser(100)
    assert parser.feed(b"id: 1\n\nevent: x\n\ndata: y\n\n") == [Event(b"y", "message", "1")]


def feed_all(parser: EventParser, pieces: list[bytes]) -> None:
    for piece in pieces:
        parser.feed(piece)


@pytest.mark.parametrize("flood", [b"data: " + b"x" * 200, b"data: x\n" * 200, b"x" * 200])
def test_an_event_over_the_limit_is_refused_whole_or_in_pieces(flood: bytes) -> None:
    for size in (len(flood), 7):
        pieces = [flood[start : start + size] for start in range(0, len(flood), size)]
        with pytest.raises(ProtocolError, match="larger than 100 bytes"):
            feed_all(EventParser(100), pieces)


# --- lines ------------------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=1, max_size=9)), st.lists(st.integers(0, 500)))
def test_lines_come_out_whole_however_they_are_cut(lines: list[bytes], places: list[int]) -> None:
    clean = [line.replace(b"\n", b"").strip() for line in lines]
    splitter = LineSplitter(100)
    found = [
        line for piece in cut(b"\r\n".join([*clean, b""]), places) for line in splitter.feed(piece)
    ]
    assert found == [line for line in clean if line]


def test_a_line_over_the_limit_is_dropped_alone() -> None:
    splitter = LineSplitter(10)
    assert splitter.feed(b"first\n" + b"x" * 50) == [b"first"]
    assert splitter.feed(b"x" * 50 + b"\nlast\n") == [b"last"]
    assert splitter.dropped == 1


# --- envelopes --------------------------------------------------------------------------------


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_what_passes_through_an_envelope_is_unchanged(payload: dict[str, object]) -> None:
    sent = {"jsonrpc": "2.0", "id": 1, "result": payload, "x-unknown": payload}
    (message,) = jsonrpc.parse(json.dumps(sent, indent=2).encode())
    back = json.loads(jsonrpc.answered(message, jsonrpc.raw("theirs")))
    assert back == {**sent, "id": "theirs"}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b'{"id":1,"method":"ping"}', Kind.REQUEST),
        (b'{"method":"x"}', Kind.NOTIFICATION),
        (b'{"id":1,"result":{}}', Kind.RESPONSE),
        (b'{"id":null,"error":{"code":1,"message":""}}', Kind.RESPONSE),
        (b'{"id":1}', Kind.INVALID),
        (b'{"id":null,"method":"ping"}', Kind.INVALID),
        (b'{"id":-1,"method":"ping"}', Kind.REQUEST),
        (b'{"method":null}', Kind.INVALID),
        (b"{}", Kind.INVALID),
    ],
)
def test_a_message_is_what_its_members_make_it(text: bytes, kind: Kind) -> None:
    assert jsonrpc.kind(jsonrpc.parse(text)[0]) is kind


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (r"cut \ud83d", "cut \ufffd"),
        (r"\ude00 \uD83D\n", "\ufffd \ufffd\n"),
        (r"\ud83d\ud83d\ude00\ude00", "\ufffd\U0001f600\ufffd"),
        (r"\\ud83d \\\ud83d", "\\ud83d \\\ufffd"),
    ],
)
def test_half_a_character_costs_itself_and_not_the_message(sent: str, kept: str) -> None:
    body = f'{{"jsonrpc":"2.0","id":1,"result":{{"{sent}":["{sent}"]}}}}'.encode()
    for text in (body, b"[" + body + b"]"):
        (message,) = jsonrpc.parse(text)
        assert json.loads(bytes(message["result"])) == {kept: [kept]}


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (b'{"jsonrpc":"2.0","id":7,"result":{"x":"\\q"}}', {7}),
        (b'{"jsonrpc": "2.0", "error": {"id": 3}, "id" : "8"}', {3, 8}),
        (b'received {"jsonrpc":"2.0","id":7,"result":{}}', set()),
        (b'{"jsonrpc":"2.0","id":7,"method":"ping"', set()),
        (b'{"id":7,"result":1', set()),
    ],
)
def test_whose_answer_a_broken_one_must_be_is_read_off_its_text(text: bytes, ids: set[int]) -> None:
    assert mend.ids_in(text) == ids


@pytest.mark.parametrize("text", [b"", b"{", b"1", b'"x"', b"[[]]", b"{} {}", b'{"a":' * 99_999])
def test_what_is_no_message_raises(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        jsonrpc.parse(text)


@pytest.mark.parametrize(
    ("raw", "number"), [("7", 7), ('"7"', 7), ('"x"', None), ("1.5", None), ("9" * 99, None)]
)
def test_only_an_id_of_ours_is_a_number(raw: str, number: int | None) -> None:
    assert jsonrpc.number(jsonrpc.Raw(raw.encode())) == number


@given(st.text())
def test_a_name_survives_its_way_through_a_header(name: str) -> None:
    value = eras.header_value(name)
    assert value.isascii()
    assert eras.from_header(value) == name


# --- handshake --------------------------------------------------------------------------------


def offered(params: jsonrpc.Raw) -> str:
    return str(json.loads(bytes(params))["protocolVersion"])


def test_the_ladder_is_walked_down_to_its_foot_and_no_further() -> None:
    talk = handshake("1")
    asked = [offered(next(talk))]
    refusals = [BadRequest("too new")] * (len(eras.LEGACY_VERSIONS) - 1)
    asked += [offered(talk.send(refusal)) for refusal in refusals]
    assert asked == list(eras.LEGACY_VERSIONS)
    with pytest.raises(ProtocolError, match="initialize was refused: too new"):
        talk.send(BadRequest("too new"))


def test_a_refusal_that_is_about_something_else_ends_the_ladder() -> None:
    talk = handshake("1")
    next(talk)
    with pytest.raises(ProtocolError, match="not today"):
        talk.send(jsonrpc.error(-32001, "not today"))


@pytest.mark.parametrize("version", ["2030-01-01", None, 5])
def test_an_answer_with_a_version_that_is_not_ours_is_refused(version: object) -> None:
    talk = handshake("1")
    next(talk)
    with pytest.raises(ProtocolError, match="answered initialize with version"):
        talk.send(jsonrpc.result(jsonrpc.encode({"protocolVersion": version})))
