"""A result that is too long for a model's context, cut to what fits.

Law: what is cut can be read to its end. The text is cut where it pauses; structured content is
never cut in two but kept whole with the text; images, sounds and links stay as they are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import Raw

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

# Where a text pauses, the best pauses first; looked for in the last quarter of a piece.
_PAUSES: Final = ("\n\n", "\n", "},", "],", ". ", ", ", " ", ",")
_LOOK_BACK: Final = 4
_BETWEEN: Final = "\n\n"
# More is not compared: a copy that is kept twice costs less than reading it all.
_COMPARED: Final = 256 * 1024


class _Resource(msgspec.Struct):
    text: str | None = None


class _Block(msgspec.Struct):
    type: str = ""
    text: str | None = None
    resource: _Resource | None = None


_decode_blocks: Final = msgspec.json.Decoder(list[Raw]).decode
_decode_block: Final = msgspec.json.Decoder(_Block).decode


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a kept text: characters from `start` up to `end` of `total`."""

    text: str
    start: int
    end: int
    total: int


def piece(text: str, start: int, limit: int) -> Piece:
    """At most `limit` characters from `start` on, up to a pause."""
    begin = min(max(start, 0), len(text))
    end = _pause(text, begin, begin + max(limit, 1))
    return Piece(text[begin:end], begin, end, len(text))


def _pause(text: str, start: int, end: int) -> int:
    if end >= len(text):
        return len(text)
    earliest = max(start + 1, end - (end - start) // _LOOK_BACK)
    for pause in _PAUSES:
        at = text.rfind(pause, earliest - 1, end)
        if at >= 0:
            return at + len(pause)
    return end


def note(shown: Piece, key: str) -> str:
    """Tells the reader where it is, and how to go on."""
    if shown.end >= shown.total:
        return f"[Characters {shown.start}-{shown.end} of {shown.total}: this is the end.]"
    return (
        f"[Characters {shown.start}-{shown.end} of {shown.total}. For the rest call read_cache "
        f'with {{"key": "{key}", "offset": {shown.end}}}.]'
    )


def fitted(result: Raw, limit: int, keep: Callable[[str], str | None]) -> Raw:
    """The result as it is when its text has no more than `limit` characters, else the beginning
    with a note; `keep` takes the whole and answers with its key.

    A result that is no ordinary one, or cannot be kept, is passed on as it is.
    """
    if len(memoryview(result)) <= limit:
        return result
    try:
        members = jsonrpc.members(result)
        blocks = [Raw(block) for block in _decode_blocks(members["content"])]
        texts = [_text(block) for block in blocks]
    except (KeyError, ProtocolError, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return result
    parts = [text for text in texts if text is not None]
    structured = members.get("structuredContent")
    if structured is not None and not _repeats(parts, structured):
        parts.append(bytes(structured).decode(errors="replace"))
    whole = _BETWEEN.join(parts)
    if len(whole) <= limit:
        return result
    key = keep(whole)
    if key is None:
        return result
    return _cut(members, blocks, texts, whole, limit, key)


def _cut(
    members: Members,
    blocks: list[Raw],
    texts: list[str | None],
    whole: str,
    limit: int,
    key: str,
) -> Raw:
    shown = piece(whole, 0, limit)
    content: list[Raw] = []
    at = 0
    for block, text in zip(blocks, texts, strict=True):
        if text is None:
            content.append(block)
            continue
        if at + len(text) <= shown.end:
            content.append(block)
        elif at < shown.end:
            content.append(_text_block(whole[at : shown.end]))
        at += len(text) + len(_BETWEEN)
    if at < shown.end:
        content.append(_text_block(whole[at : shown.end]))
    content.append(_text_block(note(shown, key)))
    cut = {name: value for name, value in members.items() if name != "structuredContent"}
    cut["content"] = jsonrpc.raw(content)
    return jsonrpc.raw(cut)


def _text(block: Raw) -> str | None:
    """The text of a block that has one: its own, or its resource's."""
    read = _decode_block(block)
    if read.type == "text":
        return read.text
    return read.resource.text if read.type == "resource" and read.resource else None


def _text_block(text: str) -> Raw:
    return jsonrpc.raw({"type": "text", "text": text})


def _repeats(parts: list[str], structured: Raw) -> bool:
    """Whether the texts say once more what the structured content says, as servers are asked to
    make them: as JSON, as JSON for each item of a list, or as the one value under `result`.
    """
    if sum(map(len, parts)) > _COMPARED or len(memoryview(structured)) > _COMPARED:
        return False
    try:
        value: Any = msgspec.json.decode(structured)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    said = [_value(part) for part in parts]
    wrapped = isinstance(value, dict) and value.keys() == {"result"}
    return any(
        said in ([meant], meant) or parts == [meant]
        for meant in ((value, value["result"]) if wrapped else (value,))
    )


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return text
