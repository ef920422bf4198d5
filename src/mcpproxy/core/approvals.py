"""What a person, or a first sight, approved of: one tool definition of one server.

Law: only what was approved is written; whether a definition is approved now is derived from it.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Trust(StrEnum):
    """Who let a definition pass first."""

    PERSON = "person"
    FIRST_SIGHT = "first_sight"


@dataclass(frozen=True, slots=True)
class Approval:
    """`digest` is of the canonical definition, `wire_digest` of the bytes it last came in.

    `definition` is the canonical text, so that a change can be shown; empty when it was too long.
    `seen_at` is when its server last listed it, within a week; None: when it was approved.
    """

    server: str
    tool: str
    digest: str
    wire_digest: str
    definition: bytes
    approved_at: datetime
    trust: Trust = Trust.PERSON
    seen_at: datetime | None = None


class Held(StrEnum):
    """Why a definition waits for a person."""

    NEW = "new"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class HeldTool:
    """A tool that is not offered until somebody approves of this very definition.

    `before` and `definition` are canonical JSON texts; `before` is empty when there was none.
    """

    server: str
    tool: str
    reason: Held
    digest: str
    before: bytes
    definition: bytes


class Standing(StrEnum):
    """What is to be said of one tool of one server."""

    OFFERED = "offered"
    HELD_NEW = "held_new"
    HELD_CHANGED = "held_changed"
    DISABLED = "disabled"
    HIDDEN = "hidden"
    """Its definition is one that no client could read."""
    ABSENT = "absent"
    UNKNOWN = "unknown"
    """The server has not said yet what it offers."""
