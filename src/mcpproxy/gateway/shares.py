"""What callers and their clients hold of something bounded, and who pays when it is full.

Law: whoever holds the most pays, on a tie whoever came last: first it is asked which caller, then
which of that caller's clients. Turns go round, so that one with much to do delays no other.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Holder(NamedTuple):
    """Who proved to be asking, and the session of theirs; all that comes without one is one."""

    caller: str
    client: str = ""


class _Share(Generic[T]):
    """Of one client: its things with their weights, the oldest first."""

    __slots__ = ("things", "weight")

    def __init__(self) -> None:
        self.things: dict[T, int] = {}
        self.weight = 0


class Shares(Generic[T]):
    """`count` is how many things there are, `weight` what all of them weigh."""

    __slots__ = ("_callers", "_weights", "count", "weight")

    def __init__(self) -> None:
        self._callers: dict[str, dict[str, _Share[T]]] = {}
        self._weights: dict[str, int] = {}
        self.count = 0
        self.weight = 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[T]:
        for clients in self._callers.values():
            for share in clients.values():
                yield from share.things

    def add(self, holder: Holder, thing: T, weight: int = 1) -> None:
        clients = self._callers.setdefault(holder.caller, {})
        share = clients.get(holder.client)
        if share is None:
            share = clients[holder.client] = _Share()
        share.things[thing] = weight
        share.weight += weight
        self._weights[holder.caller] = self._weights.get(holder.caller, 0) + weight
        self.weight += weight
        self.count += 1

    def drop(self, holder: Holder, thing: T) -> None:
        """It is held no more; nothing happens if it was not."""
        clients = self._callers.get(holder.caller, {})
        share = clients.get(holder.client)
        if share is None or thing not in share.things:
            return
        weight = share.things.pop(thing)
        share.weight -= weight
        self._weights[holder.caller] -= weight
        self.weight -= weight
        self.count -= 1
        if not share.things:
            del clients[holder.client]
        if not clients:
            del self._callers[holder.caller], self._weights[holder.caller]

    def most(self, last: Holder) -> Holder:
        """Who holds the most; on a tie `last`, if that is one of them. There must be something."""
        caller = _heaviest(self._weights, self._weights.__getitem__, last.caller)
        clients = self._callers[caller]
        client = _heaviest(clients, lambda name: clients[name].weight, last.client)
        return Holder(caller, client)

    def weight_of(self, holder: Holder) -> int:
        share = self._callers.get(holder.caller, {}).get(holder.client)
        return 0 if share is None else share.weight

    def above(self, total: int) -> Iterator[tuple[Holder, int]]:
        """Who has to give something up so that all together hold no more than `total`, and what is
        left to each: who holds the most pays, so that those who pay hold alike then.
        """
        level = _level(self._weights.values(), total)
        for caller, clients in self._callers.items():
            if self._weights[caller] > level:
                most = _level((share.weight for share in clients.values()), level)
                for client, share in clients.items():
                    if share.weight > most:
                        yield Holder(caller, client), most

    def oldest(self, holder: Holder) -> T:
        return next(iter(self._callers[holder.caller][holder.client].things))

    def newest(self, holder: Holder) -> T:
        return next(reversed(self._callers[holder.caller][holder.client].things))

    def next(self) -> T:
        """The oldest thing of whose turn it is, taken out: callers go round, and so do the clients
        of each.
        """
        caller, clients = next(iter(self._callers.items()))
        client, share = next(iter(clients.items()))
        thing = next(iter(share.things))
        self.drop(Holder(caller, client), thing)
        if client in clients:
            clients[client] = clients.pop(client)
        if caller in self._callers:
            self._callers[caller] = self._callers.pop(caller)
        return thing


def _heaviest(names: Iterable[str], weight: Callable[[str], int], last: str) -> str:
    return max(names, key=lambda name: (weight(name), name == last))


def _level(weights: Iterable[int], total: int) -> int:
    """The most that each may keep so that all keep no more than `total`."""
    left, rising = total, sorted(weights)
    for at, weight in enumerate(rising):
        most = left // (len(rising) - at)
        if weight > most:
            return most
        left -= weight
    return max(rising, default=0)
