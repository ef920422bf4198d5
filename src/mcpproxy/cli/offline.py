"""What can be said when no daemon runs: the configuration and the vault, read only.

Law: says that it does so, on standard error; writes nothing; a vault that cannot be read is a
remark, not a failure, and never a reason to tell anybody to log in.
"""

import asyncio
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from mcpproxy.cli.context import Globals, note
from mcpproxy.clock import SystemClock
from mcpproxy.config.load import load
from mcpproxy.config.settings import Settings
from mcpproxy.core.connection import Connection, ConnectionState, Trouble
from mcpproxy.core.errors import StoreError, UnknownServer
from mcpproxy.core.health import Health, Snapshot, assess
from mcpproxy.core.ledger import MAX_LEDGER
from mcpproxy.core.model import Grant, Secret, Upstream
from mcpproxy.observability.activity_file import FILE, ActivityFile
from mcpproxy.storage.connection import Access
from mcpproxy.storage.engines import Opening, open_vault
from mcpproxy.storage.keys import KEY_SOURCES
from mcpproxy.web.explain import Told, explain
from mcpproxy.web.items import login_item, server_item
from mcpproxy.web.rest.activity import FilterQuery, call_filter, call_item

_ABSENT = Connection(
    ConnectionState.DISCONNECTED, trouble=Trouble.NO_DAEMON, error="no daemon is running"
)


def servers(options: Globals) -> list[dict[str, Any]]:
    """All configured servers as REST would list them."""
    found: list[dict[str, Any]] = listing(options)["servers"]
    return found


def listing(options: Globals) -> dict[str, Any]:
    """Servers and kept logins, as REST would list them."""
    settings, grants, _ = _read(options)
    now = datetime.now(UTC)
    kept = [
        {"server": name, "oauth": msgspec.to_builtins(login_item(grant, now, settings.refresh))}
        for name, grant in grants.items()
        if name not in settings.upstreams
    ]
    items = [_item(each, grants.get(name), now) for name, each in settings.upstreams.items()]
    return {"servers": items, "kept_logins": kept}


def server(options: Globals, name: str) -> dict[str, Any]:
    """Raises UnknownServer."""
    settings, grants, _ = _read(options)
    return _item(_find(settings, name), grants.get(name), datetime.now(UTC))


def explanation(options: Globals, name: str) -> dict[str, Any]:
    """Raises UnknownServer."""
    settings, grants, told = _read(options, ledger_of=name)
    upstream, grant, now = _find(settings, name), grants.get(name), datetime.now(UTC)
    health = _health(upstream, grant, now)
    words = explain(upstream, health, _ABSENT, grant, now, settings.refresh, told=told)
    found: dict[str, Any] = msgspec.to_builtins(words)
    return found


def calls(options: Globals, chosen: Mapping[str, str | None], limit: int) -> list[dict[str, Any]]:
    """The last calls that were logged, as REST would list them."""
    location = options.reach().location
    note("(no daemon runs; this is read from the log of calls)")
    wanted = call_filter(FilterQuery(**chosen))  # type: ignore[arg-type]
    found = ActivityFile(location.data_dir / FILE).look(wanted, limit)
    shown: list[dict[str, Any]] = msgspec.to_builtins([call_item(each) for each in found])
    return shown


def _find(settings: Settings, name: str) -> Upstream:
    upstream = settings.upstreams.get(name)
    if upstream is None:
        raise UnknownServer(
            f"There is no server named {name!r}.",
            next_step="`mcpproxy upstream list` shows the names.",
        )
    return upstream


def _item(upstream: Upstream, grant: Grant | None, now: datetime) -> dict[str, Any]:
    health = _health(upstream, grant, now)
    item: dict[str, Any] = msgspec.to_builtins(server_item(upstream, health, _ABSENT, grant, now))
    return item


def _health(upstream: Upstream, grant: Grant | None, now: datetime) -> Health:
    snapshot = Snapshot(
        enabled=upstream.enabled,
        quarantined=upstream.quarantined,
        connection=_ABSENT,
        grant=grant,
    )
    return assess(snapshot, now, zone=now.astimezone().tzinfo)


def _read(
    options: Globals, *, ledger_of: str | None = None
) -> tuple[Settings, Mapping[str, Grant], Told]:
    """The configuration, the logins, and the ledger of one of them. Raises ConfigError for a
    configuration that cannot be loaded.
    """
    location = options.reach().location
    if not location.config_path.exists():
        note(f"(no daemon runs, and {location.config_path} does not exist yet)")
        return Settings(location.config_path, location.data_dir, api_key=Secret("")), {}, Told()
    # A file without a key is made whole by `serve`; for looking, any key will do.
    settings = load(location._replace(api_key=location.api_key or "none"), os.environ)
    note("(no daemon runs; this is read from the configuration and the store)")
    try:
        grants, told = asyncio.run(_stored(settings, ledger_of))
    except StoreError as error:
        note(f"(the store cannot be read: {error.message})")
        return settings, {}, Told(trouble=error.message)
    return settings, grants, told


async def _stored(settings: Settings, ledger_of: str | None) -> tuple[Mapping[str, Grant], Told]:
    """Needs no lock of the daemon's; what is sealed needs the key, the ledger does not."""
    url = settings.database_url
    vault = await open_vault(
        Opening(
            data_dir=settings.data_dir,
            keys=KEY_SOURCES[settings.key_source.value](settings.data_dir, os.environ),
            clock=SystemClock(),
            database_url=url.reveal() if url else None,
            access=Access.READ_ONLY,
        )
    )
    try:
        told = Told()
        if ledger_of is not None:
            told = Told(await vault.store.load_ledger(ledger_of, MAX_LEDGER))
        if vault.locked is not None:
            note(f"(the store cannot be read: {vault.locked.message})")
            return {}, told
        return {grant.server: grant for grant in await vault.store.load_grants()}, told
    finally:
        await vault.store.close()
