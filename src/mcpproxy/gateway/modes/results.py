"""Results as a model reads them: whole when they are short, else a beginning and `read_cache`.

Law: only where `read_cache` is offered is anything cut; in mode `direct` and at `/mcp/s/NAME`
results pass as they are.
"""

from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.cutting import fitted, note, piece
from mcpproxy.gateway.kept import KeptResults
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.modes.mode import text_error, text_result
from mcpproxy.gateway.wire.jsonrpc import Members


class Results:
    """Cuts what callers get, and lets them read on."""

    def __init__(self, kept: KeptResults, limits: GatewayLimits) -> None:
        self._kept = kept
        self._minutes = round(limits.kept_for.total_seconds() / 60)
        self.limit = limits.response_limit

    def fitted(self, caller: Caller, response: Members) -> Members:
        """The response, its result cut if it is too long."""
        result = response.get("result")
        if result is not None and 0 < self.limit < len(memoryview(result)):
            response["result"] = fitted(
                result, self.limit, lambda text: self._kept.keep(caller, text)
            )
        return response

    def read(self, caller: Caller, key: str, offset: int, limit: int | None) -> Members:
        text = self._kept.read(caller, key)
        if text is None:
            return text_error(
                "No result is kept under this key. A result is kept for its caller only, until "
                f"it was not read for {self._minutes} minutes, or until others needed the room. "
                "Call the tool again."
            )
        if not 0 <= offset < max(len(text), 1):
            return text_error(f"offset is {offset}; this result has {len(text)} characters.")
        shown = piece(text, offset, min(limit or self.limit, self.limit))
        return text_result(shown.text, note(shown, key))
