"""What a stateless request repeats in its headers, as it comes off the wire."""

import pytest

from mcpproxy.gateway.mirrored import disagreement, params_of
from mcpproxy.gateway.wire import eras, jsonrpc

CALL = jsonrpc.parse(
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","_meta":{'
    b'"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
    b'"io.modelcontextprotocol/clientCapabilities":{}}}}'
)[0]
HEADERS = {b"mcp-protocol-version": b"2026-07-28", b"mcp-method": b"tools/call"}


@pytest.mark.parametrize("name", [b"echo", b"  echo  ", b"\techo", b"=?base64?ZWNobw==?="])
def test_white_space_around_a_header_is_no_part_of_its_value(name: bytes) -> None:
    assert disagreement("tools/call", *params_of(CALL), {**HEADERS, b"mcp-name": name}) is None


@pytest.mark.parametrize("name", [b"ec ho", b"Echo", b""])
def test_a_header_that_says_something_else_is_a_mismatch(name: bytes) -> None:
    found = disagreement("tools/call", *params_of(CALL), {**HEADERS, b"mcp-name": name})
    assert found is not None
    error = jsonrpc.error_of(found)
    assert error is not None
    assert error.code == eras.HEADER_MISMATCH
