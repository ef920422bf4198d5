"""The vault as it is on a disk: put back, torn, locked, and shared by processes of one machine.

The real sqlite engine, in one thread with everything else so that time stays virtual.
"""

import shutil
from dataclasses import replace
from pathlib import Path

from mcpproxy.core.connection import Connection, ConnectionState, Trouble
from mcpproxy.core.errors import StoreTrouble, StoreUnavailable
from mcpproxy.core.model import Grant, Secret
from mcpproxy.custody.journal import Journal
from mcpproxy.custody.refresh import RefreshTools
from mcpproxy.custody.refresh_manager import RefreshManager
from mcpproxy.storage.engines import Opening, Vault, open_sqlite
from mcpproxy.storage.holder import Holder
from mcpproxy.storage.keys import StaticKey
from mcpproxy.storage.runner import InlineRunner
from tests.custody.bench import HOUR, NAME, virtually
from tests.field.provider import with_fields
from tests.field.scene import MINUTE, Scene
from tests.simulation.provider import Rotation

LONG_TOKEN = "t" * 16_384
"""Ten times what the Windows Credential Manager holds."""


class Keyring(StaticKey):
    """A keyring that is locked until a person unlocks it."""

    is_locked = False

    def read(self) -> bytes:
        if self.is_locked:
            raise StoreUnavailable("the keyring is locked", trouble=StoreTrouble.KEY_LOCKED)
        return super().read()


class OnDisk(Scene):
    """A scene whose processes share a vault file."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__()
        self.data_dir = data_dir
        self.keyring = Keyring()
        self._vaults: dict[str, Vault] = {}

    async def opened(self, name: str) -> Vault:
        return await open_sqlite(
            Opening(
                data_dir=self.data_dir,
                keys=self.keyring,
                clock=self.clock,
                holder=Holder("boot", "pids", 1, "", name),
                is_alive=lambda other: other.instance not in self.dead,
                runner=InlineRunner,
            )
        )

    async def keep(self, grant: Grant) -> None:
        """Put a login into the file."""
        vault = await self.opened("login")
        await vault.store.replace_grant(grant)
        await vault.store.close()

    def tools(self, name: str = "p1") -> RefreshTools:
        vault = self._vaults[name]
        journal = Journal(vault.store, self.clock, self.notices)
        return replace(super().tools(name), journal=journal, lease=vault.lease)

    async def open_and_start(self, name: str = "p1") -> RefreshManager:
        self._vaults[name] = await self.opened(name)
        return await self.start(name)

    async def stop(self, name: str = "p1") -> None:
        await super().stop(name)
        await self._vaults.pop(name).store.close()

    async def stop_all(self) -> None:
        for name in list(self.processes):
            await self.stop(name)


@virtually
async def test_a_vault_that_is_put_back_while_nothing_runs_asks_for_no_login(
    tmp_path: Path,
) -> None:
    async with OnDisk(tmp_path / "vault") as scene:
        scene.data_dir.mkdir()
        await scene.keep(scene.log_in(rotation=Rotation.UNTIL_SUCCESSOR_USED))
        shutil.copytree(scene.data_dir, tmp_path / "backup")
        await scene.open_and_start()
        await scene.pass_time(0.9 * HOUR)
        await scene.stop()
        shutil.rmtree(scene.data_dir)
        shutil.copytree(tmp_path / "backup", scene.data_dir)
        await scene.open_and_start()
        await scene.pass_time(6 * HOUR)
        assert await scene.call()
        scene.require_good()
        await scene.stop_all()


@virtually
async def test_a_keyring_that_is_locked_at_the_start_asks_for_no_login(tmp_path: Path) -> None:
    """UNAVAILABLE is not ABSENT: nothing is made anew, and all is there once it is unlocked."""
    async with OnDisk(tmp_path) as scene:
        await scene.keep(scene.log_in())
        scene.keyring.is_locked = True
        # What the server says to somebody without a token.
        scene.connections[NAME] = Connection(ConnectionState.ERROR, trouble=Trouble.LOGIN_NEEDED)
        await scene.open_and_start()
        await scene.pass_time(3 * HOUR)
        assert scene.presented() == 0
        assert scene.health().cause == "key_locked"
        scene.keyring.is_locked = False
        del scene.connections[NAME]
        await scene.pass_time(2 * MINUTE)
        assert await scene.call()
        scene.require_good(presented=1)
        await scene.stop_all()


@virtually
async def test_processes_that_share_a_file_write_over_no_login_but_their_own(
    tmp_path: Path,
) -> None:
    """Elsewhere each wrote the whole file, and with it the others' old tokens."""
    async with OnDisk(tmp_path) as scene:
        servers = [f"server-{number}" for number in range(3)]
        for server in servers:
            await scene.keep(scene.log_in(server, life=5 * MINUTE))
        for name in ("p1", "p2", "p3"):
            await scene.open_and_start(name)
        await scene.pass_time(HOUR)
        for server in servers:
            presented = [visit.token for visit in scene.provider.visits_of(server)]
            assert len(presented) == len(set(presented)) >= 14
            assert await scene.call(server)
            scene.require_good(server)
        await scene.stop_all()


@virtually
async def test_tokens_of_any_length_are_kept(tmp_path: Path) -> None:
    """Only a key lies in the keyring, so no token is too long for it."""
    async with OnDisk(tmp_path) as scene:
        await scene.keep(scene.log_in())
        scene.provider.manner = with_fields(access_token=LONG_TOKEN)
        await scene.open_and_start()
        await scene.pass_time(0.9 * HOUR)
        await scene.stop()
        await scene.open_and_start()
        grant = scene.processes["p1"].grant(NAME)
        assert grant is not None
        assert grant.tokens.access_token == Secret(LONG_TOKEN)
        scene.require_good(presented=1)
        await scene.stop_all()
