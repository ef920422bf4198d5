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

CROSSING: Final[Mapping[tuple[str, str], Reasons]] = {
    ("2026-07-28", "legacy"): {
        "input-required-result-basic-elicitation: sep-2322-elicitation-complete": KEYS,
        "input-required-result-basic-elicitation: sep-2322-elicitation-incomplete": KEYS,
        "input-required-result-ignore-extra-params: sep-2322-ignore-unexpected-params": KEYS,
        "input-required-result-multiple-input-requests: sep-2322-multiple-inputs-complete": (
            ONE_BY_ONE
        ),
        "input-required-result-multiple-input-requests: sep-2322-multiple-inputs-incomplete": (
            ONE_BY_ONE
        ),
        "input-required-result-capability-check: sep-2322-respect-client-capabilities": (
            ONE_SESSION
        ),
        "server-stateless: sep-2575-missing-capability-http-400": ONE_SESSION,
        "server-stateless: sep-2575-server-rejects-undeclared-capability": ONE_SESSION,
    },
}
"""By the suite's version and the only era of the server."""

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
