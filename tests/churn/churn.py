"""Clients that come, cancel and go, configurations that change, upstreams that die: what is left?

Law: the gateway, its listener and the upstreams' connections are the product's own; every step is
drawn from a seed. What is counted is counted after everybody has left.
"""

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

from mcpproxy.core.model import Secret, Upstream
from mcpproxy.gateway.gateway import Gateway
from tests.churn.client import GONE, Client
from tests.churn.http_upstream import ForgetfulServer
from tests.gateway.world import FAST, KEY, Site, running, serving, until, without_lifespan
from tests.peers.process import ROOT

WORKERS: Final = 12
PATIENCE: Final = 15.0
"""Seconds after which a step that has no answer is a fault of ours."""

LIMITS: Final = replace(
    FAST,
    session_idle=timedelta(seconds=1),
    ask_timeout=timedelta(seconds=1),
    max_sessions=400,
)
IDLE: Final = 6.0
"""Seconds after which sessions end, parked calls are given up and idle connections are closed."""

TOOLS: Final = ("local__echo", "remote__echo")
SLOW: Final = ("local__slow", "remote__slow")
ASK: Final[dict[str, Any]] = {"name": "local__ask", "arguments": {}}


@dataclass(frozen=True, slots=True)
class Left:
    """How much there is of this process when nobody uses it."""

    tasks: int
    descriptors: int
    children: int
    sessions: int
    objects: int
    resident_kib: int


class Churn:
    """Steps against one gateway. `done` counts them by name, `statuses` what clients were told,
    `answered` the questions that they answered.
    """

    def __init__(self, site: Site, server: ForgetfulServer, seed: int) -> None:
        self._site = site
        self._server = server
        self._random = Random(seed)
        self._version = 0
        self.done: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.answered = 0
        self._steps: dict[str, tuple[int, Callable[[Client], Awaitable[object]]]] = {
            "connect": (14, self._connect),
            "call": (40, self._call),
            "call without a session": (20, self._call_modern),
            "cancel": (8, self._cancel),
            "close in the middle": (8, self._close_in_the_middle),
            "listen": (6, self._listen),
            "listen without a session": (4, self._listen_modern),
            "be asked": (4, self._be_asked),
            "be asked and go": (2, self._be_asked_and_go),
            "leave": (4, self._leave),
            "go silently": (6, self._go),
            "kill the process": (0, self._kill),
            "forget the sessions": (0, self._forget),
            "break down": (0, self._break_down),
            "reload": (0, self._reload),
        }

    async def run(self, steps: int) -> None:
        """So many steps by clients side by side; each two hundredth something happens to all."""
        left = iter(range(steps))

        async def work() -> None:
            client = Client(self._site.url, KEY)
            for step in left:
                name = self._draw(step)
                with contextlib.suppress(*GONE):
                    async with asyncio.timeout(PATIENCE):
                        await self._steps[name][1](client)
                self.done[name] += 1
            await client.drop()

        await asyncio.gather(*(work() for _ in range(WORKERS)))

    def _draw(self, step: int) -> str:
        if step % 200 == 199:
            return self._random.choice(list(self._steps)[-4:])
        names = list(self._steps)
        return self._random.choices(names, [self._steps[name][0] for name in names])[0]

    # --- what clients do ------------------------------------------------------------------

    async def _connect(self, client: Client) -> None:
        await client.drop()
        client.session = None
        capabilities = self._random.choice([{}, {"roots": {"listChanged": True}, "sampling": {}}])
        await client.initialize(capabilities)

    async def _session(self, client: Client) -> None:
        if client.session is None:
            await client.initialize({})

    async def _call(self, client: Client) -> None:
        await self._session(client)
        status = await client.call(self._random.choice(TOOLS), self._random.randrange(1 << 30))
        self.statuses[status] += 1
        if status == 404:
            client.session = None

    async def _call_modern(self, client: Client) -> None:
        params: dict[str, Any] = {"name": self._random.choice(TOOLS), "arguments": {}}
        await self._without_session(client, "tools/call", params)

    async def _cancel(self, client: Client) -> None:
        await self._session(client)
        request_id = self._random.randrange(1 << 30)
        call = asyncio.create_task(client.call(self._random.choice(SLOW), request_id))
        await asyncio.sleep(self._random.random() * 0.02)
        other = Client(self._site.url, KEY)
        other.session = client.session
        params = {"requestId": request_id, "reason": "churn"}
        try:
            await other.post({"method": "notifications/cancelled", "params": params})
            await call
        finally:
            call.cancel()
            await other.drop()

    async def _close_in_the_middle(self, client: Client) -> None:
        await self._session(client)
        call = asyncio.create_task(client.call(self._random.choice(SLOW), 7))
        await asyncio.sleep(self._random.random() * 0.02)
        await client.drop()
        with contextlib.suppress(asyncio.CancelledError, *GONE):
            call.cancel()
            await call

    async def _listen(self, client: Client) -> None:
        await self._session(client)
        other = Client(self._site.url, KEY)
        other.session = client.session
        await other.listen()
        await asyncio.sleep(self._random.random() * 0.01)
        await other.drop()

    async def _listen_modern(self, client: Client) -> None:
        other = Client(self._site.url, KEY)
        await other.listen_modern()
        await asyncio.sleep(self._random.random() * 0.01)
        await other.drop()

    async def _be_asked(self, client: Client) -> None:
        """A question that waits for its answer, which comes with the call's repetition."""
        asked = await self._be_asked_and_go(client)
        if asked.get("resultType") != "input_required":
            return
        answers = {key: {"action": "accept", "content": {}} for key in asked["inputRequests"]}
        params = {**ASK, "inputResponses": answers, "requestState": asked["requestState"]}
        await self._without_session(client, "tools/call", params)
        self.answered += 1

    async def _be_asked_and_go(self, client: Client) -> dict[str, Any]:
        body = await self._without_session(client, "tools/call", ASK)
        found: dict[str, Any] = json.loads(body).get("result", {})
        return found

    async def _without_session(self, client: Client, method: str, params: dict[str, Any]) -> bytes:
        session, client.session = client.session, None
        try:
            status, body = await client.call_modern(method, params)
        finally:
            client.session = session
        self.statuses[status] += 1
        return body

    async def _leave(self, client: Client) -> None:
        if client.session is not None:
            await client.delete()

    async def _go(self, client: Client) -> None:
        await client.drop()
        client.session = None

    # --- what happens to all --------------------------------------------------------------

    async def _kill(self, _: Client) -> None:
        for child in children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    async def _forget(self, _: Client) -> None:
        self._server.forget()

    async def _break_down(self, _: Client) -> None:
        self._server.failing = True
        await asyncio.sleep(0.1)
        self._server.failing = False

    async def _reload(self, _: Client) -> None:
        self._version += 1
        await self._site.gateway.apply(upstreams(self._server.url, self._version))


def upstreams(url: str, version: int = 0) -> dict[str, Upstream]:
    """One process and one remote server; another version is another environment for the process."""
    local = Upstream(
        "local",
        command=sys.executable,
        args=("-S", "-m", "tests.churn.stdio_upstream"),
        env={"CHURN_VERSION": Secret(str(version))},
        working_dir=str(ROOT),
    )
    headers = {"X-Version": Secret(str(version // 2))}
    return {"local": local, "remote": Upstream("remote", url=url, headers=headers)}


async def churn(steps: int, seed: int = 1) -> tuple[Left, Left, Churn]:
    """What is left after a tenth of the steps, and after all."""
    server = ForgetfulServer()
    async with serving(without_lifespan(server)) as origin:
        server.url = f"{origin}/mcp"
        made = upstreams(server.url)
        async with running(*made.values(), limits=LIMITS) as site:
            await site.connected(*made)
            story = Churn(site, server, seed)
            await story.run(max(steps // 10, 100))
            before = await _left(site)
            await story.run(steps)
            return before, await _left(site), story


async def _left(site: Site) -> Left:
    """The counts once both upstreams are connected and the sessions' time is over."""
    await site.connected("local", "remote")
    await asyncio.sleep(IDLE)
    last = Client(site.url, KEY)
    await last.initialize({})
    await last.delete()
    await last.drop()
    await site.connected("local", "remote")
    await _settled()
    site.heard.notices.clear()
    site.heard.lines.clear()
    for _ in range(3):
        gc.collect()
    return Left(
        tasks=len(asyncio.all_tasks()),
        descriptors=len(os.listdir("/proc/self/fd")),
        children=len(children()),
        sessions=sessions(site.gateway),
        objects=len(gc.get_objects()),
        resident_kib=_resident_kib(),
    )


async def _settled() -> None:
    """Once the number of tasks has stopped to change."""
    counts = [0, 1]

    def still() -> bool:
        counts.append(len(asyncio.all_tasks()))
        return len(counts) > 100 and len(set(counts[-100:])) == 1

    await until(still, lambda: counts[-5:])


def sessions(gateway: Gateway) -> int:
    """Clients' sessions and streams, and calls that wait for a client's answer."""
    down = gateway._down
    return len(down.sessions) + len(gateway._hub) + len(down.lot)


def children() -> list[int]:
    """The upstreams' processes: children of ours and of our helper that guards them."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and b"tests.churn.stdio_upstream" in (
                entry / "cmdline"
            ).read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def _resident_kib() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
