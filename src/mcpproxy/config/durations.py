"""Spans of time as people write them: seconds as a number, or "30s", "2m", "1h30m", "250ms"."""

import re
from datetime import timedelta
from typing import Final

_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
LONGEST: Final = timedelta(days=366)

ALLOWED: Final = 'a span of time such as 30 (seconds), "30s", "2m" or "1h30m", at most a year'


def parse_duration(value: object) -> timedelta:
    """Raises ValueError, which names what is allowed."""
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            span = timedelta(seconds=value)
        elif isinstance(value, str) and re.fullmatch(f"(?:{_PART.pattern})+", value.strip()):
            parts = _PART.findall(value)
            span = sum((float(count) * _UNITS[unit] for count, unit in parts), timedelta())
        else:
            raise ValueError(ALLOWED)
    except (OverflowError, ValueError):
        raise ValueError(ALLOWED) from None
    if not timedelta() <= span <= LONGEST:
        raise ValueError(ALLOWED)
    return span


def parse_positive(value: object) -> timedelta:
    """A span of time that is not nothing. Raises ValueError."""
    span = parse_duration(value)
    if not span:
        raise ValueError(f"more than 0: {ALLOWED}")
    return span
