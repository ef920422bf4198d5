"""tools/call to many targets in turns, so that a slow moment of the machine meets them all.

Law: every figure is a ratio of the same round, told as the median over the rounds with the
quartiles beside it. Absolute times are shown for orientation only.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.targets import Target, Wire

_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sample:
    """One target in one round. `cpu_ms` is the proxy's own work for one call."""

    p50_ms: float
    p99_ms: float
    per_second: float
    cpu_ms: float
    busy: float


Samples = dict[str, list[Sample]]
"""By the target's name, a sample for every round."""


class Load:
    """The load generator's process."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.communicate()

    def run(self, job: dict[str, Any], connections: int, seconds: float) -> dict[str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = json.dumps({**job, "connections": connections, "seconds": seconds})
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the load generator ended"
        found: dict[str, float] = json.loads(answer)
        return found


def measure(
    targets: Sequence[Target], wire: Wire, connections: int, rounds: int, seconds: float
) -> Samples:
    """Rounds round the targets; the first one only warms them up."""
    samples: Samples = {target.name: [] for target in targets}
    jobs = {target.name: target.job(wire) for target in targets}
    with Load() as load:
        for number in range(rounds + 1):
            for target in targets:
                sample = _sample(load, target, jobs[target.name], connections, seconds)
                if number:
                    samples[target.name].append(sample)
    return samples


def _sample(
    load: Load, target: Target, job: dict[str, Any], connections: int, seconds: float
) -> Sample:
    before = _cpu_ms(target.pids)
    found = load.run(job, connections, seconds)
    return Sample(
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        per_second=found["per_second"],
        cpu_ms=(_cpu_ms(target.pids) - before) / found["calls"],
        busy=found["busy"],
    )


def _cpu_ms(pids: Iterable[int]) -> float:
    """What these processes have used; 10 ms are the finest that every Linux tells."""
    total = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total * _TICK_MS


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and its quartiles."""

    low: float
    median: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:6.2f} ({self.low:.2f}..{self.high:.2f})"


def ratios(samples: Samples, name: str, base: str, figure: str) -> Spread:
    """Of `figure` (a field of Sample) to that of `base` in the same rounds."""
    pairs = zip(samples[name], samples[base], strict=True)
    return spread([getattr(one, figure) / getattr(other, figure) for one, other in pairs])


def spread(values: Sequence[float]) -> Spread:
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(low, middle, high)


def median(samples: Samples, name: str, figure: str) -> float:
    found: list[float] = [getattr(sample, figure) for sample in samples[name]]
    return statistics.median(found)
