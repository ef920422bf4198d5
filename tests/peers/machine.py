"""Clients that need no person, as they are registered at a provider: with a secret, with a key."""

import json
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

SECRET = "machine secret/with: odd+chars%"


def secret_client(client_id: str = "machine", **more: Any) -> Mapping[str, Any]:
    return {
        "client_id": client_id,
        "client_secret": SECRET,
        "grant_types": ["client_credentials"],
        "redirect_uris": [],
        "response_types": [],
        **more,
    }


def key_client(
    key: PrivateKeyTypes, alg: str, client_id: str = "signer", **more: Any
) -> Mapping[str, Any]:
    """A client that proves itself with this key (private_key_jwt)."""
    return {
        "client_id": client_id,
        "grant_types": ["client_credentials"],
        "redirect_uris": [],
        "response_types": [],
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": alg,
        "jwks": {"keys": [{**public_jwk(key, alg), "kid": f"{client_id}-key", "use": "sig"}]},
        **more,
    }


def public_jwk(key: PrivateKeyTypes, alg: str) -> Mapping[str, Any]:
    algorithm = jwt.get_algorithm_by_name(alg)
    public: Any = key.public_key()
    found: Mapping[str, Any] = json.loads(type(algorithm).to_jwk(public))
    return found


def pem(key: PrivateKeyTypes, password: str | None = None) -> str:
    encryption: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(password.encode())
        if password
        else serialization.NoEncryption()
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    ).decode()


def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def ed_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()
