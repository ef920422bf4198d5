"""Programs by other people that the tests talk to over the wire, each startable from a test."""
