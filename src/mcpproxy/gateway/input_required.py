"""An upstream of the stateless era that needs more before it can answer (2026-07-28, MRTR).

Law: a client of that era gets its answer untouched and asks again by itself. For an older one its
questions are asked here, and the request is repeated with the answers, a bounded number of times.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Raw

from mcpproxy.gateway.asking import ASKABLE, ask
from mcpproxy.gateway.flights import Flight
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

_MARK: Final = b'"input_required"'
_STATE: Final = "requestState"
# Between two tries of a request that the server only wants to see again: doubling up to the last.
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0

Retry = Callable[[Members], Awaitable[Members]]
"""Sends the request again with these params besides its own; the response."""


def wanted_input(response: Members) -> Members | None:
    """The result of a response that asks for more; None for any other response."""
    raw = response.get("result")
    if raw is None or _MARK not in bytes(raw):
        return None
    result = jsonrpc.members(raw)
    return result if bytes(result.get("resultType", b"")) == _MARK else None


async def answered_by(
    flight: Flight, wanted: Members, retry: Retry, limits: GatewayLimits
) -> Members:
    """The response of the upstream, once the client of the call has answered what it asks.

    An error response when the client cannot, or when the upstream asks for ever.
    """
    pause = _FIRST_PAUSE
    for _ in range(limits.max_ask_rounds):
        asked = jsonrpc.members(wanted.get("inputRequests"))
        more: Members = {}
        if asked:
            answers = await _answers(flight, asked, limits)
            if "error" in answers:
                return answers
            more["inputResponses"] = answers["result"]
        else:
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        if _STATE in wanted:
            more[_STATE] = wanted[_STATE]
        response = await retry(more)
        again = wanted_input(response)
        if again is None:
            return response
        wanted = again
    return _failed(f"the server asked for more after {limits.max_ask_rounds} answers")


async def _answers(flight: Flight, asked: Members, limits: GatewayLimits) -> Members:
    """A response with the answers by the names of the questions, or with the first error."""
    if len(asked) > limits.max_asked_at_once:
        return _failed(f"the server asked {len(asked)} questions at once")
    answers: Members = {}
    for name, question in asked.items():
        request = jsonrpc.members(question)
        method = jsonrpc.text(request.get("method")) or ""
        if method not in ASKABLE:
            return _failed(f"the server asked for {method or 'nothing'}")
        answer = await ask(flight, method, _as_older(request.get("params")), limits)
        if "result" not in answer:
            return answer
        answers[name] = answer["result"]
    return jsonrpc.result(jsonrpc.raw(answers))


def _as_older(params: Raw | None) -> Raw | None:
    """The params of a question as clients of 2025-11-25 know it: an address has an id there."""
    if params is None or b'"url"' not in bytes(params):
        return params
    given = jsonrpc.members(params)
    if jsonrpc.text(given.get("mode")) == "url" and "elicitationId" not in given:
        given["elicitationId"] = jsonrpc.raw(secrets.token_urlsafe(16))
        return jsonrpc.raw(given)
    return params


def _failed(why: str) -> Members:
    return jsonrpc.error(jsonrpc.UPSTREAM_ERROR, f"The request cannot be completed: {why}")
