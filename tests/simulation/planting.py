"""How a bug is planted: a name in the product stands for something else for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mcpproxy.custody.refresh import Refresh
from mcpproxy.custody.refresh_manager import RefreshManager


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


def manager_of(one: Refresh) -> RefreshManager:
    """Whose `decide` this refresh was given."""
    manager = getattr(one._decide, "__self__", None)
    if not isinstance(manager, RefreshManager):
        raise AssertionError("a refresh decides by its manager")
    return manager
