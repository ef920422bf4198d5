"""Processes with custody on one data directory: `python -m tests.crash.racer DATA_DIR COUNT`.

Forks COUNT of them, each with a vault, a RefreshManager and a token endpoint of its own; SIGTERM
ends them in order. Exit code 1 if one of them ended in any other way.
"""

import asyncio
import json
import os
import secrets
import signal
import sys
from datetime import timedelta
from pathlib import Path
from types import FrameType

from mcpproxy.core.notices import Notice
from mcpproxy.core.policy import RefreshPolicy
from mcpproxy.custody.journal import Journal
from mcpproxy.custody.refresh import RefreshTools
from mcpproxy.custody.refresh_manager import RefreshManager
from mcpproxy.oauth.client import OAuthHttpSender
from mcpproxy.oauth.token_endpoint import TokenEndpoint
from tests.crash.seeding import CLOCK, open_data


class Nobody:
    """The port Publisher, for who has no one to tell."""

    def publish(self, notice: Notice) -> None:
        return


async def custody(data_dir: Path, policy: RefreshPolicy) -> None:
    """Keep the logins in this directory alive until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    vault = await open_data(data_dir)
    nobody = Nobody()
    manager = RefreshManager(
        RefreshTools(
            journal=Journal(vault.store, CLOCK, nobody),
            lease=vault.lease,
            provider=TokenEndpoint(OAuthHttpSender(policy=policy), CLOCK),
            clock=CLOCK,
            publisher=nobody,
            policy=policy,
            holder=f"{os.getpid()}",
            new_attempt_id=lambda: secrets.token_urlsafe(9),
            may_send=lambda: not stopping.is_set(),
        )
    )
    await manager.start()
    await stopping.wait()
    await manager.stop()
    await vault.store.close()


def run(data_dir: Path, policy: RefreshPolicy, count: int) -> int:
    """Fork, wait for SIGTERM, pass it on; the exit code."""
    import httpx2  # noqa: F401 - loaded once, not by each of them

    pids = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            asyncio.run(custody(data_dir, policy))
            os._exit(0)
        pids.append(pid)

    def pass_on(number: int, frame: FrameType | None) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, pass_on)
    print(*pids, flush=True)
    codes = [os.waitpid(pid, 0)[1] for pid in pids]
    return int(any(codes))


def read_policy(text: str) -> RefreshPolicy:
    """A policy from a JSON object of seconds."""
    seconds: dict[str, float] = json.loads(text)
    return RefreshPolicy(**{name: timedelta(seconds=value) for name, value in seconds.items()})  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), read_policy(sys.argv[3]), int(sys.argv[2])))
