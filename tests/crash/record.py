"""What a provider wrote down, and what follows from it: losses, duplicates, answers under way.

Law: pure; every figure of a crash test or a race is computed here, from the provider's record.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self

from tests.crash.ground import ACCEPTED, Verdict


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the record. `at` is the machine's monotonic clock, the same in each process."""

    what: str
    at: float
    number: int = 0
    grant: str = ""
    index: int = 0
    verdict: Verdict | None = None
    issued: int = 0
    taken: bool = True

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Self:
        verdict = line.get("verdict")
        return cls(**{**line, "verdict": Verdict(verdict) if verdict else None})


@dataclass(frozen=True, slots=True)
class Presentation:
    """One refresh token that came in, and what became of its answer."""

    number: int
    grant: str
    index: int
    verdict: Verdict
    at: float
    answered_at: float | None
    gone_at: float | None

    @property
    def accepted(self) -> bool:
        return self.verdict in ACCEPTED


@dataclass(frozen=True, slots=True)
class Kill:
    """A daemon was killed between these two moments."""

    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Record:
    """`presentations` in their order."""

    presentations: Sequence[Presentation]
    uses: Sequence[Event] = ()
    by_grant: Mapping[str, Sequence[Presentation]] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Iterable[Event]) -> Self:
        told = list(events)
        ends = {event.number: event for event in told if event.what in ("answered", "gone")}
        presentations, by_grant = [], defaultdict(list)
        for event in told:
            if event.what != "presented" or event.verdict is None:
                continue
            end = ends.get(event.number)
            answered_at = end.at if end and end.what == "answered" else None
            gone_at = end.at if end and end.what == "gone" else None
            made = Presentation(
                event.number,
                event.grant,
                event.index,
                event.verdict,
                event.at,
                answered_at,
                gone_at,
            )
            presentations.append(made)
            by_grant[event.grant].append(made)
        return cls(presentations, [event for event in told if event.what == "used"], by_grant)

    def accepted(self) -> int:
        return sum(each.accepted for each in self.presentations)

    def ended(self) -> set[str]:
        """The logins that the provider ended because a dead token came back."""
        return {each.grant for each in self.presentations if each.verdict is Verdict.REUSE}

    def strangers(self) -> int:
        """Tokens that were never issued."""
        return sum(each.verdict is Verdict.UNKNOWN for each in self.presentations)

    def repeated(self) -> list[Presentation]:
        """Presentations of a token that had come before."""
        return [
            later
            for story in self.by_grant.values()
            for earlier, later in pairwise(story)
            if later.index <= earlier.index
        ]

    def unexplained(self, kills: Sequence[Kill]) -> list[Presentation]:
        """Tokens that came again though nobody was killed while their answer was under way."""
        found = []
        for again in self.repeated():
            if again.verdict is Verdict.ENDED or again.verdict is Verdict.REUSE:
                continue  # confirming a refusal; a reuse is judged as a loss
            earlier = [
                each
                for each in self.by_grant[again.grant]
                if each.index == again.index and each.number < again.number
            ]
            since = max(each.at for each in earlier)
            if not any(since <= kill.after and kill.before <= again.at for kill in kills):
                found.append(again)
        return found

    def struck(self, kills: Sequence[Kill]) -> list[set[str]]:
        """For each kill the logins that it hit between the sending of a token and the commit of
        what the provider answered: the answer was held back still, or its token never came to use.
        """
        since, struck = 0.0, []
        for kill in kills:
            struck.append(
                {
                    grant
                    for grant, story in self.by_grant.items()
                    if _was_under_way(story, since, kill)
                }
            )
            since = kill.after
        return struck

    def rotations(self) -> Counter[str]:
        return Counter(each.grant for each in self.presentations if each.accepted)


def _was_under_way(story: Sequence[Presentation], since: float, kill: Kill) -> bool:
    earlier = [number for number, each in enumerate(story) if since < each.at <= kill.after]
    if not earlier or not story[earlier[-1]].accepted:
        return False
    last, rest = story[earlier[-1]], story[earlier[-1] + 1 :]
    ended_at = last.answered_at or last.gone_at
    held = ended_at is None or ended_at > kill.before
    return held or (bool(rest) and rest[0].index == last.index)
