"""A private key in PEM form, from the configuration or from a file of its own.

Law: what is wrong with it is said with its path and never with its text; whether it fits the
provider is seen when it signs.
"""

import os
import re
import stat
from pathlib import Path
from typing import Final

from mcpproxy.config.regular import read_regular

MAX_KEY: Final = 64 * 1024
"""Bytes; the PEM text of an RSA key of 16384 bits has 13,000."""

BEGIN: Final = "-----BEGIN "
PRIVATE: Final = "PRIVATE KEY-----"

MAX_PATH: Final = 4096
MAX_NAME: Final = 255
"""Linux's PATH_MAX and NAME_MAX; other systems allow no more."""

_BARE_KEY: Final = re.compile(r"\s*M[A-Za-z0-9+/=\s]{60,}")
"""What stands between the first and the last line of a PEM text: DER, which begins so."""


def key_path(text: str, base: Path) -> Path:
    """Where a key file is. Raises ValueError, without the text, when that is a key itself."""
    too_long = len(text) > MAX_PATH or any(len(name) > MAX_NAME for name in text.split("/"))
    if too_long or "-----" in text or "\n" in text or _BARE_KEY.fullmatch(text):
        raise ValueError("this is the key itself: put it into `oauth.private_key`")
    try:
        return base / Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"{text}: there is no such home directory") from None


def read_key(path: Path) -> str:
    """The text of a key file. Raises ValueError: it cannot be read, or is no such key."""
    try:
        text = read_regular(path, MAX_KEY).decode()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or type(error).__name__}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: this is no key in PEM form") from None
    try:
        return check_key(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def is_open_to_all(path: Path) -> bool:
    """Whether every user of this machine can read the file, as far as modes say it."""
    try:
        real = path.resolve()
        modes = [real.stat().st_mode, *(each.stat().st_mode for each in real.parents)]
    except (OSError, ValueError, RuntimeError):
        return False
    file, *directories = modes
    passable = all(mode & stat.S_IXOTH for mode in directories)
    return os.name == "posix" and passable and bool(file & stat.S_IROTH)


def check_key(text: str) -> str:
    """The key, if it looks like one that can sign. Raises ValueError."""
    pem = text.replace("\\n", "\n") if "\n" not in text.strip() else text
    if BEGIN not in pem:
        raise ValueError("this is no key in PEM form (-----BEGIN PRIVATE KEY-----)")
    if "ENCRYPTED" in pem:
        raise ValueError(
            "the key is encrypted; write it without a passphrase (openssl pkey -in KEY -out NEW) "
            "and keep the new file readable for yourself alone"
        )
    if "OPENSSH" in pem:
        raise ValueError("an OpenSSH key; turn it into PEM with `ssh-keygen -p -m PKCS8 -f KEY`")
    if PRIVATE not in pem:
        raise ValueError("this is not a private key (-----BEGIN PRIVATE KEY-----)")
    return pem
