"""How far a long simulation came: a file that the next run goes on from.

Law: a figure counts for the code that it was measured on; other code begins anew.
"""

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from tests.simulation.run import Outcome

ROOT: Final = Path(__file__).parents[2]
RESULTS: Final = ROOT / "test-results" / "sim"


def code_fingerprint() -> str:
    """The first digits of a hash over the product and the simulator."""
    digest = hashlib.sha256()
    for folder in (ROOT / "src", ROOT / "tests" / "simulation"):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


@dataclass(slots=True)
class Progress:
    """What all seeds so far showed together. `failed` are the stories of seeds that found
    something.
    """

    engine: str
    first_seed: int
    code: str
    done: list[int] = field(default_factory=list)
    refreshes: int = 0
    token_years: float = 0.0
    in_transit: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return RESULTS / f"{self.engine}-{self.first_seed}.json"

    def next_seeds(self) -> "list[int]":
        """The seeds that were left out, and the first after all of them."""
        last = max(self.done, default=self.first_seed - 1)
        left = set(range(self.first_seed, last + 1)) - set(self.done)
        return [*sorted(left), last + 1]

    def add(self, outcome: Outcome) -> None:
        self.done.append(outcome.seed)
        self.refreshes += outcome.refreshes
        self.token_years += outcome.token_years
        self.in_transit += outcome.in_transit
        named = {fault.name: count for fault, count in outcome.faults.items()}
        self.faults = dict(sorted((Counter(self.faults) + Counter(named)).items()))
        if outcome.violations:
            self.failed[str(outcome.seed)] = str(outcome)

    def save(self) -> None:
        RESULTS.mkdir(parents=True, exist_ok=True)
        scratch = self.path.with_suffix(".part")
        scratch.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        scratch.replace(self.path)


def load(engine: str, first_seed: int) -> Progress:
    """Where the last run stopped; an empty one if there was none, or none on this code."""
    empty = Progress(engine, first_seed, code_fingerprint())
    try:
        known = Progress(**json.loads(empty.path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return empty
    return known if known.code == empty.code else empty
