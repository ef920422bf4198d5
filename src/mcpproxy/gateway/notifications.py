"""A notification of an upstream that belongs to no call, on its way to the clients that want it.

Law: an update goes to who subscribed, by the URI it subscribed to; a log message to who asked for
logs; the state of a task to whose task it is. Everything else is for all who may reach the server.
"""

from typing import Final

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.hub import Hub, News
from mcpproxy.gateway.levels import LOG
from mcpproxy.gateway.subscriptions import Subscriptions
from mcpproxy.gateway.task_owners import STATUS, TaskOwners
from mcpproxy.gateway.wanted_levels import WantedLevels
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

UPDATED: Final = "notifications/resources/updated"


class Notifications:
    def __init__(
        self, hub: Hub, subscriptions: Subscriptions, levels: WantedLevels, tasks: TaskOwners
    ) -> None:
        self._hub = hub
        self._subscriptions = subscriptions
        self._levels = levels
        self._tasks = tasks

    def publish(self, server: str, method: str, message: Members) -> None:
        try:
            match method:
                case method if method == UPDATED:
                    self._updated(server, message)
                case method if method == LOG:
                    self._logged(server, message)
                case method if method == STATUS:
                    self._task(server, message)
                case _:
                    self._hub.publish(News(server, method, message))
        except ProtocolError:
            return  # a message for some only that does not say of what it is, is for nobody

    def _updated(self, server: str, message: Members) -> None:
        params = jsonrpc.members(message.get("params"))
        for told in self._subscriptions.told(server, jsonrpc.text(params.get("uri")) or ""):
            shown = jsonrpc.raw({**params, "uri": jsonrpc.raw(told.shown)})
            self._hub.publish(News(server, UPDATED, {**message, "params": shown}, told.to))

    def _logged(self, server: str, message: Members) -> None:
        """Whoever is at the server's own face hears what it says; of all servers, who asked."""
        self._hub.publish(News(server, LOG, message))
        listening = self._levels.of_all()
        if listening:
            self._hub.publish(News(server, LOG, message, listening))

    def _task(self, server: str, message: Members) -> None:
        params = jsonrpc.members(message.get("params"))
        to = self._hub.where(lambda caller: self._tasks.may_see(caller, server, params))
        self._hub.publish(News(server, STATUS, message, to))
