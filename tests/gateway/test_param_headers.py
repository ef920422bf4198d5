"""Arguments that are repeated in headers: as the official SDK reads and writes them."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.shared.inbound import find_invalid_x_mcp_header, mcp_param_headers, x_mcp_header_map

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.discovery import read_discovery
from mcpproxy.gateway.wire.envelope import Annotations, envelope, headers_for
from mcpproxy.gateway.wire.param_headers import InvalidAnnotation, headers_of, param_headers


def tool(schema: Any) -> bytes:
    return json.dumps({"name": "t", "inputSchema": schema}).encode()


def property_of(kind: str, name: Any) -> dict[str, Any]:
    return {"type": kind, "x-mcp-header": name}


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


GOOD = [
    schema(),
    schema(a=property_of("string", "Region"), b=property_of("integer", "Number")),
    schema(a=schema(b=schema(c=property_of("boolean", "Deep")))),
    schema(a={"type": "string", "default": {"x-mcp-header": "Data"}}),
]
BAD = [
    schema(a=property_of("number", "Region")),
    schema(a=property_of("object", "Region")),
    schema(a=property_of("string", "")),
    schema(a=property_of("string", "two words")),
    schema(a=property_of("string", "late\r\nX: y")),
    schema(a=property_of("string", 7)),
    schema(a={"x-mcp-header": "Untyped"}),
    schema(a={"type": ["string", "null"], "x-mcp-header": "Several"}),
    schema(a=property_of("string", "Same"), b=property_of("string", "same")),
    schema(a={"type": "array", "items": property_of("string", "Item")}),
    {**schema(), "x-mcp-header": "Root"},
    {"anyOf": [schema(a=property_of("string", "Either"))]},
    {**schema(), "$defs": {"d": property_of("string", "Shared")}},
]


@pytest.mark.parametrize("given_schema", GOOD)
def test_annotations_that_can_be_obeyed_are_found(given_schema: Any) -> None:
    assert find_invalid_x_mcp_header(given_schema) is None
    expected = {k: f"Mcp-Param-{v}" for k, v in x_mcp_header_map(given_schema).items()}
    assert param_headers(tool(given_schema)) == expected


@pytest.mark.parametrize("given_schema", BAD)
def test_annotations_that_cannot_be_obeyed_are_refused(given_schema: Any) -> None:
    assert find_invalid_x_mcp_header(given_schema) is not None
    with pytest.raises(InvalidAnnotation):
        param_headers(tool(given_schema))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from("abc"),
        st.text() | st.booleans() | st.integers(-(2**53), 2**53) | st.none() | st.just({"c": "x"}),
    )
)
def test_headers_are_those_of_the_official_client(arguments: dict[str, Any]) -> None:
    found = schema(
        a=property_of("string", "A"),
        b=property_of("integer", "B"),
        c=schema(c=property_of("boolean", "C")),
    )
    ours = headers_of(param_headers(tool(found)), json.dumps(arguments).encode())
    assert ours == mcp_param_headers(x_mcp_header_map(found), arguments)


def test_what_is_learned_of_tools_is_of_their_last_listing() -> None:
    annotations = Annotations()
    found = schema(a=property_of("string", "A"))
    page = jsonrpc.result(b'{"tools": [%s]}' % tool(found))
    annotations.learn({}, page)
    params = jsonrpc.members(b'{"name": "t", "arguments": {"a": "x"}}')
    assert headers_for("tools/call", params, annotations) == {
        "Mcp-Method": "tools/call",
        "Mcp-Name": "t",
        "Mcp-Param-A": "x",
    }
    annotations.learn({"cursor": jsonrpc.raw("2")}, jsonrpc.result(b'{"tools": []}'))
    assert "Mcp-Param-A" in headers_for("tools/call", params, annotations)
    annotations.learn({}, jsonrpc.result(b'{"tools": []}'))
    assert "Mcp-Param-A" not in headers_for("tools/call", params, annotations)


def test_an_envelope_keeps_what_the_caller_had_in_its_meta() -> None:
    params = jsonrpc.members(b'{"_meta": {"traceparent": "00-1", "x": [1]}, "name": "t"}')
    sent = json.loads(jsonrpc.encode(envelope(params, None, "info")))
    assert (sent["name"], sent["_meta"]["traceparent"], sent["_meta"]["x"]) == ("t", "00-1", [1])
    assert sent["_meta"]["io.modelcontextprotocol/logLevel"] == "info"
    assert sent["_meta"]["io.modelcontextprotocol/clientCapabilities"] == {}


def test_a_discovery_introduces_a_server_as_a_handshake_does() -> None:
    said = {
        "supportedVersions": ["2026-07-28"],
        "resultType": "complete",
        "ttlMs": 0,
        "cacheScope": "public",
        "capabilities": {"tools": {}},
        "instructions": "Hello.",
        "x-new": 1,
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "s"}, "kept": True},
    }
    agreed = read_discovery(jsonrpc.result(jsonrpc.raw(said)))
    assert agreed is not None
    assert json.loads(jsonrpc.encode(agreed.result)) == {
        "capabilities": {"tools": {}},
        "instructions": "Hello.",
        "x-new": 1,
        "serverInfo": {"name": "s"},
        "_meta": {"kept": True},
    }


def test_a_server_of_the_future_names_what_it_speaks() -> None:
    with pytest.raises(ProtocolError, match="2030-01-01"):
        read_discovery(jsonrpc.result(b'{"supportedVersions": ["2030-01-01"]}'))
