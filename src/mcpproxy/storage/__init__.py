"""The vault: grants, client registrations, pending logins and leases, durable and sealed."""

from mcpproxy.storage.connection import Access, Connect, Connection, SqliteConnection
from mcpproxy.storage.engines import (
    ENGINES,
    VAULT,
    Engine,
    Opening,
    Vault,
    open_memory,
    open_sqlite,
    open_vault,
)
from mcpproxy.storage.holder import Holder, is_alive, this_process
from mcpproxy.storage.keys import KEY_SOURCES, KeyFile, KeySource, StaticKey
from mcpproxy.storage.memory import MemoryLease, MemoryStore, MemoryWorld
from mcpproxy.storage.runner import InlineRunner, Runner, ThreadRunner

__all__ = [
    "ENGINES",
    "KEY_SOURCES",
    "VAULT",
    "Access",
    "Connect",
    "Connection",
    "Engine",
    "Holder",
    "InlineRunner",
    "KeyFile",
    "KeySource",
    "MemoryLease",
    "MemoryStore",
    "MemoryWorld",
    "Opening",
    "Runner",
    "SqliteConnection",
    "StaticKey",
    "ThreadRunner",
    "Vault",
    "is_alive",
    "open_memory",
    "open_sqlite",
    "open_vault",
    "this_process",
]
