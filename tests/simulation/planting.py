"""How a bug is planted: a name in the product stands for something else for a while."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mcpproxy.custody.refresh import Refresh
from mcpproxy.custody.refresh_manager import RefreshManager
from tests.simulation.run import Setting
from tests.simulation.settings import BUSY


@dataclass(frozen=True, slots=True)
class Mutant:
    """A planted bug, and the world in which it shows soonest."""

    name: str
    plant: Callable[[], Any]
    setting: Setting = BUSY


@contextmanager
def replaced(*places: tuple[Any, str, Any]) -> Iterator[None]:
    """The named attributes are these, for a while."""
    before = [(place, name, vars(place)[name]) for place, name, _ in places]
    try:
        for place, name, value in places:
            setattr(place, name, value)
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)


def everywhere(original: object, value: object) -> Any:
    """Whatever module of the product knows `original` under whatever name knows `value` instead."""
    modules = [module for name, module in sys.modules.items() if name.startswith("mcpproxy.")]
    places = [
        (module, name, value)
        for module in modules
        for name, known in list(vars(module).items())
        if known is original
    ]
    if not places:
        raise AssertionError("nothing in the product is called that")
    return replaced(*places)


def manager_of(one: Refresh) -> RefreshManager:
    """Whose `decide` this refresh was given."""
    manager = getattr(one._decide, "__self__", None)
    if not isinstance(manager, RefreshManager):
        raise AssertionError("a refresh decides by its manager")
    return manager
