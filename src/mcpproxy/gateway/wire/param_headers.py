"""Arguments of a tool that are repeated in HTTP headers (2026-07-28, transports, "Custom Headers").

Law: an annotation that cannot be obeyed to the letter makes its tool unusable, never the call
wrong.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from mcpproxy.gateway.wire.eras import header_value

_KEYWORD: Final = "x-mcp-header"
_PREFIX: Final = "Mcp-Param-"
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TYPES: Final = ("string", "integer", "boolean")

# Where schemas stand inside a schema (JSON Schema 2020-12), by the shape of the keyword's value.
_ONE: Final = (
    "items", "contains", "unevaluatedItems", "additionalProperties", "propertyNames",
    "unevaluatedProperties", "not", "if", "then", "else", "contentSchema",
)  # fmt: skip
_LIST: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAP: Final = ("patternProperties", "dependentSchemas", "$defs", "definitions")

Path = tuple[str, ...]
ParamHeaders = Mapping[Path, str]
"""The header of each annotated argument, by the names that lead to it."""


class InvalidAnnotation(ValueError):
    """An `x-mcp-header` that no client can obey."""


def param_headers(definition: bytes) -> ParamHeaders:
    """The annotated arguments of a tool by its definition. Raises InvalidAnnotation."""
    if _KEYWORD.encode() not in definition:
        return {}
    schema = msgspec.json.decode(definition).get("inputSchema")
    found: dict[Path, str] = {}
    for path, node in _schemas(schema):
        if _KEYWORD in node:
            found[_placed(path)] = _named(node, path or ())
    names = [name.lower() for name in found.values()]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InvalidAnnotation(f"{_KEYWORD} {min(twice)!r} is used for two arguments")
    return {path: _PREFIX + name for path, name in found.items()}


def headers_of(annotated: ParamHeaders, arguments: bytes) -> dict[str, str]:
    """The headers for a call with these arguments; what is absent or null has none."""
    given = msgspec.json.decode(arguments) if arguments else None
    found = {header: _text(_value(given, path)) for path, header in annotated.items()}
    return {header: header_value(text) for header, text in found.items() if text is not None}


def _placed(path: Path | None) -> Path:
    if not path:
        raise InvalidAnnotation(f"{_KEYWORD} stands where no argument is")
    return path


def _named(node: Mapping[str, Any], path: Path) -> str:
    name, kind = node[_KEYWORD], node.get("type")
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise InvalidAnnotation(f"{_KEYWORD} of {'.'.join(path)} is not the name of a header")
    if kind not in _TYPES:
        raise InvalidAnnotation(
            f"{_KEYWORD} of {'.'.join(path)} is on neither {' nor '.join(_TYPES)}"
        )
    return name


def _schemas(root: Any) -> Iterator[tuple[Path | None, Mapping[str, Any]]]:
    """Every schema in a schema, with the names of properties that lead to it; None where
    something else than `properties` is on the way.
    """
    waiting: list[tuple[Path | None, Any]] = [((), root)]
    while waiting:
        path, node = waiting.pop()
        if not isinstance(node, dict):
            continue
        yield path, node
        for keyword, value in node.items():
            if keyword == "properties" and isinstance(value, dict):
                waiting += [
                    (None if path is None else (*path, name), inner)
                    for name, inner in value.items()
                ]
            elif keyword in _ONE:
                waiting.append((None, value))
            elif keyword in _LIST and isinstance(value, list):
                waiting += [(None, inner) for inner in value]
            elif keyword in _MAP and isinstance(value, dict):
                waiting += [(None, inner) for inner in value.values()]


def _value(node: Any, path: Path) -> Any:
    for name in path:
        if not isinstance(node, dict):
            return None
        node = node.get(name)
    return node


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    return None
