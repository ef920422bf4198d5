"""What a client was asked and has not answered yet.

Law: an answer settles exactly the question whose id it names, in the session it was asked in; any
other is dropped. Every question ends: answered, given up, or without an answer in time.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from msgspec import Raw

from mcpproxy.gateway.streams import RUN, EventStream
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

_CANCELLED: Final = "notifications/cancelled"


@dataclass(slots=True, eq=False)
class Inquiry:
    """`stream` is where it went last."""

    id: Raw
    body: bytes
    answer: "asyncio.Future[Members]"
    stream: EventStream


class Inquiries:
    """The open questions of one session. `standing` is the stream of what belongs to no request,
    if somebody reads it.
    """

    def __init__(self, standing: Callable[[], EventStream | None]) -> None:
        self._standing = standing
        self._ids = itertools.count(1)
        self._open: dict[bytes, Inquiry] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Inquiry]:
        return iter(list(self._open.values()))

    async def ask(
        self, method: str, params: Raw | None, stream: EventStream, patience: float
    ) -> Members:
        """Put the question on the stream and wait for its answer."""
        # Not a bare number: an old client may still answer what the last run of us asked.
        question_id = jsonrpc.raw(f"{RUN}-{next(self._ids)}")
        message = {"jsonrpc": "2.0", "id": question_id, "method": method}
        body = jsonrpc.encode(message if params is None else {**message, "params": params})
        answer: asyncio.Future[Members] = asyncio.get_running_loop().create_future()
        question = Inquiry(question_id, body, answer, stream)
        self._open[bytes(question_id)] = question
        stream.put(body)
        try:
            async with asyncio.timeout(patience):
                return await answer
        except TimeoutError:
            self._withdraw(question, "nobody answered in time")
            return no_answer("The client did not answer in time")
        except asyncio.CancelledError:
            self._withdraw(question, "the server gave up its request")
            raise
        finally:
            self._open.pop(bytes(question_id), None)

    def settle(self, response: Members) -> None:
        question = self._open.get(bytes(response["id"]))
        if question is not None and not question.answer.done():
            question.answer.set_result(response)

    def fail(self, question: Inquiry, why: str) -> None:
        if not question.answer.done():
            question.answer.set_result(no_answer(why))

    def _withdraw(self, question: Inquiry, reason: str) -> None:
        # Nothing follows a response: then it is said where what belongs to no request is said.
        stream = self._standing() if question.stream.ended else question.stream
        if stream is not None and not stream.ended:
            params = jsonrpc.raw({"requestId": question.id, "reason": reason})
            stream.put(jsonrpc.notification(_CANCELLED, params))


def no_answer(why: str) -> Members:
    return jsonrpc.error(jsonrpc.UPSTREAM_ERROR, why)
