"""A provider of one-time refresh tokens that takes so many refreshes in any one second."""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import parse_qs

from mcpproxy.core.http import HttpReply, HttpRequest, NoReply

LIMIT: Final = 10
"""Refreshes in any one second; what is more gets a 429."""


class LimitedProvider:
    """A provider of one-time refresh tokens that counts what it is asked in each second."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._second: deque[float] = deque()
        self.generations: dict[str, int] = {}
        self.reused: list[str] = []
        self.complained: list[float] = []
        self.asked: list[float] = []

    async def exchange(
        self,
        request: HttpRequest,
        *,
        before_send: Callable[[], Awaitable[None]] | None = None,
    ) -> HttpReply | NoReply:
        await asyncio.sleep(0.02)
        if before_send is not None:
            await before_send()
        reply = self.answer(parse_qs(request.body.decode())["refresh_token"][0])
        await asyncio.sleep(0.05)
        return reply

    def answer(self, token: str) -> HttpReply:
        """Process one refresh token."""
        now = self._loop.time()
        self.asked.append(now)
        while self._second and self._second[0] <= now - 1:
            self._second.popleft()
        if len(self._second) >= LIMIT:
            self.complained.append(now)
            return HttpReply(429, {"retry-after": "1"}, b"")
        self._second.append(now)
        name, _, number = token.rpartition("#")
        if int(number) != self.generations.get(name, 1):
            self.reused.append(token)
            return HttpReply(400, {}, b'{"error":"invalid_grant"}')
        self.generations[name] = int(number) + 1
        body = {
            "access_token": f"access-{name}-{int(number) + 1}",
            "refresh_token": f"{name}#{int(number) + 1}",
            "expires_in": 86_400,
        }
        return HttpReply(200, {"content-type": "application/json"}, json.dumps(body).encode())


def busiest_second(moments: list[float]) -> int:
    """The most of these in any one second."""
    window: deque[float] = deque()
    most = 0
    for at in moments:
        window.append(at)
        while window[0] <= at - 1:
            window.popleft()
        most = max(most, len(window))
    return most
