"""How many calls go at once: at each server and in all.

Law: a call that finds room never waits, not even for the event loop, and nobody asks whose it is.
Who waits is in a bounded queue with a deadline, and is told which bound it was that kept it. Places
that become free go round among callers and their clients; a full queue refuses who waits for most.
"""

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

from mcpproxy.core.control import Arguments, Bounds, Control
from mcpproxy.core.errors import Overloaded
from mcpproxy.core.ports import CallLoad
from mcpproxy.gateway.shares import Holder, Shares

ALL: Final = ""
"""The name of what is common to all servers; no server is called so."""


class Turns:
    """One bound. `bounds` may be changed while calls go on."""

    def __init__(self, where: str, bounds: Bounds) -> None:
        self.where = where
        self.bounds = bounds
        self.active = 0
        self._waiting: Shares[asyncio.Future[None]] = Shares()

    @property
    def waiting(self) -> int:
        return self._waiting.count

    def take(self) -> bool:
        """A place, if there is one and nobody waits for it."""
        limit = self.bounds.at_once
        if limit and (self.active >= limit or self._waiting.count):
            return False
        self.active += 1
        return True

    async def wait(self, holder: Holder) -> None:
        """A place, in turn. Raises Overloaded."""
        if self.take():
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(holder, turn)
        if self.waiting > self.bounds.waiting:
            self._refuse_one(holder)
        patience = self.bounds.patience.total_seconds()
        try:
            async with asyncio.timeout(patience):
                await turn
        except BaseException as error:
            self._waiting.drop(holder, turn)
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave()  # it was given a place and cannot use it
            if isinstance(error, TimeoutError):
                raise self._overloaded(
                    f"and none ended within {patience:g} s", "queue_timeout"
                ) from None
            raise

    def leave(self) -> None:
        self.active -= 1
        self.admit()

    def admit(self) -> None:
        """Give places that are free to those whose turn it is."""
        while self._waiting.count and (
            not self.bounds.at_once or self.active < self.bounds.at_once
        ):
            turn = self._waiting.next()
            if not turn.done():
                self.active += 1
                turn.set_result(None)

    def _refuse_one(self, last: Holder) -> None:
        """Of whom the most calls wait, the one that came last does not any more."""
        pays = self._waiting.most(last)
        turn = self._waiting.newest(pays)
        self._waiting.drop(pays, turn)
        if not turn.done():
            why = f"and {_calls(self.waiting)} waiting already"
            if pays != last:
                why += "; a client with fewer took this one's place"
            turn.set_exception(self._overloaded(why, "queue_size"))

    def _overloaded(self, why: str, second: str) -> Overloaded:
        prefix = "" if self.where == ALL else f"of {self.where} "
        whose = "mcpproxy" if self.where == ALL else self.where
        return Overloaded(
            f"{whose} has {_calls(self.active)} under way, {why}",
            next_step=f"try again later, or raise max_concurrent_requests or {second} "
            f"{prefix}in the configuration",
        )


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count} calls"


class Gate:
    """The way to one server: its own bound, then the one of all.

    A call lends its place while its client is asked: what the client must read or complete to
    answer would wait for the very call that waits for it.
    """

    __slots__ = ("_all", "_borrowed", "_lent", "_own")

    def __init__(self, own: Turns, common: Turns) -> None:
        self._own = own
        self._all = common
        self._lent = 0
        self._borrowed = 0

    def enter_now(self) -> bool:
        """Whether there was room; then `leave` is owed."""
        if not self._own.take():
            return False
        if self._all.take():
            return True
        self._own.leave()
        return False

    async def enter(self, holder: Holder) -> None:
        """In turn; then `leave` is owed. Raises Overloaded."""
        await self._own.wait(holder)
        try:
            await self._all.wait(holder)
        except BaseException:
            self._own.leave()
            raise

    def leave(self) -> None:
        self._all.leave()
        self._own.leave()

    def lend(self) -> None:
        self._lent += 1

    def take_back(self) -> None:
        """Who borrowed the place ends in its own time."""
        self._lent -= 1

    def borrow(self) -> bool:
        """Whether there was a place to borrow; then `give_back` is owed."""
        if self._borrowed >= self._lent:
            return False
        self._borrowed += 1
        return True

    def give_back(self) -> None:
        self._borrowed -= 1


class Gates:
    """A gate for every server that was called."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._all = Turns(ALL, control.bounds)
        self._turns: dict[str, Turns] = {}
        self._gates: dict[str, Gate] = {}

    def of(self, server: str) -> Gate:
        gate = self._gates.get(server)
        if gate is None:
            own = self._turns[server] = Turns(server, self._control.of(server).bounds)
            gate = self._gates[server] = Gate(own, self._all)
        return gate

    @property
    def keeps_arguments(self) -> bool:
        """Whether what is told of a call has its arguments in it."""
        return self._control.arguments is Arguments.KEPT

    def timeout(self, server: str, tool: str | None = None) -> timedelta | None:
        """How long a call of this tool, or a request for something else, may take, where that was
        said.
        """
        control = self._control.of(server)
        return control.call_timeout if tool is None else control.timeout(tool)

    def apply(self, control: Control, known: Callable[[str], bool]) -> None:
        """Other bounds from now on; what nobody can call any more is forgotten once it is idle."""
        self._control = control
        for server, turns in list(self._turns.items()):
            if not known(server) and not turns.active and not turns.waiting:
                del self._turns[server], self._gates[server]
                continue
            turns.bounds = control.of(server).bounds
            turns.admit()
        self._all.bounds = control.bounds
        self._all.admit()

    def loads(self) -> Iterator[CallLoad]:
        """Of all together under the name "", then of each server."""
        for turns in (self._all, *self._turns.values()):
            yield CallLoad(turns.where, turns.active, turns.waiting)
