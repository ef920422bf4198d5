"""The key in hand: read once, checked against what is sealed, asked for again while locked.

Law: no key, no write, and nothing lost. A vault whose key cannot be read is opened all the same,
locked: what needs no key works, the rest says why.
"""

from datetime import timedelta
from typing import Final

from mcpproxy.core.errors import StoreError, StoreUnavailable, WrongKey
from mcpproxy.core.ports import Clock
from mcpproxy.storage.connection import Access, Connection
from mcpproxy.storage.database import Database
from mcpproxy.storage.keys import KeySource
from mcpproxy.storage.sealing import KEY_ID_AT, KEY_ID_BYTES, Sealer

ASK_AGAIN_AFTER: Final = timedelta(seconds=10)
"""A locked keyring may prompt a person: not for every row and every tick."""

_SEALED: Final = " UNION ALL ".join(
    f"SELECT sealed FROM {table}"  # noqa: S608 - names of ours
    for table in ("grants", "set_aside", "registrations", "logins")
)
_KEY_IDS: Final = (
    f"SELECT DISTINCT substr(sealed, {KEY_ID_AT + 1}, {KEY_ID_BYTES}) "  # noqa: S608 - as above
    f"FROM ({_SEALED})"
)


class VaultKey:
    """Gives the sealer, or raises the reason why there is none."""

    def __init__(self, database: Database, source: KeySource, clock: Clock) -> None:
        self._database = database
        self._source = source
        self._clock = clock
        self._sealer: Sealer | None = None
        self._trouble: StoreError | None = None
        self._asked: timedelta | None = None

    @property
    def trouble(self) -> StoreError | None:
        """Why the vault is locked; None when it is not."""
        return self._trouble

    def sealer(self) -> Sealer:
        """Raises WrongKey, or StoreUnavailable with KEY_LOCKED."""
        if self._sealer is not None:
            return self._sealer
        now = self._clock.elapsed()
        if self._trouble is None or self._asked is None or now - self._asked >= ASK_AGAIN_AFTER:
            self._asked = now
            try:
                self._sealer = self._load()
                self._trouble = None
                return self._sealer
            except StoreError as error:
                self._trouble = error
        raise self._trouble

    def unlock(self) -> StoreError | None:
        """Try now; the reason when the vault stays locked. Whoever may only read a vault in which
        nothing is sealed needs no key, and could not keep one.
        """
        try:
            if self._database.access is Access.READ_ONLY and not self._database.read(_is_sealed):
                return None
            self.sealer()
        except (WrongKey, StoreUnavailable) as error:
            return error
        return None

    def _load(self) -> Sealer:
        if self._database.read(_is_sealed):
            sealer = Sealer(self._source.read())
            self._database.read(lambda connection: _check(connection, sealer))
            return sealer
        return self._database.write(self._first_key)

    def _first_key(self, connection: Connection) -> Sealer:
        """Under the vault's write lock, so that two processes cannot make two keys."""
        if _is_sealed(connection):
            sealer = Sealer(self._source.read())
            _check(connection, sealer)
            return sealer
        sealer = Sealer(self._source.create())
        connection.execute(
            "INSERT OR REPLACE INTO meta (name, value) VALUES ('key_id', ?)",
            (sealer.key_id.hex(),),
        )
        return sealer


def _is_sealed(connection: Connection) -> bool:
    return bool(connection.execute(f"SELECT EXISTS ({_SEALED})")[0][0])


def _check(connection: Connection, sealer: Sealer) -> None:
    """One row that this key sealed proves it right; a damaged row alone proves nothing."""
    noted = connection.execute("SELECT value FROM meta WHERE name = 'key_id'")
    if noted and noted[0][0] == sealer.key_id.hex():
        return
    if (sealer.key_id,) not in connection.execute(_KEY_IDS):
        raise WrongKey(
            f"this is not the key of the stored logins (it is {sealer.key_id.hex()}, they want "
            f"{noted[0][0] if noted else 'another'})",
            next_step="put the former key back; nothing was changed",
        )
