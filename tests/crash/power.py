"""Power loss: some hundred refreshes are recorded, then cut off at every operation of the disk.

`python -m tests.crash.power --every 1 --subsets 4 --seed N` opens every image there is.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from mcpproxy.core.errors import McpproxyError
from mcpproxy.core.lifecycle import plan
from mcpproxy.core.model import Grant, Phase
from mcpproxy.custody.refresh import Refresh
from mcpproxy.storage.engines import VAULT, Opening, open_sqlite
from mcpproxy.storage.keys import StaticKey
from mcpproxy.storage.runner import InlineRunner
from tests.crash.ground import Decision, Ground, Policy, names, policies
from tests.crash.images import Disk, Image
from tests.crash.recorder import Kind, Operation, RecordedConnection, Recorder
from tests.crash.seeding import CLOCK, a_login, token_index
from tests.crash.virtual import ISSUER, LIFE, VirtualProvider, scratch, tools
from tests.simulation.clock import SimClock
from tests.simulation.loop import run_virtually

LOGINS: Final = 5


@dataclass(frozen=True, slots=True)
class Promise:
    """What holds once so many operations were asked for: the vault promised this revision, the
    provider's newest refresh token is `live`.
    """

    operations: int
    revision: int = 0
    live: int = 1


@dataclass(slots=True)
class History:
    """What was recorded: where it began, the disk's operations, what was promised when."""

    begin: Image
    operations: list[Operation]
    promises: dict[str, list[Promise]]
    refreshes: int = 0

    def promise(self, name: str, **changes: int) -> None:
        story = self.promises[name]
        story.append(replace(story[-1], operations=len(self.operations), **changes))

    def at(self, name: str, operations: int) -> Promise:
        story = self.promises[name]
        return story[bisect_right(story, operations, key=lambda each: each.operations) - 1]


async def record(directory: Path, refreshes: int, seed: int) -> History:
    """Refresh that often, several logins at once, and write down what the disk was asked for."""
    chance, clock = random.Random(seed), SimClock(asyncio.get_running_loop())
    logins = names(LOGINS, Policy.UNTIL_USED)
    ground = Ground(seed, policies(logins))
    opening = Opening(directory, StaticKey(), clock, runner=InlineRunner)
    vault = await open_sqlite(opening)
    for name in logins:
        await vault.store.replace_grant(a_login(ground, ISSUER, name, life=LIFE, clock=clock))
    await vault.store.close()

    def committed(connection: RecordedConnection) -> None:
        for name, revision in connection.execute("SELECT server, revision FROM grants"):
            if history.promises[name][-1].revision != revision:
                history.promise(name, revision=revision)

    recorder = Recorder(committed)
    begin = {VAULT: (directory / VAULT).read_bytes()}
    history = History(begin, recorder.log, {name: [Promise(0)] for name in logins})
    vault = await open_sqlite(replace(opening, connect=recorder.connect))

    def decided(decision: Decision) -> None:
        history.promise(decision.grant, live=decision.issued)
        history.refreshes += 1

    custody = tools(vault, clock, VirtualProvider(ground, chance, decided), chance)
    while history.refreshes < refreshes:
        await asyncio.sleep(LIFE.total_seconds())
        await asyncio.gather(
            *(
                Refresh(custody, name, lambda grant: plan(grant, clock.now())).run()
                for name in logins
            )
        )
    await vault.store.close()
    return history


# --- after the power is back ------------------------------------------------------------------


@dataclass(slots=True)
class Losses:
    """What came of the images: how many were opened, and what was wrong with them."""

    refreshes: int
    operations: int
    seed: int
    images: int = 0
    wrong: list[str] = field(default_factory=list)


def cut_off(history: History, directory: Path, *, every: int, subsets: int, seed: int) -> Losses:
    """Open what a power cut leaves after one operation out of `every`."""
    chance, disk = random.Random(seed), Disk(history.begin)
    losses = Losses(history.refreshes, len(history.operations), seed)
    with asyncio.Runner() as runner:
        for number, operation in enumerate(history.operations, 1):
            disk.take(operation)
            if chance.randrange(every):
                continue
            for image in disk.images(chance, subsets):
                losses.images += 1
                for complaint in runner.run(_open(image, directory, history, number)):
                    losses.wrong.append(f"after operation {number}: {complaint}")
    return losses


async def _open(image: Image, directory: Path, history: History, operations: int) -> list[str]:
    """What the product makes of this image, with its own storage; complaints."""
    for left in directory.iterdir():
        left.unlink()
    for name, content in image.items():
        (directory / name).write_bytes(content)
    try:
        vault = await open_sqlite(Opening(directory, StaticKey(), CLOCK, runner=InlineRunner))
        grants = {grant.server: grant for grant in await vault.store.load_grants()}
        damaged = vault.store.damaged()
        await vault.store.close()
    except McpproxyError as error:
        return [f"it does not open: {error.message}"]
    complaints = [f"{name} is damaged: {error.message}" for name, error in damaged.items()]
    for name in history.promises:
        complaints += _judge(name, grants.get(name), history.at(name, operations))
    return complaints


def _judge(name: str, grant: Grant | None, promise: Promise) -> Iterator[str]:
    if grant is None or grant.tokens.refresh_token is None:
        yield f"{name} is gone"
        return
    if grant.revision < promise.revision:
        yield f"{name} is at revision {grant.revision}, {promise.revision} was promised"
    index = token_index(grant)
    attempt = grant.attempt
    is_noted = attempt is not None and attempt.phase is Phase.SENDING
    if index != promise.live and not (index == promise.live - 1 and is_noted):
        yield f"{name} holds token {index}, the provider is at {promise.live}"


def on_a_disk_that_lies(history: History) -> History:
    """The same on a disk that says 'synced' and keeps what it was given in its cache."""

    def unsynced(operation: Operation) -> Operation:
        if operation.kind is Kind.SYNC:
            return Operation(Kind.CREATE, operation.name)  # it is there: nothing happens
        return operation._replace(durable=False)

    return replace(history, operations=[unsynced(each) for each in history.operations])


def lose_power(
    *,
    refreshes: int,
    every: int,
    subsets: int,
    seed: int,
    disk: Callable[[History], History] = lambda history: history,
) -> Losses:
    """Record, cut, open."""
    where = scratch()
    with (
        tempfile.TemporaryDirectory(prefix="mcpproxy-power-", dir=where) as recorded,
        tempfile.TemporaryDirectory(prefix="mcpproxy-power-", dir=where) as opened,
    ):
        history = disk(run_virtually(record(Path(recorded), refreshes, seed)))
        return cut_off(history, Path(opened), every=every, subsets=subsets, seed=seed)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.power", description=__doc__)
    parser.add_argument("--refreshes", type=int, default=500)
    parser.add_argument("--every", type=int, default=1, help="one operation out of so many")
    parser.add_argument("--subsets", type=int, default=4, help="random ones of each moment")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    began = time.monotonic()
    losses = lose_power(**vars(options))
    print(f"{time.monotonic() - began:.0f} s", losses, sep="\n")
    return 1 if losses.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
