"""What differs between two scores of one suite, and how it reads."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.conformance import table
from tests.conformance.known import OTHERWISE
from tests.conformance.suites import Key, Score, Suite, Verdict


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


def assert_known(suite: Suite, behind: str, direct: Score, through: Score) -> None:
    """Every difference is a known one, and every known one is still there."""
    found = differences(direct, through)
    table.note(suite, behind, direct, through, listed(found))
    known = OTHERWISE.get((suite.name, behind), {})
    unknown = [each for each in found if str(each.key) not in known]
    assert not unknown, listed(unknown)
    gone = {*known} - {str(each.key) for each in found}
    assert not gone, f"these come out the same by now: {gone}"
