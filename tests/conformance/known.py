"""What comes out otherwise, and why: the whole list. The page docs/reference/conformance.md shows
it, and a test of the documentation compares the two.
"""

from collections.abc import Mapping
from typing import Final

Reasons = Mapping[str, str]
"""A reason by the check, as `Key` writes it."""

KEYS: Final = (
    "A server of the older era asks without a key. The key is mcpproxy's own, so a client cannot "
    "know it beforehand."
)
ONE_BY_ONE: Final = (
    "A server of the older era asks one thing after another, and so is the client asked."
)
ONE_SESSION: Final = (
    "A server of the older era is told once, for its session, what its clients can do: everything. "
    "A client that cannot is refused when it is asked, not beforehand."
)
NO_DPOP: Final = "DPoP (RFC 9449, an extension) is not built."
NO_ID_JAG: Final = "Enterprise-managed authorization (an extension) is not built."
NO_WIF: Final = "Workload identity federation (an extension) is not built."

AGREED: Final = (
    "Comes out better than without mcpproxy: the suite shakes hands for 2025-11-25 and then names "
    "an older version. The server goes by the latter, mcpproxy by what was agreed."
)
NOTHING_TO_RESUME: Final = (
    "Not judged: a process, or a server of the newer era, cannot hang up before its answer and be "
    "come back to, so that the client is not sent away either."
)

_STABLE: Final = "0.1.16 for 2025-11-25"
_LEGACY: Final = "0.2.0-alpha.12 for 2025-11-25"
_MODERN: Final = "0.2.0-alpha.12 for 2026-07-28"
HTTP: Final = "over HTTP"
STDIO: Final = "over stdio"
LEGACY_ONLY: Final = "over HTTP, of the older era only"
MODERN_ONLY: Final = "over HTTP, of the newer era only"

SERVERS: Final[Mapping[tuple[str, str], int]] = {
    (_STABLE, HTTP): 44,
    (_STABLE, STDIO): 44,
    (_LEGACY, HTTP): 84,
    (_LEGACY, STDIO): 84,
    (_LEGACY, LEGACY_ONLY): 84,
    (_LEGACY, MODERN_ONLY): 84,
    (_MODERN, HTTP): 152,
    (_MODERN, STDIO): 152,
    (_MODERN, LEGACY_ONLY): 152,
    (_MODERN, MODERN_ONLY): 152,
}
"""How many checks a suite has that the server passes by itself, and where the server stands."""

_RESUMED: Final = "server-sse-polling: server-sse-disconnect-resume"
_PRIMED: Final[Reasons] = {
    "server-sse-polling: server-sse-priming-event": AGREED,
    "server-sse-polling: server-sse-retry-field": AGREED,
}
_NOT_RESUMED: Final[Reasons] = {_RESUMED: NOTHING_TO_RESUME}
_OLDER_SERVER: Final[Reasons] = {
    "input-required-result-basic-elicitation: sep-2322-elicitation-complete": KEYS,
    "input-required-result-basic-elicitation: sep-2322-elicitation-incomplete": KEYS,
    "input-required-result-ignore-extra-params: sep-2322-ignore-unexpected-params": KEYS,
    "input-required-result-multiple-input-requests: sep-2322-multiple-inputs-complete": ONE_BY_ONE,
    "input-required-result-multiple-input-requests: sep-2322-multiple-inputs-incomplete": (
        ONE_BY_ONE
    ),
    "input-required-result-capability-check: sep-2322-respect-client-capabilities": ONE_SESSION,
    "server-stateless: sep-2575-missing-capability-http-400": ONE_SESSION,
    "server-stateless: sep-2575-server-rejects-undeclared-capability": ONE_SESSION,
}

OTHERWISE: Final[Mapping[tuple[str, str], Reasons]] = {
    (_STABLE, HTTP): {**_PRIMED, _RESUMED: AGREED},
    (_STABLE, STDIO): _PRIMED,
    (_LEGACY, STDIO): _NOT_RESUMED,
    (_LEGACY, MODERN_ONLY): _NOT_RESUMED,
    (_MODERN, STDIO): _OLDER_SERVER,
    (_MODERN, LEGACY_ONLY): _OLDER_SERVER,
}
"""The checks that come out otherwise with mcpproxy in front, as `SERVERS` names the two. A process
is first met in the older era, and then has no other.
"""

CLIENT: Final[Mapping[str, Reasons]] = {
    "extensions": {
        "auth/dpop: sep-1932-client-dpop-auth-scheme": NO_DPOP,
        "auth/dpop: sep-1932-client-fresh-proof": NO_DPOP,
        "auth/dpop: sep-1932-client-token-request-proof": NO_DPOP,
        "auth/dpop-nonce: sep-1932-client-as-nonce": NO_DPOP,
        "auth/dpop-nonce: sep-1932-client-dpop-auth-scheme": NO_DPOP,
        "auth/dpop-nonce: sep-1932-client-fresh-proof": NO_DPOP,
        "auth/dpop-nonce: sep-1932-client-rs-nonce": NO_DPOP,
        "auth/dpop-nonce: sep-1932-client-token-request-proof": NO_DPOP,
        "auth/enterprise-managed-authorization: complete-flow-jwt-bearer": NO_ID_JAG,
        "auth/enterprise-managed-authorization: complete-flow-token-exchange": NO_ID_JAG,
        "auth/wif-jwt-bearer: wif-grant-fallback": NO_WIF,
        "auth/wif-jwt-bearer: wif-grant-fallback (2)": NO_WIF,
        "auth/wif-jwt-bearer: wif-grant-type": NO_WIF,
    },
}
"""By the part of the client suite. The versions themselves have none."""
