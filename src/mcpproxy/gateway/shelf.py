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
        self._by_own_name: dict[str, tuple[E, ...]] | None = None
        self.revision = 0

    def __iter__(self) -> Iterator[E]:
        """All entries, in the order of their names."""
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def replace(self, server: str, items: tuple[I, ...]) -> bool:
        """Put what a server offers now; whether that is anything new."""
        if items == self._items.get(server, ()):
            return False
        if items:
            self._items[server] = items
            self._by_server[server] = tuple(self._expose(server, item) for item in items)
        else:
            del self._items[server], self._by_server[server]
        self._index()
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

    def _index(self) -> None:
        self.revision += 1
        self._by_own_name = None
        entries = [entry for server in sorted(self._by_server) for entry in self._by_server[server]]
        entries.sort(key=lambda entry: (entry.name, entry.server))
        self._by_name = {}
        for entry in entries:
            # Two items under one name need a collision of digests; the first keeps it.
            self._by_name.setdefault(entry.name, entry)
