"""What the bridge reads of a message, and what it makes of an answer.

Law: an answer reaches the client as it is; only the refusal of an HTTP request becomes the response
to the request that it carried.
"""

from collections.abc import Mapping
from typing import Final

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.local_http import Answer
from mcpproxy.gateway.wire import eras, jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

_CHANGED: Final = {
    "toolsListChanged": "notifications/tools/list_changed",
    "promptsListChanged": "notifications/prompts/list_changed",
    "resourcesListChanged": "notifications/resources/list_changed",
}
# A client over stdio repeats nothing of its arguments in headers.
_OVER_STDIO: Final = "X-Mcpproxy-Stdio"


def is_stream(answer: Answer) -> bool:
    return answer.headers.get("content-type", "").startswith("text/event-stream")


def answers(body: bytes, request_id: bytes) -> bool:
    """Whether this is the response to the request of this id."""
    if not request_id or not body:
        return False
    try:
        message = jsonrpc.parse(body)[0]
    except (ProtocolError, IndexError):
        return False
    return "method" not in message and bytes(message.get("id", b"")) == request_id


def missed(acknowledged: Members) -> list[bytes]:
    """That each list may have changed which the client wants to hear of."""
    params = jsonrpc.members(acknowledged.get("params"))
    honoured = jsonrpc.members(params.get("notifications"))
    told = jsonrpc.raw({"_meta": params.get("_meta")})
    return [jsonrpc.notification(_CHANGED[flag], told) for flag in honoured if flag in _CHANGED]


def under_own_id(body: bytes, status: int, message: Members) -> bytes:
    """The answer's body; a refusal of the HTTP request becomes the response to this request."""
    if status == 200:
        return body
    try:
        refusal = jsonrpc.parse(body)[0]
    except (ProtocolError, IndexError):
        refusal = jsonrpc.error(jsonrpc.UPSTREAM_ERROR, f"mcpproxy answered HTTP {status}")
    return jsonrpc.answered(refusal, message.get("id"))


def session_of(answer: Answer, body: bytes) -> Mapping[str, str]:
    """The headers that put later requests into the session which this answer began."""
    session_id = answer.headers.get("mcp-session-id")
    if session_id is None:
        return {}
    result = jsonrpc.members(jsonrpc.members(body).get("result"))
    version = jsonrpc.text(result.get("protocolVersion")) or eras.ASSUMED_VERSION
    return {"Mcp-Session-Id": session_id, "MCP-Protocol-Version": version}


def modern_headers(message: Members, params: Members, version: str) -> Mapping[str, str]:
    method = jsonrpc.text(message.get("method")) or ""
    headers = {"MCP-Protocol-Version": version, "Mcp-Method": method, _OVER_STDIO: "1"}
    name = jsonrpc.text(params.get(eras.NAME_OF.get(method, "")))
    if name is not None:
        headers["Mcp-Name"] = eras.header_value(name)
    return headers
