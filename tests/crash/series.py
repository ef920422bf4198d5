"""Kills by the hundred: several daemons side by side, each with a data directory of its own."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Final

from tests.crash.killing import Arena, Toll
from tests.proof import Figure, record

DAEMONS: Final = 4
"""On two cores: a daemon that starts computes, one that settles waits."""

MOST_IN_ONE_LIFE: Final = 70
"""Kills after which everything begins anew, with logins of the strict provider that still live."""

LEAST_SHARE: Final = 0.25


def tolls(directory: Path, kills: int, seed: int) -> Iterator[Toll]:
    """Kill that often in all; every toll as it is known. The same seed kills by the same plan."""
    rounds = max(DAEMONS, -(-kills // MOST_IN_ONE_LIFE))
    shares = [kills // rounds + (number < kills % rounds) for number in range(rounds)]
    with ThreadPoolExecutor(DAEMONS) as pool:
        running = [
            pool.submit(_round, directory / str(number), seed + number, share)
            for number, share in enumerate(shares)
        ]
        for done in as_completed(running):
            yield done.result()


def _round(directory: Path, seed: int, kills: int) -> Toll:
    return Arena(directory, number=seed).run(kills)


def total(tolls: Sequence[Toll]) -> Toll:
    """All of them as one."""
    return Toll(
        seed=min(each.seed for each in tolls),
        kills=sum(each.kills for each in tolls),
        struck=sum(each.struck for each in tolls),
        refreshes=sum(each.refreshes for each in tolls),
        lost=tuple(name for each in tolls for name in each.lost),
        controls_lost=tuple(name for each in tolls for name in each.controls_lost),
        unexplained=sum(each.unexplained for each in tolls),
        strangers=sum(each.strangers for each in tolls),
        untrue=tuple(words for each in tolls for words in each.untrue),
        seconds=sum(each.seconds for each in tolls),
    )


def failures(toll: Toll, kills: int) -> list[str]:
    """What is wrong with it, in sentences; empty when the promise held."""
    wrong = []
    if toll.kills != kills:
        wrong.append(f"{toll.kills} kills were made, {kills} were wanted")
    if toll.lost:
        wrong.append(f"logins were lost: {', '.join(toll.lost)}")
    if toll.share < LEAST_SHARE:
        wrong.append(f"only {toll.share:.0%} of the kills struck a token under way")
    if not toll.controls_lost:
        wrong.append("the strict provider lost no login: the kills do not test anything")
    if toll.unexplained:
        wrong.append(f"{toll.unexplained} tokens were presented twice without a kill between")
    if toll.strangers:
        wrong.append(f"{toll.strangers} tokens were presented that nobody had issued")
    if toll.untrue:
        wrong.append(f"health was not true: {', '.join(toll.untrue)}")
    return wrong


def leave_for_the_report(toll: Toll) -> None:
    figures: dict[str, Figure] = {
        "kills": toll.kills,
        "kills between send and commit": toll.struck,
        "their share": f"{toll.share:.0%}",
        "refreshes": toll.refreshes,
        "logins lost": len(toll.lost),
        "logins lost at the strict provider (the control)": len(toll.controls_lost),
        "seed": toll.seed,
    }
    record(
        "crash",
        goal="kill -9 of the real daemon loses no login, wherever it strikes; at a provider that "
        "takes a token once, some must be lost, or nothing was tested",
        held=f"{toll.kills} kills, {len(toll.lost)} logins lost",
        figures=figures,
    )
