"""Text that could be written down but never used: no program takes it as an argument, no server
as a header, no answer can carry it.

Law: refused where it is read, by its path and never with its value. Pure.
"""

import re
from collections.abc import Iterator
from typing import Final

from mcpproxy.config.jsonc import Json
from mcpproxy.config.problems import join

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_CONTROL: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""RFC 9110, section 5.1."""


def unusable(value: Json, path: str = "") -> Iterator[str]:
    """One line for each text below `path`, names included, that nothing can use."""
    match value:
        case str():
            yield from _wrong(value, path)
        case list():
            for at, item in enumerate(value):
                yield from unusable(item, f"{path}[{at}]")
        case dict():
            for key, item in value.items():
                yield from _wrong(key, join(path, key))
                yield from unusable(item, join(path, key))
        case _:
            return


def unusable_in_server(server: Json, path: str) -> Iterator[str]:
    """The same for a server's entry, and what headers and environments take besides."""
    yield from unusable(server, path)
    if not isinstance(server, dict):
        return
    env, headers = server.get("env"), server.get("headers")
    for name in env if isinstance(env, dict) else ():
        if not name or "=" in name:
            found = 'found "="' if name else "found a name without a letter"
            yield f'{join(f"{path}.env", name)}: {found}; allowed: a name without "="'
    for name, value in headers.items() if isinstance(headers, dict) else ():
        where = join(f"{path}.headers", name)
        if not _HEADER_NAME.fullmatch(name):
            yield f"{where}: found a name that no header has; allowed: a name such as X-Api-Key"
        elif isinstance(value, str) and _CONTROL.search(value) and "\0" not in value:
            yield f"{where}: found a control character; allowed: text on one line"


def _wrong(text: str, path: str) -> Iterator[str]:
    if _SURROGATE.search(text):
        yield f"{path}: found a lone surrogate; allowed: text that can be written as UTF-8"
    if "\0" in text:
        yield f"{path}: found a NUL character; allowed: text without it"
