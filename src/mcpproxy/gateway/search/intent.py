"""What kind of thing is asked for and what a tool does: look, make, change, take away.

Law: a hint, never a filter. Who asks a question does not want to change anything; who wants to add
something does not want it deleted.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from mcpproxy.gateway.search.words import stem


class Action(StrEnum):
    LOOK = "look"
    MAKE = "make"
    CHANGE = "change"
    REMOVE = "remove"


_VERBS: Final = {
    Action.LOOK: """
        browse check compare count describe diff download examine explain export fetch find get
        history inspect list look lookup query read retrieve return search see show status summary
        tell view
        what which who whom whose when where why how did does is are was were
    """,
    Action.MAKE: """
        add append attach book commit create file fork generate insert invite launch make new post
        propose publish push raise record register reply report save schedule send start submit
        upload write
    """,
    Action.CHANGE: """
        adjust alter apply approve assign change close edit merge modify move patch rename replace
        reset resize revert scale set switch toggle update upgrade
    """,
    Action.REMOVE: """
        clear delete destroy discard drop erase forget purge remove trash uninstall unlink wipe
    """,
}
_ACTION_OF: Final[Mapping[str, Action]] = {
    stem(verb): action for action, verbs in _VERBS.items() for verb in verbs.split()
}
# How well a tool that does one thing suits who asks for another.
_UNLIKE: Final[Mapping[frozenset[Action], float]] = {
    frozenset({Action.LOOK, Action.MAKE}): 0.55,
    frozenset({Action.LOOK, Action.CHANGE}): 0.55,
    frozenset({Action.LOOK, Action.REMOVE}): 0.45,
    frozenset({Action.MAKE, Action.CHANGE}): 0.8,
    frozenset({Action.MAKE, Action.REMOVE}): 0.45,
    frozenset({Action.CHANGE, Action.REMOVE}): 0.65,
}


def action(words: Iterable[str]) -> Action | None:
    """The first of the words that says what is done, or None."""
    for word in words:
        found = _ACTION_OF.get(stem(word))
        if found is not None:
            return found
    return None


def suits(asked: Action | None, done: Action | None) -> float:
    """From 0 to 1: how well what is done suits what was asked for."""
    if asked is None or done is None or asked is done:
        return 1.0
    return _UNLIKE[frozenset({asked, done})]
