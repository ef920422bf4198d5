"""Servers added, removed and switched by REST: written to the file, then put in force.

Law: one edit at a time, off the event loop; when a call returns the change is on disk and applied.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from mcpproxy.config.edit import ConfigFile
from mcpproxy.config.jsonc import Json
from mcpproxy.web.parts import NewServer


class FileEditor:
    """Implements ServerEditor on the configuration file. `reload` applies what the file says."""

    def __init__(self, file: ConfigFile, reload: Callable[[], Awaitable[None]]) -> None:
        self._file = file
        self._reload = reload
        self._turn = asyncio.Lock()

    async def add(self, server: NewServer) -> None:
        await self._edit(lambda: self._file.add_server(server.name, definition(server)))

    async def remove(self, name: str) -> None:
        await self._edit(lambda: self._file.remove_server(name))

    async def enable(self, name: str) -> None:
        await self._edit(lambda: self._file.enable(name))

    async def disable(self, name: str) -> None:
        await self._edit(lambda: self._file.disable(name))

    async def approve(self, name: str) -> None:
        await self._edit(lambda: self._file.approve(name))

    async def _edit(self, change: Callable[[], None]) -> None:
        async with self._turn:
            await asyncio.to_thread(change)
            await self._reload()


def definition(server: NewServer) -> Mapping[str, Json]:
    """The entry as the file has it, without the name and without what is the default."""
    oauth: dict[str, Json] = _given(
        client_id=server.client_id,
        client_secret=server.client_secret,
        scopes=list(server.scopes),
        redirect_uri=server.redirect_uri,
    )
    entry = _given(
        url=server.url,
        command=server.command,
        args=list(server.args),
        env=dict(server.env),
        headers=dict(server.headers),
        working_dir=server.working_dir,
        oauth=oauth,
    )
    if server.protocol.value != "auto":
        entry["protocol"] = server.protocol.value
    entry["enabled"] = server.enabled
    if server.quarantined:
        entry["quarantined"] = True
    return entry


def _given(**entry: Json) -> dict[str, Json]:
    return {key: value for key, value in entry.items() if value}
