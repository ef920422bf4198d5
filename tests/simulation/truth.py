"""The judge of words: every health, notice, metric and line of the ledger against the books.

Law: what we tell of a login is what its provider could have told of it, or it is a lie.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mcpproxy.core.causes import Action, Level
from mcpproxy.core.connection import Connection, ConnectionState
from mcpproxy.core.health import Health, Snapshot, assess
from mcpproxy.core.ledger import MAX_LEDGER, LedgerLine, Outcome
from mcpproxy.core.lifecycle import ending
from mcpproxy.core.model import FailureKind, Grant, RefreshFailure, Verdict
from mcpproxy.core.notices import (
    LoginLost,
    Notice,
    RefreshFailedNotice,
    RefreshScheduled,
    RefreshSucceeded,
)
from mcpproxy.core.policy import refresh_at
from mcpproxy.observability.metrics import Metrics
from tests.simulation.books import Attempted
from tests.simulation.provider import Family

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World

VERDICT_SHOWS_WITHIN: Final = 5.0
TOLD_WITHIN: Final = 60.0
CONNECTED: Final = Connection(ConnectionState.CONNECTED, tool_count=1)

VERDICTS: Final = {
    "grant_ended": Verdict.PROVIDER_ENDED,
    "grant_lost_in_transit": Verdict.LOST_IN_TRANSIT,
    "client_ended": Verdict.CLIENT_ENDED,
}
KINDS: Final = {
    Outcome.REFUSED: FailureKind.REFUSED,
    Outcome.TRANSIENT: FailureKind.TRANSIENT,
    Outcome.NOT_SENT: FailureKind.NOT_SENT,
    Outcome.UNKNOWN: FailureKind.UNKNOWN,
}


class Truth:
    """Hears everything that is told, and looks at what is shown."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._saved_at: dict[str, float] = {}
        self._lost: Counter[tuple[str, str, int]] = Counter()
        self._lines: dict[str, deque[LedgerLine]] = {}
        self._told = 0
        self._metrics = Metrics(world.clock, dict, world.durable.get, {})

    def _fail(self, server: str, sentence: str) -> None:
        self._world.checks.fail(server, sentence)

    # --- what is stored ---------------------------------------------------------------------------

    def saved(
        self, process: "Process", before: Grant, after: Grant, line: LedgerLine | None
    ) -> None:
        """One save: an attempt began or ended, a line was written, a verdict stands."""
        world, server = self._world, after.server
        self._saved_at[server] = world.now()
        old, new = before.attempt, after.attempt
        if old is not None and (new is None or new.attempt_id != old.attempt_id):
            self._ended(process, old.attempt_id, line)
        if new is not None and (old is None or new.attempt_id != old.attempt_id):
            attempt = world.books.begin(new.attempt_id, server, process.name, new.fingerprint)
            process.attempts[server] = attempt
        if line is not None:
            self._judge_line(line)
        now = process.host.clock.now()
        if ending(after, now) is not None and ending(before, now) is None:
            loop = asyncio.get_running_loop()
            loop.call_later(VERDICT_SHOWS_WITHIN, self._shows, process, after)

    def _ended(self, process: "Process", attempt_id: str, line: LedgerLine | None) -> None:
        attempt = self._world.books.get(attempt_id)
        if attempt is None:
            return
        attempt.ended = True
        if line is None:
            self._fail(attempt.server, f"{attempt_id} ended without a line in the ledger")
        else:
            attempt.taken_over = line.outcome is Outcome.TAKEN_OVER
        loop = asyncio.get_running_loop()
        loop.call_later(TOLD_WITHIN, self._was_told, process, attempt)

    def unsure(self, server: str) -> None:
        """A write was told to have failed: whoever made it cannot know what it did."""
        last = self._world.books.last(server)
        if last is not None:
            last.unsure = True

    def restored(self) -> None:
        """The ledger went back with the vault."""
        self._lines.clear()
        self._world.books.forget()

    def _was_told(self, process: "Process", attempt: Attempted) -> None:
        """Every attempt counts, and for nobody twice; by two only if one took it over."""
        world = self._world
        dumb = process.stopping or not process.alive or world.checks.has_thawed(process)
        if not attempt.told and not dumb and not attempt.unsure:
            self._fail(attempt.server, f"{attempt.attempt_id} ended and nobody was told")
        tellers = [teller for teller, _ in attempt.told]
        if len(tellers) > len(set(tellers)) and not attempt.unsure:
            self._fail(attempt.server, f"{attempt.attempt_id} was told as {attempt.told}")

    def _judge_line(self, line: LedgerLine) -> None:
        """A line of the ledger, at the moment it is written."""
        lines = self._lines.setdefault(line.server, deque(maxlen=MAX_LEDGER))
        lines.append(line)
        attempt = self._world.books.get(line.attempt_id)
        if attempt is None:
            return
        wrong: str | None = None
        if line.fingerprint and line.fingerprint != attempt.fingerprint:
            wrong = f"of {line.fingerprint}, presented was {attempt.fingerprint}"
        elif line.outcome in (Outcome.ISSUED, Outcome.KEPT_AS_SPARE):
            wrong = None if attempt.issued else "tokens that nobody issued"
        elif line.outcome in KINDS:
            failure = RefreshFailure(KINDS[line.outcome], line.detail, line.code, line.status)
            wrong = attempt.contradicts(failure)
        if wrong is not None:
            self._fail(line.server, f"the ledger lies about {line.attempt_id}: {wrong}")

    # --- what is told -----------------------------------------------------------------------------

    def heard(self, process: "Process", notice: Notice) -> None:
        """A notice, at the moment it is published."""
        self._metrics.hear(notice)
        match notice:
            case RefreshSucceeded():
                self._succeeded(process, notice)
            case RefreshFailedNotice():
                self._failed(process, notice)
            case LoginLost():
                self._login_lost(process, notice)
            case RefreshScheduled():
                self._scheduled(process, notice)
            case _:
                pass

    def _succeeded(self, process: "Process", notice: RefreshSucceeded) -> None:
        """Told only of tokens that were issued, and after they were stored. Between the two the
        teller may stand still, and an older vault be put in the place of what it stored.
        """
        self._told += 1
        world, family = self._world, self._world.provider.family(notice.server)
        undone = family.copied and world.checks.has_thawed(process)
        if world.durable[notice.server].generation < notice.generation and not undone:
            self._fail(notice.server, "told of a success that is not stored")
        attempt = self._world.books.get(notice.attempt_id)
        if attempt is None:
            return
        attempt.told.append((process.name, "success"))
        if not attempt.issued:
            self._fail(notice.server, f"{notice.attempt_id} told as a success, nothing was issued")

    def _failed(self, process: "Process", notice: RefreshFailedNotice) -> None:
        self._told += 1
        attempt = self._world.books.get(notice.attempt_id)
        if attempt is None:
            return
        attempt.told.append((process.name, notice.failure.kind.value))
        wrong = attempt.contradicts(notice.failure)
        if wrong is not None:
            self._fail(notice.server, f"{notice.attempt_id}: {wrong} ({notice.failure.detail})")

    def _login_lost(self, process: "Process", notice: LoginLost) -> None:
        """Custody says that a login is over: is it, by whom, and is it said once?"""
        world, server = self._world, notice.server
        grant, family = world.durable[server], world.provider.family(server)
        world.checks.judge_lost_word(process, server)
        key = (process.name, grant.login_id, grant.generation)
        self._lost[key] += 1
        fickle = world.checks.has_doubt(server) or world.checks.was_set(grant.login_id)
        if self._lost[key] > 1 and not fickle and not family.copied:
            self._fail(server, f"{process.name} tells {self._lost[key]} times of one lost login")
        if family.ended is not None and not world.checks.has_doubt(server):
            self._judge_verdict(family, grant, notice.reason)

    def _judge_verdict(self, family: Family, grant: Grant, reason: str) -> None:
        server = family.server
        if family.copied:
            return  # what the vault knew of it is gone with the newer vault
        if family.lost_in_transit and reason == Verdict.PROVIDER_ENDED:
            self._fail(server, "blames the provider for an answer that was lost on the way")
        if family.lost_in_transit or grant.unanswered:
            return
        if reason == Verdict.CLIENT_ENDED and not family.client_was_forgotten:
            self._fail(server, f"{reason}, though the provider still has the client")
        if reason == Verdict.LOST_IN_TRANSIT:
            self._fail(server, f"{reason}, though no answer was lost")

    def _scheduled(self, process: "Process", notice: RefreshScheduled) -> None:
        """The time that is told is 80 % of the life, or its end where the provider refuses before,
        or a week.
        """
        grant, policy = process.manager.grant(notice.server), self._world.policy
        now = process.host.clock.now()
        if grant is None or grant.rejected is not None or grant.tokens.issued_at > now:
            return
        is_early_known = self._world.checks.is_early_known(notice.server)
        due = grant.tokens.expires_at if is_early_known else refresh_at(grant.tokens, policy)
        latest = grant.tokens.issued_at + policy.keep_alive
        wanted = min(due, latest) if due else latest
        if grant.last_begun_at is not None and grant.last_begun_at <= now:
            wanted = max(wanted, grant.last_begun_at + policy.min_interval)
        if abs(notice.at - wanted) > timedelta(seconds=1) and notice.at > now:
            self._fail(notice.server, f"tells of a refresh at {notice.at}, due is {wanted}")

    # --- what is shown ----------------------------------------------------------------------------

    def look(self, process: "Process", server: str) -> None:
        """The health that this process shows of this server now."""
        grant = process.manager.grant(server)
        if grant is None:
            return
        health = self._health(process, server)
        world, checks = self._world, self._world.checks
        durable, family = world.durable[server], world.provider.family(server)
        if health.action == Action.LOGIN:
            self._judge_login_action(process, server, health)
        old = world.now() - self._saved_at.get(server, 0.0) > checks.stale_memory
        if not old or checks.is_news(server) or checks.has_thawed(process):
            return
        over = ending(durable, process.host.clock.now()) is not None
        troubled = process.manager.store_trouble() is not None
        if family.ended is not None and over and health.action != Action.LOGIN and not troubled:
            self._fail(server, f"{process.name} shows {health.cause} of a login that is over")
        if health.level is Level.HEALTHY and (durable.failures or durable.refusals):
            self._fail(server, f"{process.name} shows {health.cause} though its refresh fails")
        if health.cause in ("store_unwritable", "key_locked"):
            self._fail(server, f"{process.name} shows {health.cause} though the store is well")
        last = world.books.last(server)
        if last is None or not last.ended or last.taken_over:
            return
        if health.cause == "refresh_network_error" and last.presented:
            self._fail(server, f"{process.name} blames the network, the request was sent")
        if health.cause == "refresh_outcome_unknown" and not last.presented:
            self._fail(server, f"{process.name} calls unknown what never left")

    def _judge_login_action(self, process: "Process", server: str, health: Health) -> None:
        """`Sign in` is shown of a login that is over, or while a refusal is being confirmed."""
        if health.cause == "refresh_refused" and self._world.checks.has_doubt(server):
            return
        self._world.checks.judge_lost_word(process, server)

    def _health(self, process: "Process", server: str) -> Health:
        manager = process.manager
        snapshot = Snapshot(
            connection=CONNECTED,
            grant=manager.grant(server),
            store_trouble=manager.store_trouble(),
            woken_at=manager.woken_at(),
            damage=manager.damage(server),
        )
        return assess(snapshot, process.host.clock.now(), self._world.policy)

    def _shows(self, process: "Process", grant: Grant) -> None:
        """Whoever wrote the verdict shows it by now, in the provider's own words."""
        world, server = self._world, grant.server
        durable = world.durable[server]
        if world.provider.family(server).copied:
            return  # who knew what is gone from the vault may doubt the vault for a minute
        still = durable.login_id == grant.login_id and durable.refusals == grant.refusals
        here = process.alive and not process.stopping and not process.is_paused()
        known = process.manager.grant(server) if here else None
        trouble = process.manager.store_trouble() if here else None
        if not still or known is None or trouble is not None or process.attempts_now(server):
            return
        if ending(durable, process.host.clock.now()) is None:
            return
        health = self._health(process, server)
        refused = grant.refusals.failure if grant.refusals else None
        if health.action != Action.LOGIN or health.cause not in VERDICTS:
            self._fail(server, f"5 s after the verdict {process.name} shows {health.cause}")
        elif refused and not any(said and said in health.detail for said in _words(refused)):
            self._fail(server, f"the provider said {refused.detail}, shown is {health.detail}")

    # --- the end ----------------------------------------------------------------------------------

    async def judge(self) -> None:
        """Counters and ledger, when all is over."""
        world = self._world
        counted = sum(
            float(line.rsplit(" ", 1)[1])
            for line in self._metrics.text().splitlines()
            if line.startswith("mcpproxy_oauth_refresh_total{")
        )
        if counted != self._told:
            self._fail("*", f"the metrics count {counted:.0f} attempts, told were {self._told}")
        for server, lines in self._lines.items():
            stored = await world.vault.load_ledger(server, MAX_LEDGER)
            self._judge_ledger(server, stored, list(lines))

    def _judge_ledger(
        self, server: str, stored: Sequence[LedgerLine], lines: list[LedgerLine]
    ) -> None:
        """What is kept ends with what was written; the logins between have lines of their own."""
        kept = [line for line in stored if line.outcome is not Outcome.LOGGED_IN]
        wanted = lines[-len(kept) :] if kept else []
        if kept[-len(wanted) :] != wanted if wanted else bool(kept):
            self._fail(server, "the ledger is not what was written into it")


def _words(refused: RefreshFailure) -> tuple[str, ...]:
    """The provider's own word, or the code that it stands for."""
    return refused.code or "", refused.detail
