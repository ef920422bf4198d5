"""One server's bug told to those who look after the program, without stopping anybody else.

Law: told once for as long as it lasts, by the event loop's exception handler.
"""

import asyncio
import logging

_log = logging.getLogger("mcpproxy.observability")


class Faults:
    """What went wrong where, and has been told."""

    def __init__(self, doing: str) -> None:
        """`doing` completes "a bug while ..."."""
        self._doing = doing
        self._told: dict[str, type[Exception]] = {}

    def tell(self, place: str, error: Exception) -> None:
        """Tell of it, unless it is what was told of this place last."""
        if self._told.get(place) is type(error):
            return
        self._told[place] = type(error)
        message = f"a bug while {self._doing} {place!r}"
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            _log.error(message, exc_info=error)
        else:
            loop.call_exception_handler({"message": message, "exception": error})

    def over(self, place: str) -> None:
        self._told.pop(place, None)
