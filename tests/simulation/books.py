"""The world's own books: what really happened to every attempt that one of our processes began.

Law: written by the wire and the store's boundary, never by the product; what the product tells,
counts and notes of an attempt is compared with them.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from mcpproxy.core.model import FailureKind, RefreshFailure
from tests.simulation.faults import LOSES_THE_ANSWER, NOT_SENT, Fault

KEPT: Final = 400
"""More attempts of one login than its ledger holds."""


@dataclass(slots=True)
class Attempted:
    """One attempt. `code` is the refusal that came back to it, if one did."""

    attempt_id: str
    server: str
    holder: str
    fingerprint: str = ""
    fault: Fault | None = None
    presented: bool = False
    issued: bool = False
    whole: bool = False
    code: str | None = None
    other_form: bool = False
    ended: bool = False
    taken_over: bool = False
    unsure: bool = False
    told: list[tuple[str, str]] = field(default_factory=list)

    def contradicts(self, failure: RefreshFailure) -> str | None:
        """Why this cannot have been its failure; None: it can."""
        match failure.kind:
            case FailureKind.NOT_SENT if self.presented:
                return "said not to be sent, and it was"
            case FailureKind.REFUSED if self.code is None:
                return "said to be refused, and nobody refused it"
            case FailureKind.REFUSED if failure.code != self.code:
                return f"refused with {self.code}, said to be {failure.code}"
            case FailureKind.UNKNOWN if not self.presented and not self.taken_over:
                return "said to have an unknown outcome, and it never left"
            case _:
                pass
        if failure.kind is FailureKind.REFUSED or self.taken_over or self.other_form:
            return None
        if self.whole and self.issued and self.fault not in LOSES_THE_ANSWER:
            return f"said to be {failure.kind}, though its tokens arrived whole"
        if self.whole and self.code is not None:
            return f"said to be {failure.kind}, though the provider refused it"
        if self.fault in NOT_SENT and failure.kind is not FailureKind.NOT_SENT:
            return f"said to be {failure.kind}, though there was no connection"
        return None


class Books:
    """All attempts that still matter, by their id, and how many there were."""

    def __init__(self) -> None:
        self._by_id: dict[str, Attempted] = {}
        self._of: dict[str, deque[Attempted]] = {}
        self.began = 0

    def begin(self, attempt_id: str, server: str, holder: str, fingerprint: str) -> Attempted:
        """Its intent is stored."""
        attempt = Attempted(attempt_id, server, holder, fingerprint)
        known = self._of.setdefault(server, deque())
        known.append(attempt)
        self._by_id[attempt_id] = attempt
        self.began += 1
        if len(known) > KEPT:
            del self._by_id[known.popleft().attempt_id]
        return attempt

    def forget(self) -> None:
        """The vault is an older one, and may speak of any of them as of a new one."""
        self._by_id.clear()
        self._of.clear()

    def get(self, attempt_id: str) -> Attempted | None:
        return self._by_id.get(attempt_id)

    def last(self, server: str) -> Attempted | None:
        """The attempt that began last."""
        known = self._of.get(server)
        return known[-1] if known else None
