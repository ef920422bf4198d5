"""The bounds and deadlines of the data plane.

Law: every wait has a deadline and everything that can grow has a bound; they stand here once, and
a test that wants a faster world builds its own `GatewayLimits`.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """`max_message` holds for every message of either face, in bytes."""

    call_timeout: timedelta = timedelta(seconds=60)
    # A first `npx` or `uvx` downloads the server before it speaks.
    connect_timeout: timedelta = timedelta(seconds=60)
    tcp_timeout: timedelta = timedelta(seconds=10)
    # A call does not wait longer for a connection than an agent's patience allows.
    reconnect_wait: timedelta = timedelta(seconds=15)
    # A first list of tools waits this long for upstreams that have just been started.
    first_list_wait: timedelta = timedelta(seconds=5)
    reconnect_base: timedelta = timedelta(seconds=1)
    reconnect_cap: timedelta = timedelta(minutes=5)
    # A connection that lasted this long was a good one: the next outage starts from the base.
    settled_after: timedelta = timedelta(seconds=30)
    # A notification stream that ended sooner was no good one: the next is not asked for at once.
    stream_settled_after: timedelta = timedelta(seconds=10)
    relist_every: timedelta = timedelta(minutes=5)
    # For all pages of a list that nobody waits for.
    list_timeout: timedelta = timedelta(seconds=60)
    # Tools are asked for no more often than this, whatever a server says of changes ...
    relist_pause: timedelta = timedelta(seconds=1)
    # ... or however often its notification stream breaks.
    relist_reopened_every: timedelta = timedelta(seconds=30)
    # Between two hints that lists changed; what changed meanwhile is told together.
    changes_pause: timedelta = timedelta(milliseconds=100)
    # Resources that one client hears of.
    max_subscriptions: int = 1000
    # Between SIGTERM and SIGKILL, and for the goodbye of a remote session.
    goodbye: timedelta = timedelta(seconds=2)
    # A server that answers nothing at all after a call timed out may be busy for so long.
    silent_for: timedelta = timedelta(minutes=5)
    keep_alive: timedelta = timedelta(seconds=15)
    session_idle: timedelta = timedelta(hours=24)
    max_sessions: int = 1000
    max_message: int = 16 * 1024 * 1024
    # Pages of one list: at 100 items a page this is 20,000 of one kind of one upstream.
    max_pages: int = 200
    max_items: int = 20_000
    # Bytes of all definitions in one list, and how many hidden items are remembered with a reason.
    max_listing: int = 64 * 1024 * 1024
    max_hidden: int = 100
    # A person answers what an upstream asks within this; a call's own time stands still meanwhile.
    ask_timeout: timedelta = timedelta(minutes=10)
    # What a task came to is waited for so long; then it is asked for again.
    task_wait: timedelta = timedelta(minutes=10)
    # How often one call may ask for more before it is answered, and how much at once.
    max_ask_rounds: int = 10
    max_asked_at_once: int = 16
    # A server that does not answer server/discover within this is asked to initialize instead.
    discover_timeout: timedelta = timedelta(seconds=10)
    # An upstream that was found to be of the older era is asked again after this.
    era_remembered: timedelta = timedelta(days=7)
    # Tools in an answer of retrieve_tools, and characters in a result (0: however many): ten
    # compact tools are some 600 tokens, 20,000 characters some 5,000.
    tools_limit: int = 10
    response_limit: int = 20_000
    # Results that were too long, kept to be read on: of one caller and of all, in number and in
    # bytes of memory, since somebody last read in them.
    kept_results_of_caller: int = 64
    kept_results: int = 1024
    kept_bytes_of_caller: int = 64 * 1024 * 1024
    kept_bytes: int = 128 * 1024 * 1024
    kept_for: timedelta = timedelta(minutes=30)
    max_queued_notices: int = 256
    max_server_requests: int = 64
    # A client sends its message within this.
    body_timeout: timedelta = timedelta(seconds=30)
    # A client whose stream broke comes back within this, or what it was asked has no answer.
    resume_grace: timedelta = timedelta(seconds=5)
    # What clients are told to wait before they come back.
    retry_stream: timedelta = timedelta(seconds=1)
    # Events kept for clients that come back: of one stream, of all; and streams of one session.
    max_kept_events: int = 512
    max_kept_bytes: int = 64 * 1024 * 1024
    max_kept_streams: int = 64
    # Questions to one client, requests of one session that wait for their answers, streams of
    # subscriptions, and calls that wait for the retry of a stateless client.
    max_questions: int = 64
    max_client_requests: int = 256
    max_listens: int = 1000
    max_parked: int = 500
    # A request that lasts longer is watched for its client's going away.
    watch_after: timedelta = timedelta(milliseconds=50)
    # A login is begun for a call that needs it at most so often, and within this.
    login_pause: timedelta = timedelta(seconds=30)
    login_begin: timedelta = timedelta(seconds=10)


DEFAULT_LIMITS: Final = GatewayLimits()


def reconnect_delay(failures: int, limits: GatewayLimits = DEFAULT_LIMITS) -> timedelta:
    """The wait after failure number `failures` (from 1): 1, 2, 4 ... s, never over the cap."""
    doublings = min(max(failures - 1, 0), 30)
    return min(limits.reconnect_base * (1 << doublings), limits.reconnect_cap)
