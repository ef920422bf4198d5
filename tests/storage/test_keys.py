"""The key: made once, never over existing data, never silently another."""

import os
import stat
import threading
from datetime import timedelta
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend

from mcpproxy.core.errors import StoreTrouble, StoreUnavailable, WrongKey
from mcpproxy.storage.engines import Opening, Vault, open_sqlite
from mcpproxy.storage.keys import KEY_SOURCES, GivenKeyFile, KeyFile, KeySource, SystemKeyring
from tests.storage.samples import a_grant, a_login
from tests.storage.worlds import HandClock

pytestmark = pytest.mark.anyio


async def open_with(data_dir: Path, keys: KeySource, clock: HandClock | None = None) -> Vault:
    return await open_sqlite(Opening(data_dir, keys, clock or HandClock()))


async def seal_something(data_dir: Path, keys: KeySource) -> None:
    vault = await open_with(data_dir, keys)
    await vault.store.replace_grant(a_grant())
    await vault.store.close()


def key_file(data_dir: Path) -> KeyFile:
    return KeyFile(data_dir / "vault.key")


async def test_the_first_opening_makes_a_key_that_only_its_owner_can_read(tmp_path: Path) -> None:
    vault = await open_with(tmp_path / "data", key_file(tmp_path / "data"))
    made = tmp_path / "data" / "vault.key"
    assert vault.locked is None
    assert len(made.read_bytes()) == 32
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    await vault.store.close()


async def test_later_openings_keep_the_key(tmp_path: Path) -> None:
    await seal_something(tmp_path, key_file(tmp_path))
    before = (tmp_path / "vault.key").read_bytes()
    vault = await open_with(tmp_path, key_file(tmp_path))
    assert (tmp_path / "vault.key").read_bytes() == before
    assert await vault.store.load_grant("github-mcp") == a_grant()
    await vault.store.close()


async def test_a_missing_key_is_never_made_anew_over_sealed_rows(tmp_path: Path) -> None:
    await seal_something(tmp_path, key_file(tmp_path))
    (tmp_path / "vault.key").rename(tmp_path / "hidden")
    vault = await open_with(tmp_path, key_file(tmp_path))
    assert isinstance(vault.locked, WrongKey)
    assert "missing" in vault.locked.message
    assert "put it back" in vault.locked.next_step
    assert not (tmp_path / "vault.key").exists()
    await vault.store.close()


async def test_a_locked_vault_refuses_what_needs_the_key_and_serves_the_rest(
    tmp_path: Path,
) -> None:
    await seal_something(tmp_path, key_file(tmp_path))
    (tmp_path / "vault.key").rename(tmp_path / "hidden")
    vault = await open_with(tmp_path, key_file(tmp_path))
    for needs_key in (
        vault.store.load_grants(),
        vault.store.load_grant("github-mcp"),
        vault.store.save_grant(a_grant("other"), expected_revision=None),
        vault.store.save_login(a_login()),
    ):
        with pytest.raises(WrongKey) as caught:
            await needs_key
        assert caught.value.trouble is StoreTrouble.KEY_LOCKED
    assert await vault.store.load_grant("unknown") is None
    await vault.store.set_setting("port", "1")
    assert await vault.lease.acquire("a", timedelta(seconds=1)) is not None
    await vault.store.close()


async def test_a_key_that_comes_back_unlocks_without_a_restart(tmp_path: Path) -> None:
    clock = HandClock()
    await seal_something(tmp_path, key_file(tmp_path))
    (tmp_path / "vault.key").rename(tmp_path / "hidden")
    vault = await open_with(tmp_path, key_file(tmp_path), clock)
    (tmp_path / "hidden").rename(tmp_path / "vault.key")
    with pytest.raises(WrongKey):
        await vault.store.load_grants()
    clock.advance(timedelta(seconds=10))
    assert list(await vault.store.load_grants()) == [a_grant()]
    await vault.store.close()


async def test_another_key_opens_nothing_and_changes_nothing(tmp_path: Path) -> None:
    await seal_something(tmp_path, key_file(tmp_path))
    before = (tmp_path / "vault.db").read_bytes()
    (tmp_path / "vault.key").write_bytes(os.urandom(32))
    vault = await open_with(tmp_path, key_file(tmp_path))
    assert isinstance(vault.locked, WrongKey)
    with pytest.raises(WrongKey):
        await vault.store.replace_grant(a_grant(login_id="login-2"))
    await vault.store.close()
    assert (tmp_path / "vault.db").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
async def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    await seal_something(tmp_path, key_file(tmp_path))
    (tmp_path / "vault.key").write_bytes(content)
    vault = await open_with(tmp_path, key_file(tmp_path))
    assert isinstance(vault.locked, WrongKey)
    assert f"{len(content)} bytes" in vault.locked.message
    assert (tmp_path / "vault.key").read_bytes() == content
    await vault.store.close()


async def test_a_key_torn_by_a_crash_before_anything_was_sealed_is_made_anew(
    tmp_path: Path,
) -> None:
    (tmp_path / "vault.key").write_bytes(b"torn")
    vault = await open_with(tmp_path, key_file(tmp_path))
    assert vault.locked is None
    assert len((tmp_path / "vault.key").read_bytes()) == 32
    await vault.store.close()


async def test_when_everything_is_forgotten_a_new_key_may_begin(tmp_path: Path) -> None:
    await seal_something(tmp_path, key_file(tmp_path))
    vault = await open_with(tmp_path, key_file(tmp_path))
    await vault.store.forget_grant("github-mcp")
    await vault.store.close()
    (tmp_path / "vault.key").unlink()
    vault = await open_with(tmp_path, key_file(tmp_path))
    assert vault.locked is None
    await vault.store.close()


def test_a_given_key_file_may_be_hexadecimal_and_is_never_made(tmp_path: Path) -> None:
    path = tmp_path / "key.hex"
    source = KEY_SOURCES["env"](tmp_path, {"MCPPROXY_KEY_FILE": str(path)})
    with pytest.raises(WrongKey, match="missing"):
        source.create()
    assert not path.exists()
    path.write_text("ab" * 32 + "\n")
    assert source.read() == b"\xab" * 32
    path.write_bytes(b"r" * 32)
    assert GivenKeyFile(path).create() == b"r" * 32


async def test_a_key_file_that_nobody_names_leaves_the_vault_locked(tmp_path: Path) -> None:
    vault = await open_with(tmp_path, KEY_SOURCES["env"](tmp_path, {}))
    assert isinstance(vault.locked, WrongKey)
    assert "MCPPROXY_KEY_FILE is not set" in vault.locked.message
    await vault.store.close()


# --- keyring --------------------------------------------------------------------------------


class DictKeyring(KeyringBackend):
    """The keyring library's own interface, over a dictionary."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()
        self.items: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.items.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.items[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.items[service, username]


class LockedKeyring(DictKeyring):
    def get_password(self, service: str, username: str) -> str | None:
        raise keyring.errors.KeyringLocked("locked")


class SilentKeyring(DictKeyring):
    def __init__(self) -> None:
        super().__init__()
        self.answer = threading.Event()

    def get_password(self, service: str, username: str) -> str | None:
        self.answer.wait()
        return None


@pytest.fixture
def use_keyring():
    before = keyring.get_keyring()
    yield keyring.set_keyring
    keyring.set_keyring(before)


async def test_the_keyring_keeps_one_key_for_each_data_directory(tmp_path, use_keyring) -> None:
    backend = DictKeyring()
    use_keyring(backend)
    for name in ("one", "two"):
        await seal_something(tmp_path / name, SystemKeyring(tmp_path / name))
        assert not (tmp_path / name / "vault.key").exists()
    assert len(set(backend.items.values())) == 2
    vault = await open_with(tmp_path / "one", SystemKeyring(tmp_path / "one"))
    assert await vault.store.load_grant("github-mcp") == a_grant()
    await vault.store.close()


async def test_a_locked_keyring_opens_the_vault_locked_and_falls_back_to_nothing(
    tmp_path, use_keyring
) -> None:
    use_keyring(DictKeyring())
    await seal_something(tmp_path, SystemKeyring(tmp_path))
    use_keyring(LockedKeyring())
    vault = await open_with(tmp_path, SystemKeyring(tmp_path))
    assert isinstance(vault.locked, StoreUnavailable)
    assert vault.locked.trouble is StoreTrouble.KEY_LOCKED
    assert vault.locked.next_step == "unlock the keyring"
    assert not (tmp_path / "vault.key").exists()
    await vault.store.close()


def test_a_keyring_that_never_answers_is_not_waited_for(tmp_path, use_keyring) -> None:
    backend = SilentKeyring()
    use_keyring(backend)
    with pytest.raises(StoreUnavailable, match="did not answer"):
        SystemKeyring(tmp_path, timeout_s=0.05).read()
    backend.answer.set()


def test_a_keyring_item_that_is_no_key_is_refused(tmp_path, use_keyring) -> None:
    backend = DictKeyring()
    use_keyring(backend)
    backend.items["mcpproxy", f"vault {tmp_path}"] = "not a key"
    with pytest.raises(WrongKey, match="no key"):
        SystemKeyring(tmp_path).read()
