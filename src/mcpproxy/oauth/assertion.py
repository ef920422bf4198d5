"""Proof of who our client is by a signature instead of a secret: `private_key_jwt` (RFC 7523
section 2.2, OpenID Connect Core section 9).

Law: one assertion for one request, good for a minute, and of use to nobody but whom it names:
the issuer, or the very URL that it is sent to, so that no other server can pass it on.
"""

import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from mcpproxy.core.model import AssertionAudience, AuthMethod, ClientRegistration, Secret
from mcpproxy.core.ports import Clock

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LIFE: Final = timedelta(minutes=1)
"""Long enough for an answer within its 20 s and a clock that is half a minute off."""

JTI_BYTES: Final = 24
MIN_RSA_BITS: Final = 2048
"""RFC 7518 section 3.3."""

MAX_KEYS: Final = 1024
"""Keys kept ready to sign: one for each of 1,000 logins. Reading and checking one takes 50 ms of
processor time (RSA of 2048 bits; 380 ms with 4096) and holds up everything else, in a thread too;
signing with it takes 1 ms (7 ms; ES256 0.5 ms).
"""

RSA_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
ALGORITHMS: Final = (*RSA_ALGORITHMS, *CURVES.values(), "EdDSA")

Proof = Mapping[str, str]
NO_PROOF: Final[Proof] = {}


class KeyUnusable(ValueError):
    """The private key cannot sign; the text says why, and nothing of the key."""


class Assertions:
    """Signs for whichever client it is asked to."""

    def __init__(
        self, clock: Clock, *, token_urlsafe: Callable[[int], str] = secrets.token_urlsafe
    ) -> None:
        self._clock = clock
        self._token_urlsafe = token_urlsafe

    def prove(self, client: ClientRegistration, url: str) -> Proof:
        """The fields that prove our client to whoever listens at `url`; none for a client that
        proves itself in another way. Raises KeyUnusable.
        """
        if client.auth_method is not AuthMethod.PRIVATE_KEY_JWT:
            return NO_PROOF
        if client.private_key is None:
            raise KeyUnusable("there is no private key")
        import jwt  # loads with the first signature: starting must not wait for it

        key, algorithm = signing_key(client.private_key, client.signing_alg)
        now = int(self._clock.now().timestamp())
        by_issuer = client.assertion_audience is AssertionAudience.ISSUER
        claims = {
            "iss": client.client_id,
            "sub": client.client_id,
            "aud": client.issuer if by_issuer else url,
            "jti": self._token_urlsafe(JTI_BYTES),
            "iat": now,
            "exp": now + int(LIFE.total_seconds()),
        }
        headers = {"kid": client.key_id} if client.key_id else None
        signed = jwt.encode(claims, key, algorithm=algorithm, headers=headers)  # type: ignore[arg-type]
        return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed}


def signing_key(pem: Secret, algorithm: str | None) -> "tuple[PrivateKeyTypes, str]":
    """The key in a PEM text, and the algorithm to sign with it. Raises KeyUnusable."""
    key = _load(pem)
    fitting = _fitting(key)
    if algorithm is not None and algorithm not in fitting:
        raise KeyUnusable(f"{algorithm} is not for this key, but {' or '.join(fitting)}")
    return key, algorithm or fitting[0]


@lru_cache(MAX_KEYS)
def _load(pem: Secret) -> "PrivateKeyTypes":
    """The key in a PEM text, read and checked once. Raises KeyUnusable."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(pem.reveal().encode(), password=None)
    except TypeError:
        words = "the private key is encrypted; a key without a passphrase is needed"
        raise KeyUnusable(words) from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUnusable("this is no private key in PEM form") from None


def _fitting(key: "PrivateKeyTypes") -> tuple[str, ...]:
    """The algorithms a key can sign with, the usual one first."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

    match key:
        case rsa.RSAPrivateKey(key_size=bits) if bits >= MIN_RSA_BITS:
            return RSA_ALGORITHMS
        case rsa.RSAPrivateKey(key_size=bits):
            raise KeyUnusable(f"an RSA key of {bits} bits is too short: {MIN_RSA_BITS} are needed")
        case ec.EllipticCurvePrivateKey(curve=curve) if curve.name in CURVES:
            return (CURVES[curve.name],)
        case ed25519.Ed25519PrivateKey() | ed448.Ed448PrivateKey():
            return ("EdDSA",)
        case _:
            raise KeyUnusable("keys of this kind do not sign; RSA, EC (P-256) or Ed25519 ones do")
