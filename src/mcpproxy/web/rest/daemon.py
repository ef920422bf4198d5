"""The daemon about itself: status and doctor."""

from typing import Final

import msgspec

from mcpproxy.core.health import rfc3339
from mcpproxy.web.doctor import Check
from mcpproxy.web.items import ServerStats, Time, server_stats
from mcpproxy.web.rest.endpoint import Call, NoBody, NoQuery, get
from mcpproxy.web.rest.servers import items


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """`key_location` says where the API key is, never what it is."""

    version: str
    pid: int
    ready: bool
    listen: str
    endpoint: str
    socket: str | None
    started_at: Time
    uptime_seconds: float
    data_dir: str
    config_path: str
    store: str
    store_trouble: str | None
    key_location: str
    routing_mode: str
    servers: ServerStats


class Doctor(msgspec.Struct, frozen=True):
    checks: list[Check]


async def _status(call: Call[NoBody, NoQuery]) -> Status:
    parts = call.parts
    about = parts.about()
    trouble = parts.grants.store_trouble()
    return Status(
        version=about.version,
        pid=about.pid,
        ready=parts.ready(),
        listen=about.listen,
        endpoint=about.endpoint,
        socket=about.socket,
        started_at=rfc3339(about.started_at),
        uptime_seconds=round((parts.clock.now() - about.started_at).total_seconds(), 1),
        data_dir=about.data_dir,
        config_path=about.config_path,
        store=about.store,
        store_trouble=trouble.value if trouble else None,
        key_location=about.key_location,
        routing_mode=about.routing_mode,
        servers=server_stats(items(parts)),
    )


async def _doctor(call: Call[NoBody, NoQuery]) -> Doctor:
    return Doctor(list(await call.parts.checks()))


ENDPOINTS: Final = (
    get("/api/v1/status", "The daemon, its store and its servers", _status, Status, NoQuery),
    get("/api/v1/doctor", "Check everything, and say what to do", _doctor, Doctor, NoQuery),
)
