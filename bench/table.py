"""The figures as people read them: ratios first, the proxy's own work for a call, then times."""

from collections.abc import Sequence

from bench.calls import Samples, median, ratios
from bench.scene import DIRECT, NGINX
from bench.targets import Target, Wire


def tell(targets: Sequence[Target], samples: Samples, wire: Wire, connections: int) -> None:
    base = NGINX if NGINX in samples else DIRECT
    alone = connections == 1
    figure = "p50_ms" if alone else "per_second"
    goal = "goal for mcpproxy: ≤ 3 x of nginx" if alone else "goal: ≥ 0.5 x of nginx"
    what = "latency" if alone else "throughput"
    print(f"\ntools/call, wire {wire.value}, {connections} connections: {what} ({goal})")
    head = f"x {base} (quartiles)"
    print(
        f"  {'':22} {head:>26} {'x direct':>9} {'CPU/call':>9} {'p50':>8} {'p99':>8} {'calls/s':>8}"
    )
    for target in targets:
        name = target.name
        cpu = f"{median(samples, name, 'cpu_ms'):6.3f} ms" if target.pids else ""
        print(
            f"  {name:22} {ratios(samples, name, base, figure)!s:>26} "
            f"{ratios(samples, name, DIRECT, figure).median:9.2f} {cpu:>9} "
            f"{median(samples, name, 'p50_ms'):8.2f} {median(samples, name, 'p99_ms'):8.2f} "
            f"{median(samples, name, 'per_second'):8.0f}"
        )
    busy = max(sample.busy for name in samples for sample in samples[name])
    print(f"  the load generator was busy for at most {busy * 100:.0f} % of a core")
