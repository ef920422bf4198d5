"""Keeps grants alive: one loop, one refresh at a time for each, and the logins that begin them."""
