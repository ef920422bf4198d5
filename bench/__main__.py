"""`make bench`: start-up, commands, idle cost and calls, measured on real processes.

Timings of one machine at one moment mean little: trust the ratios, and compare runs of one day.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.calls import Endpoint, Figures, measure
from tests.e2e.daemon import PROGRAM, Daemon, connected
from tests.peers.process import Process, free_port

UPSTREAMS = 20
IDLE_SECONDS = 20
STARTS = 5
LISTS = 15


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="mcpproxy-bench-") as directory:
        print(f"CPython {sys.version.split()[0]}; medians; smaller is better but for calls/s\n")
        _starts(Path(directory) / "starts")
        _calls(Path(directory) / "calls")


def _starts(directory: Path) -> None:
    """Cold start to /readyz, a command's wall time and idle cost, with 20 servers configured."""
    with _echo(directory) as (_, url):
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


def _calls(directory: Path) -> None:
    """tools/call direct and through the proxy."""
    with _echo(directory) as (_, url):
        settings = {"routing_mode": "direct"}
        with Daemon(directory, servers=[{"name": "echo", "url": url}], **settings) as daemon:
            daemon.until("echo", connected, deadline=30)
            endpoints = [
                Endpoint("direct", url, "echo", {}),
                Endpoint("mcpproxy", daemon.mcp_url, "echo__echo", daemon.headers),
                Endpoint("mcpproxy /s/", f"{daemon.mcp_url}/s/echo", "echo", daemon.headers),
            ]
            for connections in (1, 16):
                found = asyncio.run(measure(endpoints, connections))
                _table(found, connections)


def _table(found: dict[str, Figures], connections: int) -> None:
    print(f"\ntools/call, {connections} connections      p50      ratio    calls/s   ratio")
    base = found["direct"]
    for name, figures in found.items():
        print(
            f"  {name:24} {figures.p50_ms:7.2f} ms {figures.p50_ms / base.p50_ms:6.1f} x "
            f"{figures.per_second:9.0f} {figures.per_second / base.per_second:7.2f} x"
        )


def _echo(directory: Path) -> "_Echo":
    return _Echo(directory)


class _Echo:
    """The server to measure against, as a context manager: its process and its URL."""

    def __init__(self, directory: Path) -> None:
        port = free_port()
        self._url = f"http://127.0.0.1:{port}/mcp"
        directory.mkdir(parents=True, exist_ok=True)
        self._process = Process(
            "echo",
            [sys.executable, "-m", "bench.echo_server", str(port)],
            log_dir=directory,
            ready=lambda: _listens(port),
        )

    def __enter__(self) -> tuple[Process, str]:
        self._process.start()
        return self._process, self._url

    def __exit__(self, *_: object) -> None:
        self._process.stop()


def _listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


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


if __name__ == "__main__":
    main()
