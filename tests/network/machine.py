"""A machine whose network a test changes: its addresses, and what its kernel says of them."""

import asyncio
from collections.abc import Callable

from mcpproxy.network.routes import Told
from mcpproxy.network.watch import NetworkWatch

HOME = "192.168.1.7"
CAFE = "10.0.0.5"


class Machine:
    """`say` is heard only on a machine whose kernel tells."""

    def __init__(self, *addresses: str, tells: bool = True) -> None:
        self.looks = 0
        self.is_heard = False
        self._addresses = frozenset(addresses)
        self._tells = tells
        self._hear: Callable[[Told], None] = lambda told: None

    def addresses(self) -> frozenset[str]:
        self.looks += 1
        return self._addresses

    def change(self, *addresses: str, told: Told = Told.STIR) -> None:
        """These are the addresses now; a kernel that tells says so."""
        self._addresses = frozenset(addresses)
        self.say(told)

    def say(self, told: Told) -> None:
        self._hear(told)

    def listen(self, hear: Callable[[Told], None]) -> "Machine | None":
        if not self._tells:
            return None
        self._hear, self.is_heard = hear, True
        return self

    def close(self) -> None:
        self._hear, self.is_heard = lambda told: None, False

    def watch(self) -> NetworkWatch:
        return NetworkWatch(self.addresses, self.listen)


class Diary:
    """When a watch told of a fresh network, in seconds of the loop."""

    def __init__(self) -> None:
        self.told_at: list[float] = []

    async def keep(self, watch: NetworkWatch) -> None:
        while True:
            await watch.fresh()
            self.told_at.append(asyncio.get_running_loop().time())
