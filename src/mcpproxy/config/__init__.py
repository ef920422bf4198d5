"""The configuration file and the environment, as frozen settings.

`load` reads, `edit` writes, `watch` follows, `locate` is what commands need, and loads fast.
Nothing is imported here: commands must not pay for pydantic.
"""
