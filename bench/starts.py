"""Cold start to /readyz, a command's wall time and idle cost, with servers configured."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import rivals
from tests.e2e.daemon import PROGRAM, Daemon, connected

UPSTREAMS = 20
IDLE_SECONDS = 20
STARTS = 5
LISTS = 15


def starts(directory: Path) -> None:
    """The figures of a daemon with 20 servers, told as they are known."""
    directory.mkdir()
    with rivals.upstream(directory, 1) as upstream:
        url = f"{upstream.origin}/legacy/mcp"
        servers = [{"name": f"echo-{n}", "url": url} for n in range(UPSTREAMS)]
        daemon = Daemon(directory, servers=servers)
        bare = _seconds([sys.executable, "-c", "pass"], STARTS)
        ready = []
        for _ in range(STARTS):
            daemon.start()
            ready.append(daemon.started_in)
            daemon.terminate()
        _tell("bare Python starts", bare, "s")
        _tell(f"serve to /readyz, {UPSTREAMS} servers", statistics.median(ready), "s", "≤ 1.5")
        with daemon:
            daemon.until(f"echo-{UPSTREAMS - 1}", connected, deadline=30)
            where = ["-d", str(daemon.data_dir)]
            listed = _seconds([PROGRAM, *where, "upstream", "list"], LISTS)
            _tell("upstream list", listed, "s", "≤ 0.15")
            _tell("  that many bare Pythons", listed / bare, "x")
            pid = daemon.process.pid
            before, began = _cpu_seconds(pid), time.monotonic()
            time.sleep(IDLE_SECONDS)
            share = (_cpu_seconds(pid) - before) / (time.monotonic() - began)
            _tell(f"idle, {UPSTREAMS} upstreams", share * 100, "% of a core", "≤ 1")
            _tell("  resident memory", _resident_mb(pid), "MB", "≤ 120")


def _seconds(command: list[str], runs: int) -> float:
    def once() -> float:
        began = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - began

    return _median(once, runs)


def _median(once: Callable[[], float], runs: int) -> float:
    return statistics.median(once() for _ in range(runs))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the process is gone")


def _tell(what: str, value: float, unit: str, goal: str = "") -> None:
    print(f"{what:36} {value:8.3f} {unit}{f'   (goal {goal})' if goal else ''}")
