"""The report as one page that needs nothing beside it.

Law: shows what was measured and how to measure it again; everything is escaped.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from tests.report.goals import Proof, State, Verdict
from tests.simulation.progress import Progress

WANTED_YEARS: Final = 10_000
BUG: Final = "bug: "
FAULT: Final = "fault: "

STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; }
th, td { border-bottom: 1px solid #8884; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
.held { color: #137333; } .missed { color: #c5221f; font-weight: 600; } .missing { color: #8a6d00; }
@media (prefers-color-scheme: dark) {
  .held { color: #7ddc92; } .missed { color: #ff8a80; } .missing { color: #e6c65c; }
}
code, pre { background: #8882; padding: .1rem .3rem; border-radius: .2rem; overflow-x: auto; }
details { margin: .2rem 0; }
"""

AGAIN: Final = """make test                                        # every figure, in its short size
make sim SEED=1 YEARS=10000 ENGINE=memory        # goes on where it stopped
make sim SEED=1 YEARS=100 ENGINE=sqlite
.venv/bin/python -m tests.simulation --seed N    # a seed that found something, with its story
make report                                      # this page
"""


def page(
    verdicts: Sequence[Verdict], others: Sequence[Verdict], runs: Sequence[Progress], at: datetime
) -> str:
    """The whole page."""
    proofs = [proof for verdict in (*verdicts, *others) for proof in verdict.proofs]
    counts = Counter(verdict.state for verdict in (*verdicts, *others))
    summary = ", ".join(f"{counts[state]} {state}" for state in State)
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>mcpproxy: reliability</title>",
        f"<style>{STYLE}</style><h1>What is proven</h1>",
        f"<p>{summary}. Measured figures only; built {at.astimezone(UTC):%Y-%m-%d %H:%M} UTC.</p>",
        "<h2>Figure by figure</h2>",
        _table(("goal", "seen", ""), [_row(verdict) for verdict in verdicts]),
        "<h2>The long simulation</h2>",
        _runs(runs),
        "<h2>Planted bugs</h2>",
        _bugs(proofs),
        "<h2>Faults that the simulations met</h2>",
        _faults(proofs, runs),
        "<h2>Further records</h2>" if others else "",
        _table(("goal", "seen", ""), [_row(verdict) for verdict in others]) if others else "",
        f"<h2>Measure it again</h2><pre>{escape(AGAIN)}</pre></html>",
    ]
    return "\n".join(parts)


def _row(verdict: Verdict) -> str:
    figures = "".join(_figures(proof) for proof in verdict.proofs)
    more = f"<details><summary>figures</summary>{figures}</details>" if figures else ""
    state = f"<span class={verdict.state}>{verdict.state}</span>"
    return f"<tr><td>{escape(verdict.goal.promise)}{more}<td>{escape(verdict.seen)}<td>{state}"


def _figures(proof: Proof) -> str:
    shown = {k: v for k, v in proof.figures.items() if not k.startswith((BUG, FAULT))}
    rows = "".join(f"<tr><td>{escape(k)}<td class=n>{escape(str(v))}" for k, v in shown.items())
    return f"<p>{escape(proof.name)}: {escape(proof.goal)}</p><table>{rows}</table>"


def _table(heads: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(text)}" for text in heads)
    return f"<table><tr>{head}{''.join(rows)}</table>"


def _runs(runs: Sequence[Progress]) -> str:
    if not runs:
        return "<p class=missing>missing: no long run was made on this checkout</p>"
    rows = []
    for run in runs:
        state = State.MISSED if run.failed else State.HELD
        word = "nothing found" if not run.failed else f"found by seeds {', '.join(run.failed)}"
        rows.append(
            f"<tr><td>{escape(run.engine)}, {len(run.done)} seeds from {run.first_seed}"
            f"<td class=n>{run.token_years:,.1f} of {WANTED_YEARS:,}<td class=n>{run.refreshes:,}"
            f"<td class=n>{sum(run.faults.values()):,}<td class={state}>{escape(word)}"
            f"<td><code>{escape(run.code)}</code>"
        )
    return _table(("run", "token-years", "refreshes", "faults", "", "code"), rows)


def _bugs(proofs: Sequence[Proof]) -> str:
    bugs = [
        (name.removeprefix(BUG), seed)
        for proof in proofs
        for name, seed in proof.figures.items()
        if name.startswith(BUG)
    ]
    if not bugs:
        return "<p class=missing>missing: nobody looked for them</p>"
    rows = [f"<tr><td>{escape(name)}<td class=n>{escape(str(seed))}" for name, seed in bugs]
    return _table(("bug", "found by seed"), rows)


def _faults(proofs: Sequence[Proof], runs: Sequence[Progress]) -> str:
    counts: Counter[str] = Counter()
    for proof in proofs:
        for name, count in proof.figures.items():
            if name.startswith(FAULT):
                counts[name.removeprefix(FAULT)] += int(count)
    for run in runs:
        counts.update(run.faults)
    if not counts:
        return "<p class=missing>missing</p>"
    rows = [f"<tr><td>{escape(_words(name))}<td class=n>{n:,}" for name, n in _sorted(counts)]
    return _table(("fault", "met"), rows)


def _sorted(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _words(name: str) -> str:
    return name.lower().replace("_", " ")
