"""What `doctor` looks at: each check says what it found and what to do about it.

Law: checks change nothing, finish within their deadline, and show no secret.
"""

import os
import platform
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from mcpproxy.core.causes import Level
from mcpproxy.core.health import Health
from mcpproxy.core.model import Grant
from mcpproxy.core.providers import profile_of
from mcpproxy.web.known import profile_words

SAFE_SQLITE: Final = (3, 51, 3)
"""Before this, write-ahead logging has a race that corrupts; the vault does not use it."""

_PROXY_VARIABLES: Final = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
_CA_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class CheckState(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `next_step` is empty when all is well."""

    name: str
    state: CheckState
    found: str
    next_step: str = ""


def local_checks(data_dir: Path, environment: Mapping[str, str]) -> Sequence[Check]:
    """What can be seen without a daemon."""
    return (
        _python(),
        _sqlite(),
        _data_dir(data_dir),
        *_proxies(environment),
        *_certificates(environment),
    )


def server_checks(
    healths: Mapping[str, Health], grant_of: Callable[[str], Grant | None]
) -> Sequence[Check]:
    """One check for every server that is switched on."""
    return tuple(
        Check(
            name=f"server {name}",
            state=_STATE[health.level],
            found=". ".join(_found(health, grant_of(name))),
            next_step="" if health.level is Level.HEALTHY else f"mcpproxy explain {name}",
        )
        for name, health in healths.items()
        if health.admin_state == "enabled"
    )


def _found(health: Health, grant: Grant | None) -> Iterator[str]:
    """What health says; beside a login in trouble, what is known of its provider."""
    yield f"{health.summary}: {health.detail}" if health.detail else health.summary
    profile = profile_of(grant.issuer) if grant is not None else None
    if profile is not None and health.cause.startswith(_ABOUT_THE_LOGIN):
        known = profile_words(profile)
        if known is not None:
            yield known.removesuffix(".")


_ABOUT_THE_LOGIN: Final = ("grant_", "refresh_refused", "client_", "no_refresh_token")
_STATE: Final = {
    Level.HEALTHY: CheckState.OK,
    Level.DEGRADED: CheckState.WARN,
    Level.UNHEALTHY: CheckState.FAIL,
}


def _python() -> Check:
    found = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    return Check(name="python", state=CheckState.OK, found=f"{found} ({sys.executable})")


def _sqlite() -> Check:
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info >= SAFE_SQLITE:
        return Check(name="sqlite", state=CheckState.OK, found=f"SQLite {version}")
    found = f"SQLite {version}; logins are safe, as their vault keeps a rollback journal"
    return Check(name="sqlite", state=CheckState.OK, found=found)


def _data_dir(data_dir: Path) -> Check:
    name = "data dir"
    try:
        status = data_dir.stat()
    except FileNotFoundError:
        found = f"{data_dir} does not exist yet"
        return Check(
            name=name, state=CheckState.WARN, found=found, next_step="`mcpproxy serve` makes it."
        )
    except OSError as error:
        found = f"{data_dir} cannot be read: {error.strerror}"
        return Check(
            name=name,
            state=CheckState.FAIL,
            found=found,
            next_step="Make it yours, or choose another with --data-dir.",
        )
    if not os.access(data_dir, os.W_OK | os.X_OK):
        return Check(
            name=name,
            state=CheckState.FAIL,
            found=f"{data_dir} is not writable",
            next_step="Make it yours, or choose another with --data-dir.",
        )
    if os.name == "posix" and status.st_mode & 0o077:
        found = f"{data_dir} is open to other users (mode {status.st_mode & 0o777:o})"
        return Check(
            name=name, state=CheckState.WARN, found=found, next_step=f"chmod 700 {data_dir}"
        )
    return Check(name=name, state=CheckState.OK, found=f"{data_dir} is ours alone")


def _proxies(environment: Mapping[str, str]) -> Iterator[Check]:
    for name in _PROXY_VARIABLES:
        value = environment.get(name) or environment.get(name.lower())
        if value:
            shown = _without_password(value)
            yield Check(name="proxy", state=CheckState.OK, found=f"{name} is {shown}")


def _without_password(value: str) -> str:
    """Takes no URL apart: a broken one may hold a password too."""
    login, at, host = value.rpartition("@")
    scheme, slashes, _ = login.partition("://")
    return f"{scheme if slashes else ''}{slashes}…@{host}" if at else value


def _certificates(environment: Mapping[str, str]) -> Iterator[Check]:
    for name in _CA_VARIABLES:
        value = environment.get(name)
        if value and not Path(value).exists():
            yield Check(
                name="certificates",
                state=CheckState.FAIL,
                found=f"{name} names {value}, which does not exist",
                next_step=f"Correct or unset {name}.",
            )
        elif value:
            yield Check(name="certificates", state=CheckState.OK, found=f"{name} is {value}")
