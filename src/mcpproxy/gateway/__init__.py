"""The data plane: one MCP endpoint in front of many upstreams.

Law: an envelope is forwarded, not understood. Payloads pass as they came, unknown fields too.
"""
