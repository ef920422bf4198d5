"""The HTTP face: REST, events, probes, metrics, the login callback; and the guard before them."""
