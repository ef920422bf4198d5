"""Replace a file as a whole: the old content or the new one, never half of either.

Law: written beside the target, synced, renamed over it; a symbolic link stays a link. 0600.
"""

import contextlib
import os
import secrets
import sys
from pathlib import Path

from mcpproxy.core.errors import ConfigError, NotPermitted


def write_private(path: Path, text: str) -> None:
    """Raises ConfigError or NotPermitted; then the file is as it was."""
    target = path.resolve()
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if sys.platform != "win32":
                os.fchmod(descriptor, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, target)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
        _sync_directory(target.parent)
    except PermissionError as error:
        raise NotPermitted(
            f"{path} cannot be written: {error.strerror}",
            next_step="make the file and its directory writable for this user",
        ) from error
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}",
            next_step="look after the disk; the file is as it was",
        ) from error


def _sync_directory(path: Path) -> None:
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
