"""What is wrong with a file, in words: the path of each bad key, what was found, what is allowed.

Law: never a secret's value.
"""

import re
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mcpproxy.config.schema import KNOWN_WITHOUT_EFFECT
from mcpproxy.core.text import escape_unsafe

_SECRET_KEYS: Final = frozenset(
    {
        "api_key",
        "client_secret",
        "private_key",
        "private_key_file",
        "database_url",
        "env",
        "headers",
        "proxy",
        "args",
        "url",
    }
)
_LONGEST_WORD: Final = 32
"""Where one of a few words is wanted, what is longer is none that was misspelt: it may be
anything, a key that slipped by a line too."""

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")

_WANTED: Final[Mapping[str, str]] = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": 'a "string"',
    "list_type": "an array [...]",
    "dict_type": "an object {...}",
    "model_type": "an object {...}",
    "missing": "a value: this key is needed",
}


def problems(error: ValidationError, labels: Mapping[int, str]) -> tuple[str, ...]:
    """One line for each bad value. `labels` are the servers' paths by their position."""
    return tuple(_line(details, labels) for details in error.errors(include_url=False))


def warnings(model: BaseModel, path: str = "") -> list[str]:
    """Keys that are kept and have no effect, below `path`."""
    found: list[str] = []
    idle: list[str] = []
    known = KNOWN_WITHOUT_EFFECT.get(type(model))  # type: ignore[arg-type]
    for key in model.model_extra or {}:
        if known and known.fullmatch(key):
            idle.append(key)
        else:
            found.append(f"{join(path, key)}: unknown key; it is kept and has no effect")
    if idle:
        found.append(f"{path or 'the file'}: no effect in this program: {', '.join(sorted(idle))}")
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            found.extend(warnings(value, join(path, name)))
    return found


def _line(details: ErrorDetails, labels: Mapping[int, str]) -> str:
    location = details["loc"]
    return f"{_path(location, labels)}: {_found(details)}; allowed: {_allowed(details)}"


def _path(location: tuple[int | str, ...], labels: Mapping[int, str]) -> str:
    path = ""
    parts = list(location)
    if len(parts) > 1 and parts[0] == "mcpServers" and isinstance(parts[1], int):
        path = labels.get(parts[1], f"mcpServers[{parts[1]}]")
        parts = parts[2:]
    for part in parts:
        path = f"{path}[{part}]" if isinstance(part, int) else join(path, part)
    return path


def _found(details: ErrorDetails) -> str:
    value = details["input"]
    if details["type"] == "missing":
        return "nothing there"
    if isinstance(value, dict):
        return "found an object"
    if isinstance(value, list):
        return "found an array"
    if value is None:
        return "found null"
    misplaced = details["type"] == "literal_error" and len(str(value)) > _LONGEST_WORD
    if misplaced or _SECRET_KEYS.intersection(map(str, details["loc"])):
        return f"found a {'string' if isinstance(value, str) else 'number'} (not shown)"
    text = str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')
    return f"found {text if len(text) <= 80 else text[:77] + '...'}"


def _allowed(details: ErrorDetails) -> str:
    context = details.get("ctx", {})
    match details["type"]:
        case "literal_error":
            return str(context["expected"]).replace("'", '"')
        case "value_error":
            return str(context["error"])
        case "greater_than_equal":
            return f"{context['ge']} or more"
        case "greater_than":
            return f"more than {context['gt']}"
        case "less_than":
            return f"less than {context['lt']}"
        case kind:
            return _WANTED.get(kind, details["msg"])


def join(path: str, key: str) -> str:
    """The path of `key` below `path`, fit to be shown."""
    written = key if _PLAIN_NAME.fullmatch(key) else f'"{escape_unsafe(key)}"'
    return f"{path}.{written}" if path else written
