"""Signed proofs of who our client is: what is in them, and keys that cannot make them."""

from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from mcpproxy.core.model import AssertionAudience, AuthMethod, ClientRegistration, Secret
from mcpproxy.oauth.assertion import Assertions, KeyUnusable, signing_key
from tests.oauth.made import CLIENT, ISSUER, NOW, SECRET_CLIENT, FixedClock
from tests.peers import machine

URL = f"{ISSUER}/token"
EC, RSA, ED = machine.ec_key(), machine.rsa_key(), machine.ed_key()


def signer(key: PrivateKeyTypes = EC, **changes: Any) -> ClientRegistration:
    private_key = Secret(machine.pem(key))
    return replace(
        CLIENT, auth_method=AuthMethod.PRIVATE_KEY_JWT, private_key=private_key, **changes
    )


def claims(assertion: str, key: PrivateKeyTypes = EC, alg: str = "ES256") -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(
        assertion,
        key.public_key(),  # type: ignore[arg-type]
        algorithms=[alg],
        options={"verify_aud": False, "verify_exp": False, "verify_iat": False},
    )
    return found


def test_an_assertion_names_the_client_its_reader_and_a_minute() -> None:
    proof = Assertions(FixedClock(), token_urlsafe=lambda size: "x" * size).prove(signer(), URL)
    assert proof["client_assertion_type"].endswith("client-assertion-type:jwt-bearer")
    now = int(NOW.timestamp())
    assert claims(proof["client_assertion"]) == {
        "iss": "client-1",
        "sub": "client-1",
        "aud": ISSUER,
        "jti": "x" * 24,
        "iat": now,
        "exp": now + 60,
    }


def test_for_a_provider_that_wants_it_the_reader_is_the_url_that_it_is_sent_to() -> None:
    client = signer(assertion_audience=AssertionAudience.ENDPOINT)
    proof = Assertions(FixedClock()).prove(client, f"{ISSUER}/revoke")
    assert claims(proof["client_assertion"])["aud"] == f"{ISSUER}/revoke"


def test_no_two_assertions_are_the_same() -> None:
    assertions = Assertions(FixedClock())
    one, two = (claims(assertions.prove(signer(), URL)["client_assertion"]) for _ in range(2))
    assert one["jti"] != two["jti"]


def test_the_keys_name_goes_into_the_header() -> None:
    proof = Assertions(FixedClock()).prove(signer(key_id="key-7"), URL)
    assert jwt.get_unverified_header(proof["client_assertion"])["kid"] == "key-7"


@pytest.mark.parametrize(
    ("key", "wanted", "used"),
    [
        (EC, None, "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), None, "ES384"),
        (RSA, None, "RS256"),
        (RSA, "PS256", "PS256"),
        (ED, None, "EdDSA"),
    ],
)
def test_the_algorithm_is_the_keys_unless_another_is_wanted(
    key: PrivateKeyTypes, wanted: str | None, used: str
) -> None:
    proof = Assertions(FixedClock()).prove(signer(key, signing_alg=wanted), URL)
    assert jwt.get_unverified_header(proof["client_assertion"])["alg"] == used
    assert claims(proof["client_assertion"], key, used)["sub"] == "client-1"


@pytest.mark.parametrize("client", [CLIENT, SECRET_CLIENT])
def test_a_client_that_proves_itself_otherwise_signs_nothing(client: ClientRegistration) -> None:
    assert Assertions(FixedClock()).prove(client, URL) == {}


@pytest.mark.parametrize(
    ("pem", "alg", "because"),
    [
        ("hello", None, "no private key in PEM form"),
        (machine.pem(EC, "a passphrase"), None, "is encrypted"),
        (
            EC.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode(),
            None,
            "no private key in PEM form",
        ),
        (machine.pem(EC), "RS256", "RS256 is not for this key, but ES256"),
        (machine.pem(machine.rsa_key(1024)), None, "1024 bits is too short"),
        (machine.pem(dsa.generate_private_key(2048)), None, "do not sign"),
    ],
)
def test_a_key_that_cannot_sign_says_why_and_shows_nothing_of_itself(
    pem: str, alg: str | None, because: str
) -> None:
    with pytest.raises(KeyUnusable, match=because) as caught:
        signing_key(Secret(pem), alg)
    assert not any(line and line in str(caught.value) for line in pem.splitlines()[1:])


def test_a_key_is_read_once_however_often_it_signs() -> None:
    first, _ = signing_key(Secret(machine.pem(RSA)), "RS256")
    again, _ = signing_key(Secret(machine.pem(RSA)), "PS256")
    other, _ = signing_key(Secret(machine.pem(EC)), None)
    assert again is first
    assert other is not first
