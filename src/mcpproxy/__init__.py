"""One MCP endpoint in front of all your MCP servers, with logins that stay alive."""

__version__ = "0.1.0"
