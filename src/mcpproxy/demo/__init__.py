"""`mcpproxy demo`: a bundled provider and server, and the story of a login that nothing ends."""
