"""What differs between two scores of one suite, and how it reads."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.conformance.suites import Key, Score, Verdict


@dataclass(frozen=True, slots=True)
class Difference:
    """A check that came out otherwise through mcpproxy; None is one that was not judged at all."""

    key: Key
    direct: Verdict | None
    through: Verdict | None

    def __str__(self) -> str:
        message = (self.through or self.direct or Verdict("", "")).message
        return f"{self.key}: {_word(self.direct)} → {_word(self.through)} {message}".rstrip()


def _word(verdict: Verdict | None) -> str:
    return verdict.status if verdict else "not judged"


def differences(direct: Score, through: Score) -> list[Difference]:
    """Every check whose outcome is not the same, in their order."""
    return [
        Difference(key, direct.get(key), through.get(key))
        for key in sorted({*direct, *through})
        if _word(direct.get(key)) != _word(through.get(key))
    ]


def listed(found: Iterable[Difference]) -> str:
    return "\n".join(f"- {difference}" for difference in found)
