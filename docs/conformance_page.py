"""The page of what the protocol's official suites say, made from what the judges expect.

Law: a check that comes out otherwise stands here with its reason, or fails `make conformance`.
"""

from collections.abc import Iterator, Mapping

from tests.conformance.known import CLIENT, OTHERWISE, SERVERS, Reasons


def conformance() -> str:
    return "\n".join(
        (
            "# Conformance",
            "",
            "The authors of the protocol publish suites that judge servers and clients:",
            "`@modelcontextprotocol/conformance`, here 0.2.0-alpha.12, and 0.1.16 for the older",
            "revisions. `make conformance` runs them from a fresh clone, leaves its table in",
            "`test-results/conformance.md`, and fails for every check that is not told below.",
            "[Why it is judged so](../decisions/0029-judges.md).",
            "",
            "## mcpproxy before a server",
            "",
            "A server that passes every check by itself stands behind `/mcp/s/NAME`, and every",
            "check must come out as without mcpproxy.",
            "",
            "| suite | checks | server behind mcpproxy | come out otherwise |",
            "|---|---|---|---|",
            *_servers(),
            "",
            *_reasons({f"{suite}, server {at}": why for (suite, at), why in OTHERWISE.items()}),
            "## mcpproxy as the client",
            "",
            "The real daemon meets the suites' servers and logs in by its own OAuth engine.",
            "",
            "| suite | do not pass |",
            "|---|---|",
            *(f"| {part} | {len(CLIENT.get(part, {}))} |" for part in _PARTS),
            "",
            *_reasons(CLIENT),
            "No suite exercises a refresh. The tests of this repository do:",
            "[how a login is kept](../explanation/how-a-login-is-kept.md).",
            "",
            "## Others",
            "",
            "The Inspector's command line, and the servers everything, filesystem, memory (npm)",
            "and time (PyPI), work through mcpproxy over stdio and Streamable HTTP, for clients of",
            "both eras. A server that asks for its client's roots as soon as it is connected, and",
            "not during a call, is told that there are none: nobody's call is behind the question.",
        )
    )


_PARTS = ("0.1.16 for 2025-11-25", "2025-11-25", "2026-07-28", "backcompat", "extensions")


def _servers() -> Iterator[str]:
    for (suite, behind), checks in SERVERS.items():
        otherwise = len(OTHERWISE.get((suite, behind), {}))
        yield f"| {suite} | {checks} | {behind} | {otherwise or 'none'} |"


def _reasons(found: Mapping[str, Reasons]) -> Iterator[str]:
    """Each reason with its checks and where it holds; what is the same in many places once."""
    places: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for where, reasons in found.items():
        for reason in dict.fromkeys(reasons.values()):
            checks = tuple(check for check, why in reasons.items() if why == reason)
            places.setdefault((reason, checks), []).append(where)
    for (reason, checks), where in places.items():
        yield from (reason, "", f"In {'; '.join(where)}:", "")
        yield from (f"- {check}" for check in checks)
        yield ""
