"""`${env:NAME}` and `${keyring:NAME}` in values, replaced when the configuration is loaded.

Law: what a reference stands for is never shown; a missing one is named.
"""

import re
import threading
from collections.abc import Callable, Mapping
from typing import Final

from mcpproxy.config.jsonc import Json

_REFERENCE: Final = re.compile(r"\$\{(env|keyring):([^}]*)\}")
KEYRING_SERVICE: Final = "mcpproxy"
KEYRING_TIMEOUT_S: Final = 10.0
"""A keyring that asks a person to unlock it may never answer."""

Lookup = Callable[[str], str]
"""The value of this name. Raises LookupError with the reason why there is none."""


class References:
    """Replaces references in a JSON value and collects what is missing."""

    def __init__(self, environ: Mapping[str, str], keyring: "Lookup | None" = None) -> None:
        self._lookups: Mapping[str, Lookup] = {
            "env": lambda name: _from_environment(environ, name),
            "keyring": keyring or from_keyring,
        }

    def resolve(self, value: Json) -> tuple[Json, tuple[str, ...]]:
        """The value with every reference replaced that can be, and the reasons for the rest."""
        missing: list[str] = []
        return self._walk(value, missing), tuple(dict.fromkeys(missing))

    def _walk(self, value: Json, missing: list[str]) -> Json:
        match value:
            case str():
                return _REFERENCE.sub(lambda found: self._replace(found, missing), value)
            case list():
                return [self._walk(item, missing) for item in value]
            case dict():
                return {key: self._walk(item, missing) for key, item in value.items()}
            case _:
                return value

    def _replace(self, found: re.Match[str], missing: list[str]) -> str:
        kind, name = found.groups()
        try:
            return self._lookups[kind](name)
        except LookupError as error:
            missing.append(f"{found[0]}: {error.args[0]}")
            return found[0]


def is_unresolved(text: str) -> bool:
    return _REFERENCE.search(text) is not None


def _from_environment(environ: Mapping[str, str], name: str) -> str:
    try:
        return environ[name]
    except KeyError:
        raise LookupError("this environment variable is not set") from None


def from_keyring(name: str) -> str:
    """The system keyring's item `mcpproxy` / `name`, waited for no longer than the timeout."""
    answers: list[str | None] = []
    reasons: list[str] = []

    def ask() -> None:
        try:
            import keyring

            answers.append(keyring.get_password(KEYRING_SERVICE, name))
        except ImportError:
            reasons.append("keyring support is not installed (pip install 'mcpproxy[keyring]')")
        except Exception as error:  # a keyring backend may raise anything
            reasons.append(f"the keyring says {type(error).__name__}")

    thread = threading.Thread(target=ask, name="mcpproxy-keyring", daemon=True)
    thread.start()
    thread.join(KEYRING_TIMEOUT_S)
    if reasons:
        raise LookupError(reasons[0])
    if not answers:
        raise LookupError(f"the keyring did not answer within {KEYRING_TIMEOUT_S:g} s")
    if answers[0] is None:
        raise LookupError(f"the keyring has no item {KEYRING_SERVICE} / {name}")
    return answers[0]
