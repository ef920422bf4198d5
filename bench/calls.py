"""tools/call, straight to a server and through the proxy, in turns, from one client process."""

import asyncio
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

ROUNDS = 5
CALLS = 400


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to call `tool`; `headers` carry the key."""

    name: str
    url: str
    tool: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one endpoint at one concurrency: medians over the rounds."""

    p50_ms: float
    per_second: float


async def measure(endpoints: list[Endpoint], connections: int) -> dict[str, Figures]:
    """Rounds go round the endpoints, so that a slow moment of the machine meets them all."""
    latencies: dict[str, list[float]] = {endpoint.name: [] for endpoint in endpoints}
    rates: dict[str, list[float]] = {endpoint.name: [] for endpoint in endpoints}
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector) as http:
        sessions = {endpoint.name: await _initialize(http, endpoint) for endpoint in endpoints}
        for _ in range(ROUNDS):
            for endpoint in endpoints:
                began = time.perf_counter()
                took = await _round(http, endpoint, sessions[endpoint.name], connections)
                rates[endpoint.name].append(CALLS / (time.perf_counter() - began))
                latencies[endpoint.name].append(statistics.median(took) * 1000)
    return {
        endpoint.name: Figures(
            statistics.median(latencies[endpoint.name]), statistics.median(rates[endpoint.name])
        )
        for endpoint in endpoints
    }


async def _initialize(http: aiohttp.ClientSession, endpoint: Endpoint) -> Mapping[str, str]:
    headers = {**endpoint.headers, "accept": "application/json, text/event-stream"}
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "bench", "version": "1"},
    }
    body = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    async with http.post(endpoint.url, json=body, headers=headers) as answer:
        answer.raise_for_status()
        await answer.read()
        session = answer.headers.get("mcp-session-id")
    if session:
        headers["mcp-session-id"] = session
    headers["mcp-protocol-version"] = "2025-11-25"
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    async with http.post(endpoint.url, json=note, headers=headers) as answer:
        await answer.read()
    return headers


async def _round(
    http: aiohttp.ClientSession, endpoint: Endpoint, headers: Mapping[str, str], connections: int
) -> list[float]:
    took: list[float] = []
    left = iter(range(CALLS))

    async def caller() -> None:
        for number in left:
            began = time.perf_counter()
            await _call(http, endpoint, headers, number)
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(caller() for _ in range(connections)))
    return took


async def _call(
    http: aiohttp.ClientSession, endpoint: Endpoint, headers: Mapping[str, str], number: int
) -> None:
    body: dict[str, Any] = {
        "jsonrpc": "2.0",
        "id": number,
        "method": "tools/call",
        "params": {"name": endpoint.tool, "arguments": {"text": "hello"}},
    }
    async with http.post(endpoint.url, json=body, headers=headers) as answer:
        content = await answer.read()
        if answer.status != 200 or b"hello" not in content:
            raise AssertionError(f"{endpoint.name} answered {answer.status}: {content[:200]!r}")
