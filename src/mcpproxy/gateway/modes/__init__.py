"""Routing modes: how the tools of all upstreams are shown to clients."""
