"""One kind of what all upstreams offer, under the names that clients see.

Law: an entry's name is made from its server and its own name only; it leads back by a table.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from mcpproxy.gateway.items import Item


class Named(Protocol):
    @property
    def name(self) -> str: ...


class Exposed(Protocol):
    """An item of one server under its name for clients."""

    @property
    def server(self) -> str: ...

    @property
    def name(self) -> str: ...


I = TypeVar("I", bound=Named)  # noqa: E741 - an item
E = TypeVar("E", bound=Exposed)


@dataclass(frozen=True, slots=True)
class Shown:
    """A resource, template or prompt. `definition` has the name that clients see in it."""

    server: str
    item: Item
    name: str
    definition: bytes


class Shelf(Generic[I, E]):
    """Entries by server and by name. `revision` grows with every change."""

    def __init__(self, expose: Callable[[str, I], E]) -> None:
        self._expose = expose
        self._items: dict[str, tuple[I, ...]] = {}
        self._by_server: dict[str, tuple[E, ...]] = {}
        self._by_name: dict[str, E] = {}
        self._in_order: list[E] | None = None
        self._collided = False
        self._by_own_name: dict[str, tuple[E, ...]] | None = None
        self.revision = 0

    def __iter__(self) -> Iterator[E]:
        """All entries, in the order of their names."""
        if self._in_order is None:
            self._in_order = sorted(self._by_name.values(), key=lambda entry: entry.name)
        return iter(self._in_order)

    def __len__(self) -> int:
        return len(self._by_name)

    def replace(self, server: str, items: tuple[I, ...]) -> bool:
        """Put what a server offers now; whether that is anything new."""
        if items == self._items.get(server, ()):
            return False
        before = self._by_server.get(server, ())
        if items:
            self._items[server] = items
            self._by_server[server] = tuple(self._expose(server, item) for item in items)
        else:
            del self._items[server], self._by_server[server]
        self._index(before, self._by_server.get(server, ()))
        return True

    def find(self, name: str) -> E | None:
        """By the name clients see."""
        return self._by_name.get(name)

    def of(self, server: str) -> tuple[E, ...]:
        return self._by_server.get(server, ())

    def called(self, own_name: str) -> tuple[E, ...]:
        """Those that their own servers call so."""
        if self._by_own_name is None:
            self._by_own_name = {}
            for server in sorted(self._items):
                pairs = zip(self._items[server], self._by_server[server], strict=True)
                for item, entry in pairs:
                    others = self._by_own_name.get(item.name, ())
                    self._by_own_name[item.name] = (*others, entry)
        return self._by_own_name.get(own_name, ())

    def _index(self, gone: tuple[E, ...], come: tuple[E, ...]) -> None:
        """Only what changed: with a hundred servers coming up it is done a hundred times."""
        self.revision += 1
        self._in_order = self._by_own_name = None
        if not self._collided:
            for entry in gone:
                self._drop(entry)
            for entry in come:
                if entry.name in self._by_name:
                    self._collided = True
                    break
                self._put(entry)
        if self._collided:
            self._index_anew()

    def _index_anew(self) -> None:
        """Two items under one name need a collision of digests; the first keeps it, in an order
        that does not depend on who came first.
        """
        for entry in list(self._by_name.values()):
            self._drop(entry)
        entries = [entry for server in self._by_server.values() for entry in server]
        for entry in sorted(entries, key=lambda entry: (entry.name, entry.server)):
            if entry.name not in self._by_name:
                self._put(entry)
        self._collided = len(self._by_name) != len(entries)

    def _put(self, entry: E) -> None:
        self._by_name[entry.name] = entry

    def _drop(self, entry: E) -> None:
        del self._by_name[entry.name]
