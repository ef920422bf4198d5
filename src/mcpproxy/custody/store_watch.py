"""Whether the store does its work, told when that changes."""

from mcpproxy.core.errors import McpproxyError, StoreTrouble
from mcpproxy.core.notices import StoreTroubled
from mcpproxy.core.ports import Publisher


class StoreWatch:
    """`trouble` is what the store suffers from, as far as it was met."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self.trouble: StoreTrouble | None = None

    def wrote(self, error: McpproxyError | None) -> None:
        """A write was tried: None says that the store took it."""
        if error is None:
            self._all_is_well()
        else:
            self.failed(error)

    def _all_is_well(self) -> None:
        if self.trouble is not None:
            self.trouble = None
            self._publisher.publish(StoreTroubled(None, ""))

    def was_read(self) -> None:
        """That it can be read says nothing of a full disk."""
        if self.trouble in (StoreTrouble.UNAVAILABLE, StoreTrouble.KEY_LOCKED):
            self._all_is_well()

    def failed(self, error: McpproxyError) -> None:
        """It was asked in vain."""
        trouble = getattr(error, "trouble", None) or StoreTrouble.UNAVAILABLE
        if trouble is not self.trouble:
            self.trouble = trouble
            self._publisher.publish(StoreTroubled(trouble.value, error.message))
