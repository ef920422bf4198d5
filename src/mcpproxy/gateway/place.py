"""Where a client is: the face at a path, and who it is there."""

from collections.abc import Callable
from dataclasses import dataclass

from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.faces import Face


@dataclass(frozen=True, slots=True)
class Place:
    """`caller` is who asked, or the same with less reach where the place shows less."""

    face: Face
    caller: Caller


FaceOf = Callable[[str, Caller], Place | None]
"""The place at a path below the endpoint (`""`, `/all`, `/call`, `/s/NAME`), if there is one."""
