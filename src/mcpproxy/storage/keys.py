"""Where the vault's key comes from: a 0600 file, the system's keyring, or a file named by the
environment; chosen openly, never silently downgraded.

Law: a key is made once, for a vault in which nothing is sealed yet, and never over existing data.
"""

import base64
import binascii
import contextlib
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from mcpproxy.core.errors import StoreError, StoreTrouble, StoreUnavailable, WrongKey
from mcpproxy.storage import files
from mcpproxy.storage.sealing import KEY_BYTES

KEY_FILE: Final = "vault.key"
KEY_FILE_VARIABLE: Final = "MCPPROXY_KEY_FILE"
KEYRING_SERVICE: Final = "mcpproxy"
KEYRING_TIMEOUT_S: Final = 10.0
"""A keyring that asks a person to unlock it may never answer a daemon."""


class KeySource(Protocol):
    """Synchronous; may take up to KEYRING_TIMEOUT_S."""

    def read(self) -> bytes:
        """The key. Raises WrongKey when there is none or it is no key, StoreUnavailable with
        KEY_LOCKED when it cannot be read now.
        """
        ...

    def create(self) -> bytes:
        """A new key, kept durably, or the one that is there. The caller holds the vault's write
        lock and has seen that nothing is sealed.
        """
        ...


class KeyFile:
    """`vault.key`: 32 random bytes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> bytes:
        try:
            key = self._path.read_bytes()
        except FileNotFoundError:
            raise _missing(str(self._path)) from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise _locked(f"{self._path}: {reason}", "make it readable for this user") from error
        if len(key) != KEY_BYTES:
            raise WrongKey(
                f"{self._path} holds {len(key)} bytes, a key has {KEY_BYTES}",
                next_step=f"put the former {self._path.name} back",
            )
        return key

    def create(self) -> bytes:
        # A short file was left by a crash while it was being made: nothing is sealed with it.
        with contextlib.suppress(WrongKey):
            return self.read()
        try:
            self._path.unlink(missing_ok=True)
            descriptor = files.create_private(self._path)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            files.sync_directory(self._path.parent)
        except OSError as error:
            raise files.os_trouble(error, self._path) from error
        return self.read()


class GivenKeyFile(KeyFile):
    """A key file that somebody else provides, such as a mounted secret: read, never made.

    Besides 32 raw bytes it may hold them as 64 hex digits, as `openssl rand -hex 32` prints.
    """

    def read(self) -> bytes:
        with contextlib.suppress(OSError, ValueError):
            text = self._path.read_bytes().strip()
            if len(text) == 2 * KEY_BYTES:
                return bytes.fromhex(text.decode("ascii"))
        return super().read()

    def create(self) -> bytes:
        return self.read()


class NoKeyNamed:
    """The environment was to name a key file and does not: the vault opens locked."""

    def read(self) -> bytes:
        raise _missing(f"key_source is env, and {KEY_FILE_VARIABLE} is not set")

    def create(self) -> bytes:
        return self.read()


def _named_by(environ: Mapping[str, str]) -> KeySource:
    path = environ.get(KEY_FILE_VARIABLE)
    return GivenKeyFile(Path(path)) if path else NoKeyNamed()


class StaticKey:
    """A key that lives in memory: for tests and the simulator."""

    def __init__(self, key: bytes = b"k" * KEY_BYTES) -> None:
        self._key = key

    def read(self) -> bytes:
        return self._key

    def create(self) -> bytes:
        return self._key


class SystemKeyring:
    """One item in the system's keyring, one for each data directory."""

    def __init__(self, data_dir: Path, *, timeout_s: float = KEYRING_TIMEOUT_S) -> None:
        self._account = f"vault {data_dir.absolute()}"
        self._timeout_s = timeout_s

    def read(self) -> bytes:
        text = self._ask(lambda keyring: keyring.get_password(KEYRING_SERVICE, self._account))
        if text is None:
            raise _missing(f"the keyring item {KEYRING_SERVICE} / {self._account}")
        try:
            key = base64.b64decode(text, validate=True)
        except binascii.Error:
            key = b""
        if len(key) != KEY_BYTES:
            raise WrongKey(
                f"the keyring item {KEYRING_SERVICE} / {self._account} is no key",
                next_step="put the former item back",
            )
        return key

    def create(self) -> bytes:
        try:
            return self.read()
        except WrongKey:
            text = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode("ascii")
        self._ask(lambda keyring: keyring.set_password(KEYRING_SERVICE, self._account, text))
        return self.read()

    def _ask(self, question: "Callable[[_Keyring], str | None]") -> str | None:
        """Ask in a thread that may be left behind: some keyrings wait for a person for ever."""
        answers: list[str | None] = []
        errors: list[Exception] = []

        def ask() -> None:
            try:
                answers.append(question(_import_keyring()))
            except Exception as error:  # a keyring backend may raise anything
                errors.append(error)

        thread = threading.Thread(target=ask, name="mcpproxy-keyring", daemon=True)
        thread.start()
        thread.join(self._timeout_s)
        if errors:
            if isinstance(errors[0], StoreError):
                raise errors[0]
            raise _locked(
                f"the keyring says {type(errors[0]).__name__}: {errors[0]}", "unlock the keyring"
            ) from errors[0]
        if not answers:
            raise _locked(
                f"the keyring did not answer within {self._timeout_s:g} s", "unlock the keyring"
            )
        return answers[0]


class _Keyring(Protocol):
    def get_password(self, service: str, account: str, /) -> str | None: ...

    def set_password(self, service: str, account: str, password: str, /) -> None: ...


def _import_keyring() -> _Keyring:
    try:
        import keyring
    except ImportError:
        raise _locked(
            "the keyring is configured as the key's place, and its support is not installed",
            "install it: pip install 'mcpproxy[keyring]'",
        ) from None
    return keyring


def _missing(what: str) -> WrongKey:
    return WrongKey(
        f"the key of the stored logins is missing: {what}",
        next_step="put it back; without it the stored logins cannot be opened, and it is never "
        "made anew over them (to start afresh move vault.db away)",
    )


def _locked(message: str, next_step: str) -> StoreUnavailable:
    return StoreUnavailable(message, next_step=next_step, trouble=StoreTrouble.KEY_LOCKED)


KEY_SOURCES: Final[Mapping[str, Callable[[Path, Mapping[str, str]], KeySource]]] = {
    "file": lambda data_dir, _: KeyFile(data_dir / KEY_FILE),
    "keyring": lambda data_dir, _: SystemKeyring(data_dir),
    "env": lambda _, environ: _named_by(environ),
}
"""By the name that the setting `key_source` has, from the data directory and the environment."""
