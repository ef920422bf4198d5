"""What the demo's provider remembers: codes, tokens, and every refresh it granted.

Law: it behaves as strict providers do. A refresh token works once; used again more than 30 s
later, the whole login is revoked. So the demo cannot survive by the provider's good nature.
"""

import base64
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass, field
from typing import Final

LIFE_S: Final = 30
"""How long an access token lives."""

REPLAY_S: Final = 30
"""How long a used refresh token may be sent again by somebody who missed the answer."""


@dataclass(slots=True)
class Login:
    """One login: its live access tokens with their ends, its refresh tokens with their use."""

    access: dict[str, float] = field(default_factory=dict)
    refresh: dict[str, float | None] = field(default_factory=dict)
    revoked: bool = False


class Tokens:
    """The provider's memory. `logins_made` and `refreshes` are its own count, the truth."""

    def __init__(self) -> None:
        self._codes: dict[str, str] = {}
        self._logins: list[Login] = []
        self.logins_made = 0
        self.refreshes = 0

    def new_code(self, challenge: str) -> str:
        """An authorization code, bound to its PKCE challenge."""
        code = secrets.token_urlsafe(24)
        self._codes[code] = challenge
        return code

    def redeem(self, code: str, verifier: str) -> dict[str, object] | None:
        """The first tokens of a login; None for a wrong code or verifier."""
        challenge = self._codes.pop(code, None)
        digest = hashlib.sha256(verifier.encode()).digest()
        made = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if challenge is None or not hmac.compare_digest(challenge, made):
            return None
        self.logins_made += 1
        login = Login()
        self._logins.append(login)
        return self._issue(login)

    def renew(self, refresh_token: str) -> dict[str, object] | None:
        """The next tokens of a login; None for a token that is unknown, spent or revoked."""
        login = next((each for each in self._logins if refresh_token in each.refresh), None)
        if login is None or login.revoked:
            return None
        now, used_at = time.time(), login.refresh[refresh_token]
        if used_at is not None and now - used_at > REPLAY_S:
            login.revoked = True
            return None
        login.refresh[refresh_token] = used_at or now
        self.refreshes += 1
        return self._issue(login)

    def accepts(self, access_token: str) -> bool:
        """Whether the demo's server lets this token in."""
        now = time.time()
        return any(
            not login.revoked and login.access.get(access_token, 0) > now for login in self._logins
        )

    def _issue(self, login: Login) -> dict[str, object]:
        access, refresh = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        now = time.time()
        login.access = {token: end for token, end in login.access.items() if end > now}
        login.access[access] = now + LIFE_S
        login.refresh[refresh] = None
        return {
            "access_token": access,
            "refresh_token": refresh,
            "token_type": "Bearer",
            "expires_in": LIFE_S,
            "scope": "demo",
        }
