"""The sqlite engine's Store: the vault in `vault.db`, sealed row by row.

Law: every method is one transaction in one function. In the open stand a server's name, the login
id, generation, revision and times; all else is sealed, bound to just these.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from mcpproxy.core.errors import StoreCorrupt, StoreError, WrongKey
from mcpproxy.core.ledger import LedgerLine, login_line
from mcpproxy.core.model import ClientRegistration, Grant
from mcpproxy.core.pending_login import PendingLogin
from mcpproxy.core.ports import Clock
from mcpproxy.storage import codec, sqlite_ledger
from mcpproxy.storage.bounds import MAX_PENDING_LOGINS, MAX_SET_ASIDE
from mcpproxy.storage.connection import Connection, Row
from mcpproxy.storage.database import Database
from mcpproxy.storage.runner import Runner
from mcpproxy.storage.sealing import Sealer
from mcpproxy.storage.vault_key import VaultKey

_GRANT: Final = "server, login_id, generation, revision, sealed"


class SqliteStore:
    """The Store port over a Database; `open_sqlite` builds it."""

    def __init__(self, database: Database, key: VaultKey, runner: Runner, clock: Clock) -> None:
        self._database = database
        self._key = key
        self._runner = runner
        self._clock = clock
        self._damaged: Mapping[str, StoreError] = {}
        # What was read before, by its whole row: opening is most of a re-read's cost.
        self._opened: dict[Row, Grant] = {}

    @property
    def locked(self) -> StoreError | None:
        """Why no sealed row can be opened (key missing, wrong, keyring locked), or None."""
        return self._key.trouble

    # --- grants ---------------------------------------------------------------------------

    async def load_grant(self, server: str) -> Grant | None:
        def work() -> Grant | None:
            rows = self._rows(f"SELECT {_GRANT} FROM grants WHERE server = ?", server)  # noqa: S608
            return _open_grant(self._key.sealer(), rows[0]) if rows else None

        return await self._runner.run(work)

    async def load_grants(self) -> Sequence[Grant]:
        def work() -> list[Grant]:
            rows = self._rows(f"SELECT {_GRANT} FROM grants ORDER BY server")  # noqa: S608
            known = [self._opened.get(row) for row in rows]
            fresh = [row for row, grant in zip(rows, known, strict=True) if grant is None]
            opened, self._damaged = self._open_each(fresh)
            by_server = {grant.server: grant for grant in (*filter(None, known), *opened)}
            self._opened = {row: by_server[row[0]] for row in rows if row[0] in by_server}
            return list(self._opened.values())

        return await self._runner.run(work)

    async def stamp(self) -> int:
        return int((await self._runner.run(lambda: self._rows("PRAGMA data_version")))[0][0])

    def damaged(self) -> Mapping[str, StoreError]:
        return self._damaged

    async def load_set_aside(self, server: str) -> Sequence[Grant]:
        """Former grants of this server that can be opened, oldest first."""

        def work() -> list[Grant]:
            query = f"SELECT {_GRANT} FROM set_aside WHERE server = ? ORDER BY number"  # noqa: S608
            return self._open_each(self._rows(query, server))[0]

        return await self._runner.run(work)

    async def save_grant(
        self, grant: Grant, *, expected_revision: int | None, line: LedgerLine | None = None
    ) -> bool:
        def work() -> bool:
            row = _seal_grant(self._key.sealer(), grant)
            saved_at = self._clock.now().isoformat()

            def swap(db: Connection) -> bool:
                if expected_revision is None:
                    saved = db.execute(
                        f"INSERT INTO grants ({_GRANT}, saved_at) VALUES (?, ?, ?, ?, ?, ?) "  # noqa: S608
                        "ON CONFLICT DO NOTHING RETURNING 1",
                        (*row, saved_at),
                    )
                else:
                    saved = db.execute(
                        "UPDATE grants SET generation = ?, revision = ?, sealed = ?, saved_at = ? "
                        "WHERE server = ? AND login_id = ? AND revision = ? AND generation <= ? "
                        "RETURNING 1",
                        (*row[2:], saved_at, *row[:2], expected_revision, grant.generation),
                    )
                if saved and line is not None:
                    sqlite_ledger.note(db, line)
                return bool(saved)

            return self._database.write(swap)

        return await self._runner.run(work)

    async def replace_grant(self, grant: Grant) -> None:
        def work() -> None:
            row = _seal_grant(self._key.sealer(), grant)
            now = self._clock.now().isoformat()

            def replace(db: Connection) -> None:
                db.execute("DELETE FROM logins WHERE flow_id = ?", (grant.login_id,))
                known = db.execute(
                    "SELECT 1 FROM grants WHERE server = ? AND login_id = ? UNION ALL "
                    "SELECT 1 FROM set_aside WHERE server = ? AND login_id = ?",
                    (grant.server, grant.login_id) * 2,
                )
                if known:
                    return
                # As it is, unopened: a damaged grant is evidence too.
                db.execute(
                    f"INSERT INTO set_aside ({_GRANT}, saved_at, set_aside_at) "  # noqa: S608
                    f"SELECT {_GRANT}, saved_at, ? FROM grants WHERE server = ?",
                    (now, grant.server),
                )
                db.execute(
                    "DELETE FROM set_aside WHERE server = ? AND number NOT IN (SELECT number FROM "
                    "set_aside WHERE server = ? ORDER BY number DESC LIMIT ?)",
                    (grant.server, grant.server, MAX_SET_ASIDE),
                )
                db.execute(
                    f"INSERT OR REPLACE INTO grants ({_GRANT}, saved_at) "  # noqa: S608
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (*row, now),
                )
                sqlite_ledger.note(db, login_line(grant))

            self._database.write(replace)

        await self._runner.run(work)

    async def forget_grant(self, server: str, *, line: LedgerLine | None = None) -> None:
        def forget(db: Connection) -> None:
            db.execute("DELETE FROM grants WHERE server = ?", (server,))
            db.execute("DELETE FROM set_aside WHERE server = ?", (server,))
            if line is not None:
                sqlite_ledger.note(db, line)

        await self._runner.run(lambda: self._database.write(forget))

    async def load_ledger(self, server: str, limit: int) -> Sequence[LedgerLine]:
        def work() -> list[LedgerLine]:
            rows = self._database.read(lambda db: sqlite_ledger.last_lines(db, server, limit))
            return sqlite_ledger.read(rows)

        return await self._runner.run(work)

    # --- registrations --------------------------------------------------------------------

    async def load_registration(self, issuer: str, redirect_uri: str) -> ClientRegistration | None:
        identity = _digest(issuer, redirect_uri)

        def work() -> ClientRegistration | None:
            rows = self._rows("SELECT sealed FROM registrations WHERE identity = ?", identity)
            if not rows:
                return None
            sealer = self._key.sealer()
            return codec.decode_registration(sealer.open(rows[0][0], "registration", identity))

        return await self._runner.run(work)

    async def save_registration(self, registration: ClientRegistration) -> None:
        identity = _digest(registration.issuer, registration.redirect_uri)

        def work() -> None:
            sealed = self._key.sealer().seal(codec.encode(registration), "registration", identity)
            values = (identity, self._clock.now().isoformat(), sealed)
            self._database.write(
                lambda db: db.execute(
                    "INSERT OR REPLACE INTO registrations (identity, saved_at, sealed) "
                    "VALUES (?, ?, ?)",
                    values,
                )
            )

        await self._runner.run(work)

    async def forget_registration(self, issuer: str, redirect_uri: str) -> None:
        identity = _digest(issuer, redirect_uri)
        await self._write(("DELETE FROM registrations WHERE identity = ?", identity))

    # --- pending logins -------------------------------------------------------------------

    async def save_login(self, login: PendingLogin) -> None:
        def work() -> None:
            sealed = self._key.sealer().seal(codec.encode(login), "login", login.flow_id)
            digest = _digest(login.state.reveal())
            values = (login.flow_id, digest, login.expires_at.isoformat(), sealed)

            def save(db: Connection) -> None:
                db.execute(
                    "INSERT OR REPLACE INTO logins (flow_id, state_digest, expires_at, sealed) "
                    "VALUES (?, ?, ?, ?)",
                    values,
                )
                db.execute(
                    "DELETE FROM logins WHERE number NOT IN "
                    "(SELECT number FROM logins ORDER BY number DESC LIMIT ?)",
                    (MAX_PENDING_LOGINS,),
                )

            self._database.write(save)

        await self._runner.run(work)

    async def take_login(self, state: str) -> PendingLogin | None:
        def work() -> PendingLogin | None:
            sealer = self._key.sealer()

            def take(db: Connection) -> PendingLogin | None:
                rows = db.execute(
                    "DELETE FROM logins WHERE state_digest = ? RETURNING flow_id, sealed",
                    (_digest(state),),
                )
                # One that cannot be opened stays: the error rolls the removal back.
                return _open_login(sealer, rows[0]) if rows else None

            return self._database.write(take)

        return await self._runner.run(work)

    async def load_logins(self) -> Sequence[PendingLogin]:
        def work() -> list[PendingLogin]:
            rows = self._rows("SELECT flow_id, sealed FROM logins ORDER BY number")
            logins: list[PendingLogin] = []
            if not rows:
                return logins
            sealer = self._key.sealer()
            for row in rows:
                try:
                    logins.append(_open_login(sealer, row))
                except (StoreCorrupt, WrongKey):
                    continue
            return logins

        return await self._runner.run(work)

    async def forget_login(self, flow_id: str) -> None:
        await self._write(("DELETE FROM logins WHERE flow_id = ?", flow_id))

    # --- settings -------------------------------------------------------------------------

    async def get_setting(self, name: str) -> str | None:
        def work() -> str | None:
            rows = self._rows("SELECT value FROM settings WHERE name = ?", name)
            return rows[0][0] if rows else None

        return await self._runner.run(work)

    async def set_setting(self, name: str, value: str) -> None:
        await self._write(
            ("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", name, value)
        )

    async def close(self) -> None:
        await self._runner.run(self._database.close)
        await self._runner.close()

    # --- common ---------------------------------------------------------------------------

    def _rows(self, query: str, *parameters: str) -> list[Row]:
        return self._database.read(lambda db: db.execute(query, parameters))

    async def _write(self, *statements: tuple[str, ...]) -> None:
        def work(db: Connection) -> None:
            for sql, *parameters in statements:
                db.execute(sql, parameters)

        await self._runner.run(lambda: self._database.write(work))

    def _open_each(self, rows: list[Row]) -> tuple[list[Grant], Mapping[str, StoreError]]:
        grants: list[Grant] = []
        damaged: dict[str, StoreError] = {}
        if not rows:
            return grants, damaged
        sealer = self._key.sealer()
        for row in rows:
            try:
                grants.append(_open_grant(sealer, row))
            except (StoreCorrupt, WrongKey) as error:
                damaged[row[0]] = error
        return grants, damaged


def _seal_grant(sealer: Sealer, grant: Grant) -> tuple[str, str, int, int, bytes]:
    identity = (grant.server, grant.login_id, str(grant.generation), str(grant.revision))
    sealed = sealer.seal(codec.encode(grant), "grant", *identity)
    return grant.server, grant.login_id, grant.generation, grant.revision, sealed


def _open_grant(sealer: Sealer, row: Row) -> Grant:
    server, login_id, generation, revision, sealed = row
    plain = sealer.open(sealed, "grant", server, login_id, str(generation), str(revision))
    return codec.decode_grant(plain)


def _open_login(sealer: Sealer, row: Row) -> PendingLogin:
    flow_id, sealed = row
    return codec.decode_login(sealer.open(sealed, "login", flow_id))


def _digest(*parts: str) -> str:
    """A lookup key for what may not stand in the open."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
