"""Every feature of the protocol between every two of the official SDKs, mcpproxy in between."""
