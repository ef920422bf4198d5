"""A tool in a few words: enough to choose it, and mostly enough to call it.

Law: what is left out is said by `describe_tool`; nothing that is said here is our own wording.
"""

import re
from typing import Any, Final

import msgspec

from mcpproxy.gateway.catalog import Entry
from mcpproxy.gateway.modes.builtin import CALL_WITH
from mcpproxy.gateway.text import short

# One line of a description; names of parameters that may be left out; words of a choice.
_LINE: Final = 160
_OPTIONAL: Final = 8
_CHOICES: Final = 6
_NAME: Final = 64
# A sentence ends there if it is long enough to be one (`e.g.` is none).
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9`\"'(\[])|\n\s*\n")
_SHORTEST: Final = 16

_CHARACTERS_A_TOKEN: Final = 4


class _Schema(msgspec.Struct):
    properties: Any = None
    required: Any = None


class _Definition(msgspec.Struct):
    inputSchema: _Schema = msgspec.field(default_factory=_Schema)


_decode: Final = msgspec.json.Decoder(_Definition).decode


class Compact(msgspec.Struct, omit_defaults=True):
    """`args` are the parameters: the required ones with their types, the others with a `?`."""

    name: str
    description: str
    call_with: str
    args: str = ""


def compact(entry: Entry) -> Compact:
    return Compact(
        entry.id,
        short(_first_sentence(entry.tool.description), _LINE),
        CALL_WITH[entry.tool.effect],
        _arguments(entry.tool.definition),
    )


def tokens(length: int) -> int:
    """About how many tokens so many bytes are for a model: a token is four characters of English
    or JSON, by rule of thumb. Tokenizers differ among themselves more than this does from them.
    """
    return -(-length // _CHARACTERS_A_TOKEN)


def _first_sentence(description: str) -> str:
    for match in _SENTENCE.finditer(description[: 4 * _LINE]):
        if match.start() >= _SHORTEST:
            return description[: match.start()]
    return description


def _arguments(definition: bytes) -> str:
    try:
        schema = _decode(definition).inputSchema
    except (msgspec.DecodeError, RecursionError):
        return ""
    properties = schema.properties if isinstance(schema.properties, dict) else {}
    required = schema.required if isinstance(schema.required, list) else []
    wanted = [name for name in required if isinstance(name, str)]
    shown = [f"{short(name, _NAME)}: {_type(properties.get(name))}" for name in wanted]
    optional = [name for name in properties if name not in wanted]
    shown += [f"{short(name, _NAME)}?" for name in optional[:_OPTIONAL]]
    if len(optional) > _OPTIONAL:
        shown.append("...")
    return ", ".join(shown)


def _type(schema: Any) -> str:
    """The type of one parameter, as short as it can be said."""
    if not isinstance(schema, dict):
        return "any"
    choices = schema.get("enum")
    if isinstance(choices, list) and 0 < len(choices) <= _CHOICES:
        return "|".join(short(str(choice), _NAME) for choice in choices)
    for several in ("anyOf", "oneOf"):
        if isinstance(schema.get(several), list):
            kinds = dict.fromkeys(_type(each) for each in schema[several][:_CHOICES])
            return "|".join(kind for kind in kinds if kind != "null") or "any"
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), None)
    if kind == "array":
        return f"{_type(schema.get('items'))}[]"
    return short(kind, _NAME) if isinstance(kind, str) else "any"
