"""What a run proved, in figures: written by the tests that prove it, read by the report.

Law: a figure is recorded by whoever measured it, at the moment it was measured; the report only
shows what a run left behind, and says so where nothing was.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PROOFS: Final = Path(__file__).parents[1] / "test-results" / "proof"

Figure = int | float | str


def record(name: str, *, goal: str, held: str, figures: Mapping[str, Figure]) -> None:
    """Leave `figures` for the report under `name`, a file's name; what stood there is replaced.

    `goal` says in a sentence what was to be shown, `held` what was seen.
    """
    PROOFS.mkdir(parents=True, exist_ok=True)
    proof = {"name": name, "goal": goal, "held": held, "figures": dict(figures)}
    path = PROOFS / f"{name}.json"
    scratch = path.with_suffix(".part")
    scratch.write_text(json.dumps(proof, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    scratch.replace(path)
