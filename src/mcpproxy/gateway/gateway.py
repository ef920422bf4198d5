"""The gateway as the rest of the program sees it: upstreams on one side, the endpoint on the other.

Law: this file only puts the parts together; what they do stands in theirs.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from mcpproxy.core.connection import Connection
from mcpproxy.core.control import Control
from mcpproxy.core.errors import UnknownTool, UpstreamError
from mcpproxy.core.model import Upstream
from mcpproxy.core.ports import ApprovalStore, Clock, Publisher, TokenSource, ToolEntry, UpstreamLog
from mcpproxy.gateway.access import OWNER, Caller, may_reach
from mcpproxy.gateway.admission import Admission
from mcpproxy.gateway.aggregate import Aggregate, Holdings
from mcpproxy.gateway.approvals import Approvals, NoStore
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.catalog import Entry, Stock
from mcpproxy.gateway.changes import Changes
from mcpproxy.gateway.dispatch import Dispatch
from mcpproxy.gateway.downstream import Downstream
from mcpproxy.gateway.endpoint import Authenticate, Endpoint
from mcpproxy.gateway.eras import Forgetful, Memory
from mcpproxy.gateway.gathered import Gathered
from mcpproxy.gateway.governor import Governor
from mcpproxy.gateway.hub import Hub
from mcpproxy.gateway.in_turn import InTurn
from mcpproxy.gateway.items import Kind
from mcpproxy.gateway.kept import KeptResults
from mcpproxy.gateway.limits import DEFAULT_LIMITS, GatewayLimits
from mcpproxy.gateway.login_prompt import FindDesk, LoginPrompts
from mcpproxy.gateway.means import Means
from mcpproxy.gateway.modes.direct import DirectMode
from mcpproxy.gateway.modes.finder import Finder
from mcpproxy.gateway.modes.results import Results
from mcpproxy.gateway.modes.retrieve import HealthOf, RetrieveMode
from mcpproxy.gateway.notifications import Notifications
from mcpproxy.gateway.place import Place
from mcpproxy.gateway.pool import Pool
from mcpproxy.gateway.search.index import ToolIndex
from mcpproxy.gateway.single import Shared, Single
from mcpproxy.gateway.subscriptions import Subscriptions
from mcpproxy.gateway.tasks import Tasks
from mcpproxy.gateway.transports.guard import make_guard
from mcpproxy.gateway.transports.outbound import FROM_ENVIRONMENT, Outbound
from mcpproxy.gateway.transports.web import WebClient
from mcpproxy.gateway.turns import Gates
from mcpproxy.gateway.wanted_levels import WantedLevels
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

_ALL: Final = "/all"
_CALL: Final = "/call"
_ONE: Final = "/s/"
_PROFILE: Final = "/p/"
_PLACE_OF: Final = {DirectMode.name: _ALL, RetrieveMode.name: _CALL}


class Gateway:
    """The data plane. It is the `ConnectionFacts` and the `UpstreamControl` of `core.ports`.

    `health` is asked by the built-in tool upstream_servers; `routing_mode` is what `/mcp` itself
    speaks: `direct` or `retrieve_tools`.
    """

    def __init__(
        self,
        *,
        tokens: TokenSource,
        clock: Clock,
        publisher: Publisher,
        log: UpstreamLog,
        health: HealthOf,
        routing_mode: str = RetrieveMode.name,
        limits: GatewayLimits = DEFAULT_LIMITS,
        outbound: Outbound = FROM_ENVIRONMENT,
        control: Control | None = None,
        approvals: ApprovalStore | None = None,
        memory: Memory | None = None,
        session_key: bytes | None = None,
        desk: FindDesk = lambda: None,
    ) -> None:
        """Without a store of approvals every start sees each definition for the first time; without
        a memory it asks every upstream what it speaks, and without a `session_key` the sessions of
        clients end with it. `desk` is where logins are begun.
        """
        control = control or Control()
        self._limits = limits
        self._web = WebClient(limits, outbound)
        self._guard = make_guard()
        self._stock = Stock()
        self._catalog = self._stock.tools
        self._index = ToolIndex()
        self._hub = Hub(self._may_reach)
        kept = Forgetful() if memory is None else memory
        self._down = Downstream(clock, limits, self._hub, kept, session_key)
        means = Means(tokens, clock, publisher, log, limits, self._web, self._guard, kept)
        self._approvals = Approvals(approvals or NoStore())
        admission = Admission(self._approvals, clock, control)
        gates = Gates(control)
        self._pool = Pool(means, self._stock, self, admission)
        logins = self._logins = LoginPrompts(desk, clock, limits)
        turns = InTurn(gates, clock, publisher)
        dispatch = self._dispatch = Dispatch(
            self._pool, self._catalog, turns, logins, lambda name: self.governor.profile(name)
        )
        self.governor = Governor(
            control, admission, gates, self._pool, self._catalog, self._hub, publisher
        )
        self._kept = KeptResults(clock, limits)
        self._finder = Finder(self._catalog, self._index, dispatch, self._pool, publisher, limits)
        results = Results(self._kept, limits)
        retrieve = RetrieveMode(self._finder, dispatch, self._pool, results, health)
        self._changes = Changes(self._hub, limits)
        self._subscriptions = Subscriptions(self._pool.find, limits)
        self._levels = WantedLevels(self._pool.find)
        self._hub.when_gone(self._subscriptions.forget)
        self._hub.when_gone(self._levels.forget)
        gathered = Gathered(self._pool, self._stock, dispatch, self._subscriptions)
        tasks, owners = Tasks(self._pool, dispatch, limits), dispatch.tasks
        self._notifications = Notifications(self._hub, self._subscriptions, self._levels, owners)
        self._single = Shared(dispatch, self._subscriptions, self._levels, owners, limits.task_wait)
        holdings = Holdings(self._pool, self._stock, gathered, self._levels, tasks)
        direct = Aggregate(DirectMode(self._catalog, dispatch), holdings)
        self._faces = _places(direct, Aggregate(retrieve, holdings), routing_mode)

    # --- life -----------------------------------------------------------------------------

    async def start(self, upstreams: Mapping[str, Upstream]) -> None:
        """Begin to connect all upstreams; returns at once, or once the approvals are read."""
        await self._approvals.start(self._pool.readmit)
        self._down.start()
        await self._pool.apply(upstreams)

    async def apply(
        self, upstreams: Mapping[str, Upstream], control: Control | None = None
    ) -> None:
        """The configuration is this now; only what changed restarts."""
        if control is not None:
            self.governor.apply(control, upstreams)
        await self._pool.apply(upstreams)

    def end_streams(self) -> None:
        """Let the clients' open streams end: before the HTTP server waits for them."""
        self._down.end_streams()

    def cut_off(self) -> None:
        """Whoever still waits for a server, or for a person's login, is answered now."""
        self._pool.cut_off("mcpproxy is stopping")
        self._logins.cut_off()

    async def stop(self) -> None:
        """End all streams, sessions and child processes."""
        await self._down.stop()
        self._changes.stop()
        await self._subscriptions.stop()
        await self._levels.stop()
        await self._pool.stop()
        await self._approvals.stop()
        await self._web.close()
        await self._guard.close()
        self._index.close()
        self._kept.close()

    def asgi(self, authenticate: Authenticate) -> Endpoint:
        """The ASGI application for `/mcp` and everything below it.

        `authenticate` sees the scope of each request. Host and Origin are its caller's matter.
        """
        return Endpoint(self._face_of, authenticate, self._down)

    # --- facts and control ----------------------------------------------------------------

    def connection(self, server: str) -> Connection:
        return self.governor.seen(server, self._pool.connection(server))

    def challenge(self, server: str) -> str | None:
        """The WWW-Authenticate header of the upstream's last 401 or 403, for a login."""
        live = self._pool.find(server)
        return None if live is None else live.challenge

    def wake(self, server: str | None = None) -> None:
        """A wake, a fresh network, a new login: try at once what waits for its next try."""
        self._pool.wake(server)

    async def restart(self, server: str) -> None:
        await self._pool.restart(server)

    def tools(self, server: str | None = None) -> Sequence[ToolEntry]:
        entries = self._catalog if server is None else self._catalog.of(server)
        return [_tool_entry(entry) for entry in entries]

    async def search_tools(self, query: str, limit: int) -> Sequence[tuple[ToolEntry, float]]:
        found = await self._finder.search(query, limit)
        return [(_tool_entry(entry), score) for entry, score in found]

    async def call_tool(
        self,
        server: str,
        tool: str,
        arguments: bytes,
        *,
        timeout: timedelta | None = None,
        request_id: str = "",
    ) -> bytes:
        live = self._pool.get(server)
        given = jsonrpc.raw(jsonrpc.members(arguments))
        params = {"name": jsonrpc.raw(tool), "arguments": given}
        ask = Ask(OWNER, "tools/call", params, request_id=request_id)
        if await self._dispatch.find(OWNER, f"{server}:{tool}") is None:
            self._dispatch.tell_denied(ask, server, tool)
            raise UnknownTool(
                f"{server} has no tool {tool}", next_step="mcpproxy tools list shows what there is"
            )
        response = await self._dispatch.send(live, tool, ask, params, timeout)
        error = jsonrpc.error_of(response)
        if error is not None:
            said = live.scrub.text(error.message)
            raise UpstreamError(f"{server} refused the call: {said} ({error.code})")
        return bytes(response["result"])

    # --- what the upstreams say (Audience) --------------------------------------------------

    def listed(self, server: str, kinds: frozenset[Kind]) -> None:
        if Kind.TOOLS in kinds:
            self._index.replace(server, self._catalog.of(server))
        self._changes.note(server, kinds)
        self._subscriptions.resume(server)
        self._levels.resume(server)

    def notified(self, server: str, method: str, message: Members, about: frozenset[str]) -> None:
        self._notifications.publish(server, method, message, about)

    def _may_reach(self, caller: Caller, server: str) -> bool:
        """As it is now: a stream may have been opened when its profile was another one."""
        live = self._pool.find(server)
        if live is None:
            return True
        if caller.profile is not None:
            now = self.governor.profile(caller.profile.name)
            if now is None:
                return False
            caller = caller.within(now)
        return may_reach(caller, live.upstream)

    def _face_of(self, place: str, caller: Caller) -> Place | None:
        face = self._faces.get(place)
        if face is not None:
            return Place(face, caller)
        if place.startswith(_PROFILE):
            return self._profile_of(place.removeprefix(_PROFILE), caller)
        server = place.removeprefix(_ONE)
        live = self._pool.find(server) if place.startswith(_ONE) else None
        if live is None or not may_reach(caller, live.upstream):
            return None
        single = Single(lambda: self._pool.get(server), server, self._single)
        return Place(single, caller)

    def _profile_of(self, name: str, caller: Caller) -> Place | None:
        profile = self.governor.profile(name)
        if profile is None:
            return None
        mode = "" if profile.routing_mode is None else _PLACE_OF[profile.routing_mode]
        return Place(self._faces[mode], caller.within(profile))


def _places(direct: Aggregate, search: Aggregate, routing_mode: str) -> Mapping[str, Aggregate]:
    """The aggregates by where they are."""
    default = direct if routing_mode == DirectMode.name else search
    return {"": default, _ALL: direct, _CALL: search}


def _tool_entry(entry: Entry) -> ToolEntry:
    return ToolEntry(entry.server, entry.tool.name, entry.tool.description, entry.tool.definition)
