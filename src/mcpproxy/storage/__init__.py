"""The vault: grants, client registrations, pending logins and leases, durable and sealed.

`engines` opens one. Nothing is imported here: the command line reads `ownership` alone, and fast.
"""
