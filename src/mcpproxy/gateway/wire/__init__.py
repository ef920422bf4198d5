"""The MCP wire without I/O: envelopes, framing and the handshake, for both faces of the proxy."""
