"""Where rooms meet: what each needs of the others, as protocols that `app.py` fills in.

Law: rooms of one floor never import each other; they know these shapes and nothing else.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from mcpproxy.core.activity import CallFilter, CallRecord
from mcpproxy.core.approvals import Approval, HeldTool, Standing
from mcpproxy.core.connection import Connection
from mcpproxy.core.control import Profile
from mcpproxy.core.errors import StoreError, StoreTrouble
from mcpproxy.core.ledger import LedgerLine
from mcpproxy.core.model import ClientRegistration, Grant, Secret, Upstream
from mcpproxy.core.notices import Notice
from mcpproxy.core.pending_login import PendingLogin


class Clock(Protocol):
    """Time, as the process sees it. Tests and the simulator bring their own."""

    def now(self) -> datetime:
        """The wall clock: aware, UTC. May jump either way."""

    def elapsed(self) -> timedelta:
        """Time since some fixed moment of this boot; suspended time counts; never goes back."""

    def suspended(self) -> timedelta:
        """How much of `elapsed` the machine slept through, as far as the system can tell."""


class Publisher(Protocol):
    """Takes notices; never blocks, never raises."""

    def publish(self, notice: Notice) -> None: ...


# --- storage ------------------------------------------------------------------------------


class Store(Protocol):
    """The vault: grants, client registrations, pending logins, and a few settings.

    Every method is atomic and durable when it returns. Raises StoreUnavailable (full, read-only,
    busy past its deadline, failing disk), never a driver's error. Sealed rows that cannot be
    opened raise WrongKey or StoreCorrupt for that row alone.
    """

    async def load_grant(self, server: str) -> Grant | None:
        """The current grant, or None when there is none."""

    async def load_grants(self) -> Sequence[Grant]:
        """Every current grant that can be opened, sorted by server; see `damaged`."""

    async def stamp(self) -> int:
        """Another number whenever another process may have written; cheap enough to ask often."""

    def damaged(self) -> Mapping[str, StoreError]:
        """The servers whose current grant the last `load_grants` could not open, and why."""

    async def save_grant(
        self, grant: Grant, *, expected_revision: int | None, line: LedgerLine | None = None
    ) -> bool:
        """Compare-and-swap: store `grant` if the stored revision is `expected_revision` (None:
        if no grant is stored). The stored revision becomes `grant.revision`. False: it moved.
        `line` joins the ledger in the same step, or not at all.

        A generation never goes back within one login_id, and a save never crosses from one
        login_id to another (that is `replace_grant`'s): such a save answers False.
        """

    async def replace_grant(self, grant: Grant) -> None:
        """A new login: whatever was current is set aside, sealed, `grant` takes its place, and
        the pending login it was made from (flow_id is its login_id) is gone, all in one step.

        Told of a login that was made current before, it only forgets the pending one: an old
        answer never takes the place of what has been refreshed since. A login that takes its
        place leaves its line in the ledger.
        """

    async def forget_grant(self, server: str, *, line: LedgerLine | None = None) -> None:
        """The person logged out: the grant and what was set aside of it are erased. The ledger
        stays, with `line` at its end.
        """

    async def load_ledger(self, server: str, limit: int) -> Sequence[LedgerLine]:
        """The last `limit` lines about this server, oldest first. MAX_LEDGER are kept."""

    async def load_registration(self, issuer: str, redirect_uri: str) -> ClientRegistration | None:
        """Our client at this issuer, made for this redirect URI."""

    async def save_registration(self, registration: ClientRegistration) -> None: ...

    async def forget_registration(self, issuer: str, redirect_uri: str) -> None: ...

    async def save_login(self, login: PendingLogin) -> None:
        """Insert or replace by flow_id."""

    async def take_login(self, state: str) -> PendingLogin | None:
        """The pending login with this state, removed in the same step: a state is used once."""

    async def load_logins(self) -> Sequence[PendingLogin]: ...

    async def forget_login(self, flow_id: str) -> None: ...

    async def get_setting(self, name: str) -> str | None:
        """A small remembered fact, such as the callback port. Never a secret."""

    async def set_setting(self, name: str, value: str) -> None: ...

    async def close(self) -> None: ...


class ApprovalStore(Protocol):
    """The approved tool definitions, beside the grants. Each method is atomic and durable, and
    raises as the Store's do.
    """

    async def load_approvals(self) -> Sequence[Approval]:
        """All of them, sorted by server and tool."""

    async def save_approvals(self, approvals: Sequence[Approval]) -> None:
        """Insert or replace by server and tool. Of one server MAX_APPROVALS are kept, new
        names beyond are not, and fewer texts where they are long.
        """

    async def note_seen(self, server: str, tools: Sequence[str], at: datetime) -> None:
        """The server lists these now; names that are not kept are passed over."""

    async def forget_approvals(self, server: str, tools: Sequence[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class LeaseHold:
    """A lease in hand. `fence` grows with every take-over; `until` is `Clock.elapsed` time."""

    name: str
    holder: str
    fence: int
    until: timedelta


class Lease(Protocol):
    """Mutual exclusion across processes that share a store; correct custody survives its loss."""

    async def acquire(self, name: str, ttl: timedelta) -> LeaseHold | None:
        """The lease, or None while another living holder has it. Never waits.

        A holder that is known dead (another boot, or this boot and its pid gone) is broken at
        once. Our own process may not acquire a name twice.
        """

    async def release(self, hold: LeaseHold) -> None:
        """Give it back if it is still ours; otherwise nothing."""


# --- custody, as others see it -------------------------------------------------------------


class TokenSource(Protocol):
    """Access tokens for the data plane."""

    def peek(self, server: str, url: str) -> Secret | None:
        """The live access token for this upstream at this URL from memory, at no cost; None when
        there is none or it is no use. The hot path asks this first.
        """

    async def token(self, server: str, url: str) -> Secret | None:
        """The access token, waiting for a refresh in flight up to the policy's `token_wait`.

        None: there is no login for this upstream, call without. Raises RefreshPending or
        LoginRequired. A token is given only for the URL its login was made for.
        """

    async def challenged(self, server: str, url: str, rejected: Secret) -> Secret:
        """The upstream answered 401 to `rejected`: the newer token to replay with, adopted from
        the store or freshly made. Raises RefreshPending or LoginRequired.
        """

    async def accepted(self, server: str, token: Secret) -> None:
        """The upstream took `token`, after it had rejected one."""


class LoginWay(StrEnum):
    """Where the person is: at a browser that can come back to this machine, or at any device."""

    BROWSER = "browser"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class LoginFlow:
    """A login as others watch it. `outcome` is None while it waits for the person.

    At another device `user_code` is typed in at `verification_uri`; `authorization_url` has the
    code in it where the provider offers that.
    """

    flow_id: str
    server: str
    authorization_url: str
    expires_at: datetime
    outcome: str | None = None
    code: str | None = None
    message: str | None = None
    user_code: str | None = None
    verification_uri: str | None = None


class LoginDesk(Protocol):
    """Logins that wait for a person."""

    async def begin(self, server: str, way: LoginWay | None = None) -> LoginFlow:
        """Begin a login; `way` None is the one that is configured for the server. With client
        credentials there is no person to wait for: the flow is over when this returns.
        """

    async def finish(self, redirect: str) -> LoginFlow:
        """Complete a login from a redirect URL (path and query suffice), pasted or received.

        An unknown, used or expired state raises LoginError; a denial ends the flow and raises
        LoginDenied.
        """

    async def wait(self, flow_id: str, timeout: timedelta) -> LoginFlow:
        """The flow once it has an outcome, or as it is when the time is up."""

    def pending(self, server: str) -> LoginFlow | None: ...

    async def logout(self, server: str) -> str | None:
        """Revoke at the provider, forget here. None, or what the provider said against it."""


class CallbackListener(Protocol):
    """Listens on loopback for the provider's redirect, while logins are pending."""

    def listening(
        self, redirect_uri: str, receive: Callable[[str], Awaitable[str]]
    ) -> AbstractAsyncContextManager[None]:
        """Hold the redirect URI's port open; shared by all who ask for the same port.

        `receive` gets the redirect URL and answers one of the page names `done`, `denied`,
        `failed`. Raises CallbackPortBusy.
        """

    async def free_port(self) -> int:
        """A loopback port nobody listens on now."""


# --- facts for health ----------------------------------------------------------------------


class GrantFacts(Protocol):
    """What custody holds in memory about logins."""

    def grant(self, server: str) -> Grant | None: ...

    def grants(self) -> Sequence[Grant]:
        """All that are kept, those of servers that are not configured any more too."""

    def woken_at(self) -> datetime | None: ...

    def held_until(self, server: str) -> datetime | None:
        """Until when its provider asked all of us to wait, if that moment lies ahead."""

    def store_trouble(self) -> StoreTrouble | None: ...

    def damage(self, server: str) -> str | None:
        """Why this server's stored grant cannot be opened, if there is one that cannot."""


class ConnectionFacts(Protocol):
    """What the gateway holds in memory about connections."""

    def connection(self, server: str) -> Connection: ...


class UpstreamDirectory(Protocol):
    """The configured upstreams, as they are now; replaced as a whole on reload."""

    def upstreams(self) -> Mapping[str, Upstream]: ...


# --- the gateway, as the web floor sees it -------------------------------------------------


@dataclass(frozen=True, slots=True)
class ToolEntry:
    """One upstream tool. `definition` is the upstream's JSON, untouched."""

    server: str
    name: str
    description: str
    definition: bytes


class UpstreamControl(Protocol):
    """What REST and CLI may ask of the gateway."""

    async def restart(self, server: str) -> None: ...

    def tools(self, server: str | None = None) -> Sequence[ToolEntry]: ...

    async def search_tools(self, query: str, limit: int) -> Sequence[tuple[ToolEntry, float]]:
        """Tools with their scores, best first."""

    async def call_tool(
        self,
        server: str,
        tool: str,
        arguments: bytes,
        *,
        timeout: timedelta | None = None,
        request_id: str = "",
    ) -> bytes:
        """The JSON result of tools/call (`arguments` is a JSON object), within `timeout` or else
        what is configured. Raises UnknownTool, UpstreamError, TokenUnavailable.
        """


@dataclass(frozen=True, slots=True)
class CallLoad:
    """Calls under way at one server, and those that wait for their turn; of all: server ""."""

    server: str
    active: int
    waiting: int


class ToolControl(Protocol):
    """What REST and CLI may ask about the tools that are offered or not."""

    def standing(self, server: str, tool: str) -> Standing:
        """Why this tool of a configured server is there, or is not."""

    def owner_of(self, name: str) -> tuple[str, str] | None:
        """Server and tool of a name as clients see it (`server__tool`), if there is one."""

    def passes(self, profile: Profile, server: str, tool: str) -> bool:
        """Whether a tool that is offered is there at this profile's endpoint."""

    async def held_tools(self, server: str | None = None) -> Sequence[HeldTool]:
        """What waits for approval. Raises StoreError."""

    async def approve_tools(self, server: str, digests: Sequence[tuple[str, str]]) -> None:
        """A person approves of these definitions, each by tool and digest; they are offered when
        this returns. Raises UnknownTool, NotReady when one changed meanwhile, StoreError.
        """


class ActivityBook(Protocol):
    """The log of calls. Raises StoreUnavailable."""

    async def calls(self, wanted: CallFilter, limit: int) -> Sequence[CallRecord]:
        """The last ones that match, newest first."""

    async def calls_after(
        self, wanted: CallFilter, number: int, limit: int
    ) -> Sequence[CallRecord]:
        """Those with a higher number that match, oldest first."""


class RefreshControl(Protocol):
    """What REST and CLI may ask of custody."""

    async def refresh_now(self, server: str) -> Grant:
        """Refresh now if the minimum interval allows, else as soon as it does, and wait.

        Raises LoginRequired, RefreshPending, UnknownServer.
        """


class UpstreamLog(Protocol):
    """Where the gateway writes what an upstream said or did; never blocks, never raises."""

    def write(self, server: str, line: str) -> None: ...


class LogLines(Protocol):
    """An upstream's own log: what it wrote to stderr and what happened to its connection."""

    def tail(self, server: str, lines: int) -> Sequence[str]: ...

    def follow(self, server: str) -> AsyncIterator[str]: ...
