"""The bounds every engine keeps, so that no table grows for ever."""

from typing import Final

MAX_SET_ASIDE: Final = 8
"""Former grants kept of one server: a person who logs in again and again still finds a week's."""

MAX_APPROVALS: Final = 40_000
"""Approved tool definitions kept of one server: twice as many tools as it may list, since only
half of them are trusted without a person. What is kept stays; new names beyond are not.
"""

MAX_APPROVED_BYTES: Final = 16 * 1024 * 1024
"""Their texts, packed; of the oldest over that only the digests are kept."""

MAX_PENDING_LOGINS: Final = 256
"""Logins begun and not ended; each lives ten minutes, so a person never comes near it."""
