"""The configuration in force: read, followed while the file changes, edited on request.

Law: a broken edit changes nothing and is told once; what `edit` returns from is in force.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import structlog

from mcpproxy.config.changes import Changes, diff
from mcpproxy.config.edit import ConfigFile
from mcpproxy.config.jsonc import Json
from mcpproxy.config.load import load
from mcpproxy.config.locate import Location, Stamps, stamp
from mcpproxy.config.settings import Settings
from mcpproxy.config.watch import watch
from mcpproxy.core.errors import ConfigError, McpproxyError
from mcpproxy.core.model import Upstream
from mcpproxy.core.notices import ConfigReloaded
from mcpproxy.core.ports import Publisher
from mcpproxy.web.parts import NewServer

Edited = TypeVar("Edited")
Apply = Callable[[Settings, Changes], Awaitable[None]]

_log = structlog.get_logger("mcpproxy.config")


class LiveConfig:
    """Implements the ports UpstreamDirectory and ServerEditor. `apply` puts changes in force."""

    def __init__(
        self, location: Location, environ: Mapping[str, str], settings: Settings, bus: Publisher
    ) -> None:
        self._location = location
        self._environ = environ
        self._bus = bus
        self._file = ConfigFile(location, environ)
        # From the first look at the file until what it says is in force.
        self._changing = asyncio.Lock()
        self._apply: Apply | None = None
        self.settings = settings

    def upstreams(self) -> Mapping[str, Upstream]:
        return self.settings.upstreams

    def on_change(self, apply: Apply) -> None:
        """Who puts new settings in force."""
        self._apply = apply

    async def follow(self) -> None:
        """Take up edits of the file and of keys for ever; ends by cancellation."""
        async for _ in watch(self._look, self.settings.stamps):
            try:
                async with self._changing:
                    await self._reload()
            except McpproxyError as error:
                _log.error(
                    "configuration not reloaded",
                    reason=str(error),
                    problems="; ".join(error.problems if isinstance(error, ConfigError) else ()),
                    next_step=error.next_step,
                )

    # --- edits ------------------------------------------------------------------------------

    async def add(self, server: NewServer) -> None:
        await self._edit(lambda: self._file.add_server(server.name, _definition(server)))

    async def remove(self, name: str) -> None:
        await self._edit(lambda: self._file.remove_server(name))

    async def enable(self, name: str) -> None:
        await self._edit(lambda: self._file.enable(name))

    async def disable(self, name: str) -> None:
        await self._edit(lambda: self._file.disable(name))

    async def approve(self, name: str) -> None:
        await self._edit(lambda: self._file.approve(name))

    async def quarantine(self, name: str) -> None:
        await self._edit(lambda: self._file.quarantine(name))

    async def enable_tools(self, name: str, pattern: str) -> str | None:
        return await self._edit(lambda: self._file.enable_tools(name, pattern))

    async def disable_tools(self, name: str, pattern: str) -> None:
        await self._edit(lambda: self._file.disable_tools(name, pattern))

    async def _edit(self, change: Callable[[], Edited]) -> Edited:
        async with self._changing:
            done = await asyncio.to_thread(change)
            await self._reload()
            return done

    # --- inside -----------------------------------------------------------------------------

    def _look(self) -> Stamps:
        return {path: stamp(path) for path in (self._location.config_path, *self.settings.stamps)}

    async def _reload(self) -> None:
        """Put in force what the file says. In a thread: loading may ask a keyring."""
        new = await asyncio.to_thread(load, self._location, self._environ)
        changes = diff(self.settings, new)
        if changes == Changes():
            self.settings = replace(self.settings, stamps=new.stamps)
            return
        # Values that are read at the start only stay what they were until a restart.
        kept = {name: getattr(self.settings, name) for name in changes.restart}
        self.settings = replace(new, **kept)
        if changes.restart:
            _log.warning("configuration needs a restart", settings=changes.restart)
        for warning in new.warnings:
            _log.warning("configuration", warning=warning)
        if self._apply is not None:
            await self._apply(self.settings, changes)
        names = (*changes.added, *changes.removed, *changes.changed, *changes.settings)
        self._bus.publish(ConfigReloaded(tuple(sorted(names))))


def _definition(server: NewServer) -> Mapping[str, Json]:
    """The server as it stands in the file: only what differs from the defaults."""
    oauth: dict[str, Json] = {
        "client_id": server.client_id,
        "client_secret": server.client_secret,
        "scopes": list(server.scopes) or None,
        "redirect_uri": server.redirect_uri,
    }
    definition: dict[str, Json] = {
        "url": server.url,
        "command": server.command,
        "args": list(server.args) or None,
        "env": dict(server.env) or None,
        "headers": dict(server.headers) or None,
        "working_dir": server.working_dir,
        "protocol": None if server.protocol == "auto" else server.protocol.value,
        "enabled": None if server.enabled else False,
        "quarantined": server.quarantined,
        "oauth": {key: value for key, value in oauth.items() if value is not None} or None,
    }
    return {key: value for key, value in definition.items() if value is not None}
