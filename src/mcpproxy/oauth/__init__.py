"""Speaks OAuth 2.1 to authorization servers: discovery, registration, login, tokens, revocation.

Law: conversations are generators of requests and do no I/O; `token` alone classifies an answer;
`client` alone opens connections.
"""
