"""Edits of the file by programs: servers added, removed, switched and approved; a first file.

Law: a person's file stays a person's file; an edit whose result would not load is refused and the
file untouched; the new file is there as a whole or not at all.
"""

import contextlib
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from mcpproxy.config import splice
from mcpproxy.config.atomic import write_private
from mcpproxy.config.exclusive import exclusive
from mcpproxy.config.jsonc import Json, Node, parse
from mcpproxy.config.load import read_settings
from mcpproxy.config.locate import Location, read_text
from mcpproxy.config.references import References
from mcpproxy.core.control import matches
from mcpproxy.core.errors import ConfigError, NotPermitted, UnknownServer

_PLACE: Final = re.compile(r"mcpServers(?:\[\d+\]|\.[^.:]*)[.:] ?")
"""Where in the file a problem is; of a server that is not in it yet, nowhere."""

FIRST_FILE: Final = """{
  "listen": "127.0.0.1:8080",
  "api_key": "%s",
  "mcpServers": []
}
"""


class ConfigFile:
    """The configuration file, as programs change it. Synchronous; not for the event loop."""

    def __init__(self, location: Location, environ: Mapping[str, str]) -> None:
        self._location = location
        # An edit is checked without asking the keyring: what is in it does not matter for that.
        self._references = References(environ, lambda name: f"keyring item {name}")

    def prepare(self) -> None:
        """Make the file on the first run, and the API key where it has none; take a file that
        others could read from them. Raises ConfigError or NotPermitted.
        """
        path = self._location.config_path
        if not path.exists():
            _private_directory(path.parent)
            write_private(path, FIRST_FILE % secrets.token_urlsafe(32))
            return
        with contextlib.suppress(OSError):
            path.chmod(0o600)
        if self._location.api_key:
            return
        text = read_text(path)
        try:
            root = parse(text)
        except ConfigError:
            return  # `load` says what is wrong with it, with the file's name
        key = root.member("api_key")
        if root.members is not None and (key is None or key.scalar in ("", None)):
            write_private(path, splice.set_member(text, root, "api_key", secrets.token_urlsafe(32)))

    def add_server(self, name: str, definition: Mapping[str, Json]) -> None:
        """`definition` has the file's keys, without the name. Raises ConfigError, also when the
        name is taken. Where the file says so, a server that does not say otherwise waits for
        approval.
        """

        def add(text: str, root: Node) -> str:
            nonlocal definition
            servers = root.member("mcpServers")
            waits = root.member("quarantine_enabled")
            if waits is not None and waits.scalar is True and "quarantined" not in definition:
                definition = {**definition, "quarantined": True}
            if _find(servers, name) is not None:
                raise ConfigError(
                    f'there is a server "{name}" already',
                    next_step="choose another name, or remove that one first",
                )
            if servers is None or (servers.items is None and servers.members is None):
                return splice.set_member(text, root, "mcpServers", [{"name": name, **definition}])
            if servers.members is not None:
                return splice.set_member(text, servers, name, dict(definition))
            return splice.append_item(text, servers, {"name": name, **definition})

        self._change(add)

    def remove_server(self, name: str) -> None:
        """Raises UnknownServer, ConfigError."""

        def remove(text: str, root: Node) -> str:
            servers, at, _ = _require(root, name)
            if servers.members is not None:
                return splice.remove_member(text, servers, name)
            return splice.remove_item(text, servers, at)

        self._change(remove)

    def enable(self, name: str) -> None:
        self._set(name, "enabled", True)

    def disable(self, name: str) -> None:
        self._set(name, "enabled", False)

    def approve(self, name: str) -> None:
        """The person has looked at it: no longer quarantined."""
        self._set(name, "quarantined", False)

    def quarantine(self, name: str) -> None:
        self._set(name, "quarantined", True)

    def disable_tools(self, name: str, pattern: str) -> None:
        """Tools whose names match are not offered from now on."""

        def change(text: str, root: Node) -> str:
            _, _, server = _require(root, name)
            if pattern in _strings(server, "disabled_tools"):
                return text
            return _with_item(text, server, "disabled_tools", pattern)

        self._change(change)

    def enable_tools(self, name: str, pattern: str) -> str | None:
        """The opposite: no longer disabled by this pattern, and among those that are enabled where
        only some are. Says what keeps them disabled, if something does.
        """
        wider: list[str] = []

        def change(text: str, root: Node) -> str:
            _, _, server = _require(root, name)
            disabled = server.member("disabled_tools")
            named = _strings(server, "disabled_tools")
            wider.extend(each for each in named if each != pattern and matches((each,), pattern))
            if disabled is not None and pattern in named:
                text = splice.remove_item(text, disabled, named.index(pattern))
                _, _, server = _require(parse(text), name)
            enabled = server.member("enabled_tools")
            only = tuple(_strings(server, "enabled_tools"))
            if enabled is not None and enabled.items is not None and not matches(only, pattern):
                text = _with_item(text, server, "enabled_tools", pattern)
            return text

        self._change(change)
        return f"Still disabled by: {', '.join(wider)}." if wider else None

    def _set(self, name: str, key: str, value: Json) -> None:
        def change(text: str, root: Node) -> str:
            _, _, server = _require(root, name)
            if key == "enabled" and server.member("disabled") is not None:
                return splice.set_member(text, server, "disabled", not value)
            return splice.set_member(text, server, key, value)

        self._change(change)

    def _change(self, edit: Callable[[str, Node], str]) -> None:
        path = self._location.config_path
        with exclusive(path):
            before = read_text(path)
            after = edit(before, parse(before))
            try:
                read_settings(after, self._location, self._references)
            except ConfigError as error:
                read_settings(before, self._location, self._references)
                raise _of_the_edit(error) from None
            # An editor takes no lock: what a person saved meanwhile is not written over.
            if read_text(path) != before:
                raise ConfigError(
                    f"{path} was changed by somebody else meanwhile", next_step="try again"
                )
            write_private(path, after)


def _of_the_edit(error: ConfigError) -> ConfigError:
    """What is wrong with an edit of a file that is sound: it is not in the file."""
    found = tuple(_PLACE.sub("", problem, count=1) for problem in error.problems)
    said = "; ".join(found) if found else error.message
    return ConfigError(
        said, next_step="nothing was changed; try again with what is allowed", problems=found
    )


def _find(servers: Node | None, name: str) -> tuple[int, Node] | None:
    if servers is None:
        return None
    for at, member in enumerate(servers.members or ()):
        if member.key == name:
            return at, member.value
    for at, item in enumerate(servers.items or ()):
        named = item.member("name")
        if named is not None and named.scalar == name:
            return at, item
    return None


def _with_item(text: str, server: Node, key: str, item: str) -> str:
    """`text` with one more string in an array of the server."""
    array = server.member(key)
    if array is None or array.items is None:
        return splice.set_member(text, server, key, [item])
    return splice.append_item(text, array, item)


def _strings(server: Node, key: str) -> list[str]:
    """An array of the server; what is no string there, `_change` refuses later."""
    member = server.member(key)
    return [str(item.scalar) for item in (member.items if member else None) or ()]


def _require(root: Node, name: str) -> tuple[Node, int, Node]:
    servers = root.member("mcpServers")
    found = _find(servers, name)
    if servers is None or found is None:
        raise UnknownServer(
            f'there is no server "{name}"', next_step="mcpproxy upstream list shows them all"
        )
    return servers, *found


def _private_directory(path: Path) -> None:
    try:
        if not path.is_dir():
            path.mkdir(mode=0o700, parents=True)
            path.chmod(0o700)
    except OSError as error:
        raise NotPermitted(
            f"{path} cannot be made: {error.strerror}",
            next_step="name a file elsewhere with --config",
        ) from error
