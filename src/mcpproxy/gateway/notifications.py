"""A notification of an upstream that belongs to no call, on its way to the clients that want it.

Law: an update goes to who subscribed, by the URI it subscribed to; a log message to who asked for
logs, and where callers have calls in flight only to whose it must be; the state of a task to whose
task it is. Everything else is for all who may reach the server.
"""

from typing import Final

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.hub import Hub, News, Subscriber
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

    def publish(self, server: str, method: str, message: Members, about: frozenset[str]) -> None:
        """`about` are the callers of whom one may be meant; nobody: it is for all."""
        try:
            match method:
                case method if method == UPDATED:
                    self._updated(server, message)
                case method if method == LOG:
                    self._logged(server, message, about)
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

    def _logged(self, server: str, message: Members, about: frozenset[str]) -> None:
        """Whoever is at the server's own face hears what it says; of all servers, who asked."""
        listening = self._levels.of_all()

        def is_for(one: Subscriber) -> bool:
            listens = one.face.server == server or one.key in listening
            return listens and _may_hear(one.caller, about)

        self._hub.publish(News(server, LOG, message, self._hub.where(is_for)))

    def _task(self, server: str, message: Members) -> None:
        params = jsonrpc.members(message.get("params"))
        to = self._hub.where(lambda one: self._tasks.may_see(one.caller, server, params))
        self._hub.publish(News(server, STATUS, message, to))


def _may_hear(caller: Caller, about: frozenset[str]) -> bool:
    """Whether a log message may be this caller's business. What may be of several calls is for a
    caller without limits alone, who may see all that they do.
    """
    if not about:
        return True
    return about == {caller.name} or (len(about) > 1 and caller.unlimited)
