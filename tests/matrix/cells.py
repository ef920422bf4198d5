"""The axes of the matrix, and what an SDK itself cannot do, each with its reason.

Law: nothing is left out silently. A cell is tried, or a rule below says why there is none; a rule
speaks of an SDK, never of mcpproxy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.matrix.sides.features import FEATURES

MODERN: Final = "2026-07-28"
LEGACY: Final = "2025-11-25"


@dataclass(frozen=True, slots=True, order=True)
class End:
    """A client or a server: an SDK in an era, over a transport."""

    sdk: str
    era: str
    wire: str

    @property
    def name(self) -> str:
        return f"{self.sdk}-{self.era}-{self.wire}"

    @property
    def version(self) -> str:
        return MODERN if self.era == "modern" else LEGACY


SDKS: Final = {
    "py1": "Python mcp 1.x",
    "py2": "Python mcp 2.x",
    "ts1": "TypeScript sdk 1.x",
    "ts2": "TypeScript client and server 2.x",
}
ENDS: Final = tuple(
    End(sdk, era, wire)
    for sdk, era in (
        ("py2", "legacy"),
        ("py2", "modern"),
        ("py1", "legacy"),
        ("ts1", "legacy"),
        ("ts2", "legacy"),
        ("ts2", "modern"),
    )
    for wire in (("http", "stdio") if era == "modern" else ("http", "stdio", "sse"))
)
"""HTTP+SSE ended with the old era, and the SDKs of the first generation know no other era."""

AGGREGATE: Final = (
    "era",
    "tools list",
    "tools call",
    "tool error",
    "protocol error",
    "progress",
    "logging",
    "cancellation",
    "sampling",
    "elicitation accepted",
    "asked twice",
    "asked at once",
    "URL required",
    "roots",
    "resources list",
    "resources read",
    "resource missing",
    "templates",
    "subscription",
    "prompts",
    "completion",
)
"""What is tried through /mcp/all as well: all that has a name or an address, or is asked back."""


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """Cells that do not exist, by a reason that lies in an SDK."""

    feature: str
    holds: Callable[[End, End], bool]
    reason: str


RULES: Final = (
    NotApplicable(
        "unknown fields",
        lambda client, server: "py2" in (client.sdk, server.sdk),
        "the Python SDK 2.x drops fields that it does not know from results, on either side",
    ),
    NotApplicable(
        "unknown fields in content",
        lambda client, server: (client.sdk, server.sdk) != ("py1", "py1"),
        "all SDKs but the Python one 1.x drop unknown fields of content blocks, on either side",
    ),
    NotApplicable(
        "big result",
        lambda client, server: client.sdk == "py2" and client.wire == "sse",
        "the Python SDK 2.x's HTTP+SSE client ends at events of more than 1 MiB",
    ),
    NotApplicable(
        "session forgotten",
        lambda client, server: server.era == "modern" and server.wire == "http",
        "there are no sessions over HTTP in 2026-07-28",
    ),
)


def not_applicable(client: End, server: End, feature: str) -> str:
    """Why there is no such cell, or "" where there is one."""
    for rule in RULES:
        if rule.feature == feature and rule.holds(client, server):
            return rule.reason
    return ""


def tried(client: End, server: End, features: tuple[str, ...] = tuple(FEATURES)) -> list[str]:
    return [feature for feature in features if not not_applicable(client, server, feature)]


def not_found(client: End, server: End) -> int:
    """The code of a resource that is not there, as this client shows it."""
    if client.era == "modern":
        return -32602
    # The TypeScript SDK 2.x says so in the old era as well: its client of every error, its server
    # on the wire, where nothing tells it from other invalid parameters.
    says_so = client.sdk == "ts2" or (server.sdk, server.era) == ("ts2", "legacy")
    return -32602 if says_so else -32002
