"""One request of a client, on its way through faces, modes and dispatch."""

from dataclasses import dataclass

from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.client import Client
from mcpproxy.gateway.session import Sink
from mcpproxy.gateway.wire.jsonrpc import Members


@dataclass(frozen=True, slots=True)
class Ask:
    """`caller` is who proved to be asking, `client` the program, `sink` hears what precedes the
    answer, `request_id` is the HTTP request's, for whoever looks for it later.
    """

    caller: Caller
    method: str
    params: Members
    sink: Sink | None = None
    client: Client | None = None
    request_id: str = ""
