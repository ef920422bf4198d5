"""Asking the provider whether the person at the other device is done (RFC 8628).

Law: one question at a time, never sooner than the provider allows; a slower pace that it asked
for outlives the process.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from mcpproxy.core.errors import StoreError
from mcpproxy.core.pending_login import PendingLogin
from mcpproxy.core.ports import Store
from mcpproxy.core.provider_ports import DeviceWait, LoginConversation


class DevicePolls:
    """The polls of one login; `pause` is how long to wait before the next."""

    def __init__(self, login: PendingLogin, conversation: LoginConversation, store: Store) -> None:
        if login.device is None:
            raise AssertionError("this login is not at another device")
        self._login = login
        self._device = login.device
        self._conversation = conversation
        self._store = store
        self.pause: timedelta = login.device.interval

    async def ask(self) -> PendingLogin | None:
        """Ask once: the login with the provider's answer, unread; None while there is none.
        Raises LoginError.
        """
        said = await self._conversation.poll_device(self._login)
        if not isinstance(said, DeviceWait):
            return replace(self._login, answer=said)
        self.pause = said.pause
        if said.interval != self._device.interval:
            self._device = replace(self._device, interval=said.interval)
            self._login = replace(self._login, device=self._device)
            with suppress(StoreError):  # then the next process asks too soon once, and is told so
                await self._store.save_login(self._login)
        return None
