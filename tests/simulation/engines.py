"""The storage engines as the simulator opens them: the real ones, run inline."""

from mcpproxy.core.ports import Lease, Store
from mcpproxy.storage.holder import Holder
from mcpproxy.storage.memory import MemoryLease, MemoryStore, MemoryWorld
from tests.simulation.world import Engine, Process, World


def memory_engine() -> Engine:
    """One MemoryWorld for all processes; the dead are known as such."""
    shared = MemoryWorld()

    def open_engine(world: World, process: Process) -> tuple[Store, Lease]:
        def is_alive(holder: Holder) -> bool:
            return any(other.name == holder.instance for other in world.processes)

        holder = Holder("sim-boot", "sim", 1, "", process.name)
        lease = MemoryLease(shared, world.clock, holder=holder, is_alive=is_alive)
        return MemoryStore(shared), lease

    return open_engine
