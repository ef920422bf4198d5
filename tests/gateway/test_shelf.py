"""A shelf after many changes is what it would be if it were filled at once."""

import random
from dataclasses import dataclass

import pytest

from mcpproxy.gateway.shelf import Shelf


@dataclass(frozen=True)
class Thing:
    name: str


@dataclass(frozen=True)
class Labelled:
    server: str
    name: str
    thing: Thing


def shelf(labels: int) -> Shelf[Thing, Labelled]:
    """The fewer labels there are, the more things collide."""

    def label(server: str, thing: Thing) -> Labelled:
        number = int.from_bytes(f"{server}{thing.name}".encode()) % labels
        return Labelled(server, f"label-{number}", thing)

    return Shelf(label)


@pytest.mark.parametrize("labels", [20, 10**9], ids=["with collisions", "without"])
@pytest.mark.parametrize("seed", range(20))
def test_changes_in_any_order_lead_to_the_same_names(seed: int, labels: int) -> None:
    chance = random.Random(seed)
    changed, last = shelf(labels), dict[str, tuple[Thing, ...]]()
    for _ in range(30):
        server = chance.choice("abcdef")
        names = chance.sample("ghijklmnop", chance.randint(0, 4))
        last[server] = tuple(Thing(name) for name in names)
        revision = changed.revision
        assert changed.replace(server, last[server]) == (changed.revision > revision)
        filled = shelf(labels)
        for each in sorted(last):
            filled.replace(each, last[each])
        assert list(changed) == list(filled)
        assert len(changed) == len(filled)
        assert [changed.find(entry.name) for entry in changed] == list(changed)
