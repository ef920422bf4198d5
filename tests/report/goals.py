"""What is promised, as figures: each goal with the records that prove it and the bounds they must
keep.

Law: a goal is held only by figures that were measured; what nobody measured is missing, and what
a record says of itself is shown, never believed.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from tests.proof import Figure

Figures = Mapping[str, Figure]


class State(StrEnum):
    HELD = "held"
    MISSED = "missed"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a test left behind (tests/proof.py)."""

    name: str
    goal: str
    held: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Bound:
    """One figure and what it must be; `other` is a number or another figure's name."""

    figure: str
    relation: str
    other: float | str

    def complaint(self, figures: Figures) -> str | None:
        """Why these figures do not keep it; None: they do."""
        seen = _number(figures.get(self.figure))
        wanted = _number(figures.get(self.other)) if isinstance(self.other, str) else self.other
        if seen is None or wanted is None:
            return f"{self.figure} was not measured"
        if RELATIONS[self.relation](seen, wanted):
            return None
        return f"{self.figure} is {seen:g}, wanted {self.relation} {wanted:g}"


RELATIONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "=": lambda seen, wanted: seen == wanted,
    "≤": lambda seen, wanted: seen <= wanted,
    "≥": lambda seen, wanted: seen >= wanted,
    ">": lambda seen, wanted: seen > wanted,
    "≤ 2 % over": lambda seen, wanted: seen <= wanted * 1.02 + 0.5,
}


@dataclass(frozen=True, slots=True)
class Goal:
    """One promise. `records` are the names of its proofs, as patterns; each must keep all bounds.
    `sums` are added up over the records first, so that several runs prove one figure together.
    """

    promise: str
    records: tuple[str, ...]
    bounds: tuple[Bound, ...]
    sums: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a goal."""

    goal: Goal
    state: State
    seen: str
    proofs: tuple[Proof, ...]


GOALS: Final = (
    Goal(
        "Simulation: no login is lost by us in 50,000 refreshes of every test run, with a fault in "
        "every 20 of them, both engines",
        ("simulation-*",),
        (
            Bound("lost by us, or told falsely", "=", 0),
            Bound("refreshes", "≥", 50_000),
            Bound("faults for 20 refreshes", "≥", 1),
        ),
        sums=("refreshes", "lost by us, or told falsely"),
    ),
    Goal(
        "Planted bugs: 30 of 30 found, each within 1,000 seeds",
        ("planted-bugs",),
        (
            Bound("planted", "≥", 30),
            Bound("found", "=", "planted"),
            Bound("last_seed", "≤", 1000),
        ),
    ),
    Goal(
        "kill -9: no login lost, a quarter of the kills between send and commit; the control, a "
        "provider that takes a token once, loses some",
        ("crash",),
        (
            Bound("logins lost", "=", 0),
            Bound("kills", "≥", 200),
            Bound("their share", "≥", 25),
            Bound("logins lost at the strict provider (the control)", ">", 0),
        ),
    ),
    Goal(
        "Power loss: whatever is left of the writes, every login is there",
        ("power-loss",),
        (
            Bound("refreshes recorded", "≥", 500),
            Bound("disks opened", "≥", 1000),
            Bound("corrupt, or a login gone back", "=", 0),
        ),
    ),
    Goal(
        "Race: 32 processes, 1,000 generations over 50 grants, exactly 1,000 refreshes",
        ("race",),
        (
            Bound("refreshes at the provider", "=", 1000),
            Bound("tokens presented twice", "=", 0),
            Bound("logins lost", "=", 0),
        ),
    ),
    Goal(
        "Storm: 10,000 expired grants; no loss, the provider's limit kept, callers first",
        ("storm",),
        (
            Bound("logins", "≥", 10_000),
            Bound("lost", "=", 0),
            Bound("refreshes in the busiest second after the first 429", "≤", 10),
            Bound("callers waited, p95 (s)", "≤", 2),
        ),
    ),
    Goal(
        "Storm in real time: 200 expired grants",
        ("storm-real-time",),
        (
            Bound("logins", "≥", 200),
            Bound("lost", "=", 0),
            Bound("refreshes in the busiest second", "≤", 10),
            Bound("callers waited, p95 (s)", "≤", 2),
        ),
    ),
    Goal(
        "Sleep: after 8 h, 95 % of 50 logins usable in 3 s, one refresh each",
        ("wake",),
        (
            Bound("p95_s", "≤", 3),
            Bound("refreshes_each_at_most", "≤", 1),
            Bound("lost", "=", 0),
        ),
    ),
    Goal(
        "A provider away for 30 days: no false request to sign in",
        ("field-outage",),
        (Bound("days", "≥", 30), Bound("false requests to sign in", "=", 0)),
    ),
    Goal(
        "A full disk, a clock that is a year off, a backup put back: no false request to sign in",
        ("field-disk-full", "field-clock-*", "field-backup-*"),
        (Bound("false requests to sign in", "=", 0),),
    ),
    Goal(
        "Disks that fail, are full or read-only: no login lost, no false request to sign in",
        ("disk",),
        (Bound("logins lost", "=", 0), Bound("false calls for a login", "=", 0)),
    ),
    Goal(
        "Every life of a token: no more refreshes than the policy says",
        ("field-expires-in-*",),
        (Bound("measured, refreshes per hour", "≤ 2 % over", "policy, refreshes per hour"),),
    ),
    Goal(
        "Soak: no growth of memory, descriptors and tasks for 100,000 refreshes, no login lost",
        ("soak",),
        (
            Bound("refreshes", "≥", 5_000),
            Bound("objects, per 100,000", "≤", 2_000),
            Bound("resident KiB, per 100,000", "≤", 20_000),
            Bound("descriptors", "≤", 0),
            Bound("tasks", "≤", 0),
            Bound("lost", "=", 0),
        ),
    ),
    Goal(
        "Tool discovery: of paraphrased questions .80 have a right tool among the first five, MRR "
        ".70, on the half that nothing was tuned on as well",
        ("tool-discovery",),
        (
            Bound("queries", "≥", 80),
            Bound("tools", "≥", 100),
            Bound("recall@5, all", "≥", 0.80),
            Bound("recall@5, held out", "≥", 0.80),
            Bound("MRR, all", "≥", 0.70),
            Bound("MRR, held out", "≥", 0.70),
        ),
    ),
    Goal(
        "Tool discovery among 10,000 tools",
        ("tool-discovery-10000",),
        (Bound("tools", "≥", 10_000), Bound("recall@5", "≥", 0.80), Bound("MRR", "≥", 0.60)),
    ),
)


def load_proofs(folder: Path) -> tuple[Proof, ...]:
    """Every record in the folder, by name. A record that cannot be read is an error."""
    proofs = []
    for path in sorted(folder.glob("*.json")):
        fields = json.loads(path.read_text(encoding="utf-8"))
        proofs.append(Proof(fields["name"], fields["goal"], fields["held"], fields["figures"]))
    return tuple(proofs)


def judge(goal: Goal, proofs: Sequence[Proof]) -> Verdict:
    """Held, missed, or missing; `seen` says what was seen, or what is wrong."""
    found = tuple(p for p in proofs if any(fnmatch(p.name, name) for name in goal.records))
    if not found:
        return Verdict(goal, State.MISSING, "no record of it", ())
    totals = {
        name: sum(_number(proof.figures.get(name)) or 0 for proof in found) for name in goal.sums
    }
    together = [bound for bound in goal.bounds if bound.figure in goal.sums]
    each = [bound for bound in goal.bounds if bound.figure not in goal.sums]
    complaints = [complaint for bound in together if (complaint := bound.complaint(totals))]
    complaints += [
        f"{proof.name}: {complaint}"
        for proof in found
        for bound in each
        if (complaint := bound.complaint(proof.figures))
    ]
    if complaints:
        return Verdict(goal, State.MISSED, "; ".join(complaints), found)
    seen = [f"{name}: {total:,.0f}" for name, total in totals.items()]
    return Verdict(goal, State.HELD, "; ".join(seen or [p.held for p in found]), found)


def further(proofs: Sequence[Proof]) -> tuple[Verdict, ...]:
    """Records of no goal in the table: shown too, and missed if they count a loss."""
    known = [name for goal in GOALS for name in goal.records]
    verdicts = []
    for proof in proofs:
        if any(fnmatch(proof.name, name) for name in known):
            continue
        losses = tuple(Bound(name, "=", 0) for name in proof.figures if name in LOSSES)
        verdicts.append(judge(Goal(proof.goal, (proof.name,), losses), [proof]))
    return tuple(verdicts)


LOSSES: Final = frozenset({"lost", "logins lost", "lost by us", "false requests to sign in"})


def _number(value: object) -> float | None:
    """A figure as a number, a share such as 60% too."""
    if isinstance(value, str):
        value = value.removesuffix("%").strip()
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
