"""What was learned of an upstream's era, remembered over restarts.

Law: a memory only saves a question. It is about one address or command, grows old, and is given
up for any evidence against it; without it everything works, one question later.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

import msgspec

from mcpproxy.core.errors import StoreError
from mcpproxy.core.model import Transport, Upstream
from mcpproxy.core.ports import Clock

_PREFIX: Final = "era:"


class Memory(Protocol):
    """A few small facts by name that outlive us, as the vault keeps them. Raises StoreError."""

    async def get_setting(self, name: str) -> str | None: ...

    async def set_setting(self, name: str, value: str) -> None: ...


class Forgetful:
    """A memory of this process only."""

    def __init__(self) -> None:
        self._facts: dict[str, str] = {}

    async def get_setting(self, name: str) -> str | None:
        return self._facts.get(name)

    async def set_setting(self, name: str, value: str) -> None:
        self._facts[name] = value


class Spoken(StrEnum):
    """What an upstream was found to speak."""

    LEGACY = "legacy"
    MODERN = "modern"
    """The stateless era, whatever else."""


class Learned(msgspec.Struct, frozen=True):
    """`about` is whom it was learned of: another address or command is another upstream."""

    about: str
    spoken: Spoken
    transport: Transport
    at: datetime


_decode: Final = msgspec.json.Decoder(Learned).decode


@dataclass(frozen=True, slots=True)
class EraMemory:
    """What is remembered of one upstream."""

    upstream: Upstream
    memory: Memory
    clock: Clock
    keep: timedelta

    async def recall(self) -> Learned | None:
        """What is known; None when it is nothing, about another, or too old to be believed.

        That an upstream is modern does not grow old: it is asked again at every connection.
        """
        try:
            said = await self.memory.get_setting(_PREFIX + self.upstream.name)
            learned = None if said is None else _decode(said)
        except (StoreError, msgspec.DecodeError):
            return None
        if learned is None or learned.about != _fingerprint(self.upstream):
            return None
        age = abs(self.clock.now() - learned.at)
        return learned if age < self.keep or learned.spoken is not Spoken.LEGACY else None

    async def learn(self, spoken: Spoken, transport: Transport) -> None:
        """Remember this, unless it is remembered already."""
        known = await self.recall()
        if known is not None and (known.spoken, known.transport) == (spoken, transport):
            return
        now = self.clock.now()
        learned = Learned(_fingerprint(self.upstream), spoken, transport, now)
        try:
            said = msgspec.json.encode(learned).decode()
            await self.memory.set_setting(_PREFIX + self.upstream.name, said)
        except StoreError:
            return  # the vault says itself that it takes nothing; the next connection asks again


def _fingerprint(upstream: Upstream) -> str:
    kind = upstream.transport.value
    place = (kind, upstream.url or "", upstream.command or "", *upstream.args)
    return hashlib.sha256("\0".join(place).encode("utf-8", "surrogateescape")).hexdigest()[:16]
