"""Where the configuration and the data are, and how to reach the daemon: all that commands need.

Law: flags before environment before file before defaults; imports next to nothing.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from mcpproxy.config.regular import NotRegularError, read_regular
from mcpproxy.core.errors import ConfigError, NotPermitted

CONFIG_FILE: Final = "mcp_config.json"
DEFAULT_LISTEN: Final = "127.0.0.1:8080"
MAX_FILE_BYTES: Final = 4 * 1024 * 1024
"""A thousand servers need a tenth of it; more is not a configuration."""


Stamp = tuple[int, int, int] | None
"""Inode, size and time of change of a file in nanoseconds; None: no such file."""

Stamps = Mapping[Path, Stamp]
"""Of every file that the configuration is made of."""


class Flags(NamedTuple):
    """What the command line says; None where it says nothing."""

    config: str | None = None
    data_dir: str | None = None
    listen: str | None = None
    log_level: str | None = None


class Location(NamedTuple):
    """Where things are. `listen`, `api_key` and `log_level` are overrides of the file, or None."""

    config_path: Path
    data_dir: Path
    listen: str | None = None
    api_key: str | None = None
    log_level: str | None = None


class Reach(NamedTuple):
    """How a command reaches the daemon, as far as the file and the environment say.

    `problem` is why the file could not be read; what it says is missing then.
    """

    location: Location
    listen: str
    api_key: str | None
    problem: ConfigError | None = None


def locate(flags: Flags, environ: Mapping[str, str]) -> Location:
    """Find the file and the data directory. A broken file says nothing here; `load` tells."""
    return reach(flags, environ).location


def reach(flags: Flags, environ: Mapping[str, str]) -> Reach:
    """All a command needs before it talks to the daemon. Raises nothing for a broken file."""
    config_path = _config_path(flags, environ)
    written: Mapping[str, object] = {}
    problem = None
    try:
        if config_path.exists():
            written = _quick_read(config_path)
    except ConfigError as error:
        problem = error
    except NotPermitted as error:
        problem = ConfigError(error.message, next_step=error.next_step)
    location = Location(
        config_path=config_path,
        data_dir=_data_dir(flags, environ, written, config_path),
        listen=flags.listen or environ.get("MCPPROXY_LISTEN") or None,
        api_key=environ.get("MCPPROXY_API_KEY") or None,
        log_level=_log_level(flags, environ),
    )
    listen = location.listen or _text(written, "listen") or DEFAULT_LISTEN
    api_key = location.api_key or _text(written, "api_key")
    return Reach(location, listen, _from_environment(api_key, environ), problem)


def read_text(path: Path) -> str:
    """The file's text. Raises ConfigError or NotPermitted."""
    try:
        data = read_regular(path, MAX_FILE_BYTES + 1)
    except NotRegularError:
        raise ConfigError(
            f"{path} is no regular file",
            next_step="write it to a file: it is read again whenever it changes",
        ) from None
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist",
            next_step="name an existing file, or leave --config out to begin with a new one",
        ) from None
    except PermissionError:
        raise NotPermitted(
            f"{path} cannot be read", next_step="make it readable for this user"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8 text (byte {error.start})", next_step="save it as UTF-8"
        ) from None


def stamp(path: Path) -> Stamp:
    """What changes with every edit of the file. To be taken before the file is read."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # the latter: no name that a file could have
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _quick_read(path: Path) -> Mapping[str, object]:
    text = read_text(path)
    try:
        tree = json.loads(text)
    except ValueError:
        from mcpproxy.config.jsonc import parse

        tree = parse(text).value()
    return tree if isinstance(tree, dict) else {}


def _config_path(flags: Flags, environ: Mapping[str, str]) -> Path:
    named = flags.config or environ.get("MCPPROXY_CONFIG")
    if named:
        return _absolute(named, Path.cwd())
    data_dir = flags.data_dir or environ.get("MCPPROXY_DATA_DIR")
    return (_absolute(data_dir, Path.cwd()) if data_dir else _home()) / CONFIG_FILE


def _data_dir(
    flags: Flags, environ: Mapping[str, str], written: Mapping[str, object], config_path: Path
) -> Path:
    named = flags.data_dir or environ.get("MCPPROXY_DATA_DIR")
    if named:
        return _absolute(named, Path.cwd())
    in_file = _text(written, "data_dir")
    return _absolute(in_file, config_path.parent) if in_file else _home()


def _log_level(flags: Flags, environ: Mapping[str, str]) -> str | None:
    level = flags.log_level or environ.get("MCPPROXY_LOG_LEVEL") or None
    allowed = ("trace", "debug", "info", "warn", "error")
    if level is not None and level.lower() not in allowed:
        raise ConfigError(
            f'the log level "{level}" is unknown', next_step=f"use one of {', '.join(allowed)}"
        )
    return level.lower() if level else None


def _home() -> Path:
    return Path.home() / ".mcpproxy"


def _absolute(text: str, base: Path) -> Path:
    return Path(os.path.normpath(base / Path(text).expanduser()))


def _text(written: Mapping[str, object], key: str) -> str | None:
    value = written.get(key)
    return value if isinstance(value, str) and value else None


def _from_environment(value: str | None, environ: Mapping[str, str]) -> str | None:
    """An API key that is `${env:X}`; a reference to the keyring is not worth a command's start."""
    if value is None or not value.startswith("${"):
        return value
    return environ.get(value[len("${env:") : -1]) if value.startswith("${env:") else None
