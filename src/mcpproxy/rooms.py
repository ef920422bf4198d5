"""The rooms of one daemon, each introduced to those it needs.

Law: here rooms of one floor meet, and nowhere else; nothing is begun here.
"""

import hmac
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mcpproxy.config.settings import Settings
from mcpproxy.core.health import Health
from mcpproxy.core.ledger import login_line
from mcpproxy.core.model import Grant, Secret
from mcpproxy.core.notices import LedgerWritten
from mcpproxy.core.ports import Clock, LoginDesk
from mcpproxy.custody.journal import Journal
from mcpproxy.custody.login import LoginTools, PendingLogins
from mcpproxy.custody.machine_login import MachineLogins, MachineTools
from mcpproxy.custody.refresh import RefreshTools
from mcpproxy.custody.refresh_manager import RefreshManager
from mcpproxy.gateway.gateway import Gateway
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.transports.outbound import Outbound
from mcpproxy.live_config import LiveConfig
from mcpproxy.network.addresses import local_addresses
from mcpproxy.oauth.client import OAuthHttpSender
from mcpproxy.oauth.conversation import Conversation
from mcpproxy.oauth.repair import Repairs
from mcpproxy.oauth.token_endpoint import TokenEndpoint
from mcpproxy.observability.bus import Bus
from mcpproxy.observability.logouts import Logouts
from mcpproxy.observability.monitor import Monitor
from mcpproxy.observability.upstream_log import UpstreamLogs
from mcpproxy.storage.engines import Vault
from mcpproxy.web.callback import LoopbackCallback

ATTEMPT_ID_BYTES: Final = 9


@dataclass(frozen=True, slots=True)
class Ground:
    """What all rooms stand on."""

    settings: Settings
    config: LiveConfig
    vault: Vault
    clock: Clock
    bus: Bus
    logs: UpstreamLogs
    callback: LoopbackCallback
    may_send: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Rooms:
    """What one daemon is made of."""

    vault: Vault
    sender: OAuthHttpSender
    manager: RefreshManager
    gateway: Gateway
    logins: PendingLogins
    machine: MachineLogins
    monitor: Monitor
    logouts: Logouts


def introduce(ground: Ground) -> Rooms:
    """Build every room of a daemon."""
    settings, clock, bus, vault = ground.settings, ground.clock, ground.bus, ground.vault
    out = settings.outbound
    sender = OAuthHttpSender(
        policy=settings.refresh, proxy=out.proxy, no_proxy=out.no_proxy, ca_file=out.ca_file
    )
    provider = TokenEndpoint(sender, clock)
    manager = _manager(ground, sender, provider)
    adopt = _adopt_and_tell(manager, bus)
    gateway = _gateway(ground, manager, lambda server: monitor.health(server), lambda: logins)
    conversation = Conversation(sender, vault.store, clock)
    machine = MachineLogins(
        MachineTools(
            store=vault.store,
            conversation=conversation,
            clock=clock,
            policy=settings.refresh,
            upstreams=ground.config.upstreams,
            challenge=gateway.challenge,
            known=manager.grant,
            adopt=adopt,
            log_out=lambda server: logins.logout(server),
            revoke=provider.revoke,
        )
    )
    manager.on_vanished(machine.apply)
    logins = PendingLogins(
        LoginTools(
            store=vault.store,
            lease=vault.lease,
            conversation=conversation,
            provider=provider,
            listener=ground.callback,
            clock=clock,
            policy=settings.refresh,
            publisher=bus,
            upstreams=ground.config.upstreams,
            challenge=gateway.challenge,
            adopt=adopt,
            forget=manager.forget,
            seed=machine.seed,
            stay_out=machine.stay_out,
            token=manager.token,
        )
    )
    logouts = Logouts(clock)
    monitor: Monitor = Monitor(
        clock,
        ground.config,
        manager,
        gateway,
        logins.pending,
        bus,
        settings.refresh,
        seeding=machine.seeding,
        logged_out=logouts.logged_out_at,
    )
    return Rooms(vault, sender, manager, gateway, logins, machine, monitor, logouts)


def _session_key(api_key: Secret) -> bytes:
    """What signs the ids of client sessions: the same for every run and replica with this key."""
    return hmac.digest(api_key.reveal().encode(), b"mcpproxy client sessions", "sha256")


def _gateway(
    ground: Ground,
    manager: RefreshManager,
    health: Callable[[str], Health],
    desk: Callable[[], LoginDesk],
) -> Gateway:
    settings = ground.settings
    out = settings.outbound
    return Gateway(
        tokens=manager,
        clock=ground.clock,
        publisher=ground.bus,
        log=ground.logs,
        health=health,
        routing_mode=settings.routing_mode.value,
        limits=GatewayLimits(
            call_timeout=settings.call_timeout,
            connect_timeout=settings.connect_timeout,
            tools_limit=settings.tools_limit,
            response_limit=settings.response_limit,
        ),
        outbound=Outbound(out.proxy, out.no_proxy, out.ca_file),
        control=settings.control,
        approvals=ground.vault.approvals,
        memory=ground.vault.store,
        session_key=_session_key(settings.api_key),
        desk=desk,
    )


def _adopt_and_tell(manager: RefreshManager, bus: Bus) -> Callable[[Grant], None]:
    """Whoever made a login, its line in the ledger is told."""

    def adopt(grant: Grant) -> None:
        manager.adopt(grant)
        if grant.revision == 0:
            bus.publish(LedgerWritten(grant.server, login_line(grant)))

    return adopt


def _manager(ground: Ground, sender: OAuthHttpSender, provider: TokenEndpoint) -> RefreshManager:
    vault, clock = ground.vault, ground.clock
    return RefreshManager(
        RefreshTools(
            journal=Journal(vault.store, clock, ground.bus),
            lease=vault.lease,
            provider=provider,
            clock=clock,
            publisher=ground.bus,
            policy=ground.settings.refresh,
            holder=f"{os.getpid()}",
            new_attempt_id=lambda: secrets.token_urlsafe(ATTEMPT_ID_BYTES),
            may_send=ground.may_send,
            repair=Repairs(sender, vault.store, clock),
            is_online=lambda: bool(local_addresses()),
        )
    )
