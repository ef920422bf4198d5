"""What is remembered about client credentials beside the grants: to whom they are sent, and that a
person logged out.

Law: it outlives the grant, its logout and its damage. Of a secret it holds the fingerprint only.
"""

import json
from dataclasses import astuple, dataclass
from hashlib import sha256
from typing import Final, Self

from mcpproxy.core.model import Grant, OAuthConfig, Secret, Upstream
from mcpproxy.core.ports import Store

RECIPIENT: Final = "credentials_recipient:{}"
LOGGED_OUT: Final = "credentials_logged_out:{}"


@dataclass(frozen=True, slots=True)
class Recipient:
    """The provider that a server's credentials are sent to. `proof` tells them apart."""

    issuer: str
    server_url: str
    proof: str

    @classmethod
    def of(cls, grant: Grant) -> Self:
        proof = grant.client.private_key or grant.client.client_secret
        return cls(grant.issuer.rstrip("/"), grant.server_url, _fingerprint(proof))


class MachineMemory:
    """Settings by the server's name. Every method raises StoreError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def recipient(self, server: str) -> Recipient | None:
        written = await self._store.get_setting(RECIPIENT.format(server))
        return Recipient(*json.loads(written)) if written else None

    async def remember(self, grant: Grant) -> None:
        """To be told before anything is sent."""
        recipient = Recipient.of(grant)
        if recipient != await self.recipient(grant.server):
            written = json.dumps(astuple(recipient))
            await self._store.set_setting(RECIPIENT.format(grant.server), written)

    async def log_out(self, upstream: Upstream) -> None:
        """No grant is to be made of these credentials."""
        await self._store.set_setting(LOGGED_OUT.format(upstream.name), _digest(upstream))

    async def log_in(self, server: str) -> None:
        """The person wants one again."""
        if await self._store.get_setting(LOGGED_OUT.format(server)):
            await self._store.set_setting(LOGGED_OUT.format(server), "")

    async def is_logged_out(self, upstream: Upstream) -> bool:
        """Whether the person logged out and has changed nothing about the login since."""
        return await self._store.get_setting(LOGGED_OUT.format(upstream.name)) == _digest(upstream)


def _digest(upstream: Upstream) -> str:
    config = upstream.oauth or OAuthConfig()
    said = (
        upstream.url,
        config.client_id,
        _fingerprint(config.client_secret),
        _fingerprint(config.private_key),
        config.scopes,
        sorted(config.extra_params.items()),
        config.key_id,
        config.signing_alg,
        config.assertion_audience,
        config.issuer,
    )
    return sha256(json.dumps(said).encode()).hexdigest()


def _fingerprint(secret: Secret | None) -> str:
    return secret.fingerprint if secret is not None else ""
