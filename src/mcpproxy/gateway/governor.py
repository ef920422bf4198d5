"""What a person decides about tools and calls, put in force while clients go on.

Law: a decision holds for the next call and the next list; who is shown something else is told.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from mcpproxy.core.approvals import HeldTool, Standing
from mcpproxy.core.connection import Connection, ConnectionState
from mcpproxy.core.control import Control, Profile
from mcpproxy.core.errors import UnknownTool
from mcpproxy.core.model import Upstream
from mcpproxy.core.notices import ServersChanged
from mcpproxy.core.ports import CallLoad, Publisher
from mcpproxy.gateway.access import OWNER, may_call
from mcpproxy.gateway.admission import Admission
from mcpproxy.gateway.catalog import Catalog
from mcpproxy.gateway.hub import Hub, News, Subscriber
from mcpproxy.gateway.pool import Pool
from mcpproxy.gateway.turns import Gates
from mcpproxy.gateway.wire import jsonrpc

_CHANGED = tuple(
    jsonrpc.members(jsonrpc.notification(f"notifications/{kind}/list_changed"))
    for kind in ("tools", "resources", "prompts")
)


class Governor:
    """The `ToolControl` of `core.ports`."""

    def __init__(
        self,
        control: Control,
        admission: Admission,
        gates: Gates,
        pool: Pool,
        catalog: Catalog,
        hub: Hub,
        publisher: Publisher,
    ) -> None:
        self._control = control
        self._admission = admission
        self._gates = gates
        self._pool = pool
        self._catalog = catalog
        self._hub = hub
        self._publisher = publisher

    def apply(self, control: Control, upstreams: Mapping[str, Upstream]) -> None:
        """It is this now."""
        before, self._control = self._control, control
        self._admission.control = control
        self._gates.apply(control, upstreams.__contains__)
        for server in upstreams:
            if before.of(server) != control.of(server):
                self._pool.readmit(server)
        self._tell(before.profiles, control.profiles)

    def profile(self, name: str) -> Profile | None:
        return self._control.profiles.get(name)

    def seen(self, server: str, connection: Connection) -> Connection:
        """The facts of a connection as clients see it: tools that are not there do not count."""
        counts = self._admission.counts(server)
        if not counts.held and not counts.disabled:
            return connection
        is_there = connection.state is ConnectionState.CONNECTED
        tools = counts.admitted if is_there else connection.tool_count
        return replace(connection, tool_count=tools, held=counts.held)

    def waiting(self) -> int:
        """Calls that wait for a bound of all servers together."""
        return next(self._gates.loads()).waiting

    def loads(self) -> Iterator[CallLoad]:
        return self._gates.loads()

    # --- ToolControl ----------------------------------------------------------------------

    def standing(self, server: str, tool: str) -> Standing:
        live = self._pool.find(server)
        said = self._admission.standing(server, tool)
        if said is not Standing.ABSENT or live is None:
            return said
        hidden = any(each.name == tool for each in live.offer.hidden)
        return Standing.HIDDEN if hidden else Standing.ABSENT

    def owner_of(self, name: str) -> tuple[str, str] | None:
        entry = self._catalog.find(name)
        return None if entry is None else (entry.server, entry.tool.name)

    def passes(self, profile: Profile, server: str, tool: str) -> bool:
        live, entry = self._pool.find(server), self._catalog.find(f"{server}:{tool}")
        if live is None or entry is None:
            return False
        return may_call(OWNER.within(profile), live.upstream, entry.tool)

    async def held_tools(self, server: str | None = None) -> Sequence[HeldTool]:
        return await self._admission.held(server)

    async def approve_tools(self, server: str, digests: Sequence[tuple[str, str]]) -> None:
        if not digests:
            raise UnknownTool(
                f"no tool of {server} was named", next_step="mcpproxy tools approve shows them"
            )
        await self._admission.approve(server, digests)
        self._pool.readmit(server)
        self._publisher.publish(ServersChanged(server, "tools_approved"))

    def _tell(self, before: Mapping[str, Profile], now: Mapping[str, Profile]) -> None:
        """Who is at a profile that is another one now lists anew."""
        changed = {name for name, profile in before.items() if now.get(name) != profile}
        if not changed:
            return

        def is_there(one: Subscriber) -> bool:
            profile = one.caller.profile
            return profile is not None and profile.name in changed

        keys = self._hub.where(is_there)
        for message in _CHANGED:
            method = jsonrpc.text(message["method"]) or ""
            self._hub.publish(News("", method, message, keys))
