"""Who is looked at when."""

from datetime import timedelta

from mcpproxy.custody.agenda import NEVER, Agenda

SECOND = timedelta(seconds=1)


def test_a_server_is_looked_at_when_its_moment_has_come_and_once() -> None:
    agenda = Agenda()
    agenda.put("later", 20 * SECOND)
    agenda.put("sooner", 10 * SECOND)
    assert agenda.next_at() == 10 * SECOND
    assert agenda.take(9 * SECOND) == []
    assert agenda.take(10 * SECOND) == ["sooner"]
    assert agenda.take(30 * SECOND) == ["later"]
    assert agenda.next_at() == NEVER


def test_the_last_word_about_a_moment_counts() -> None:
    agenda = Agenda()
    agenda.put("one", 10 * SECOND)
    agenda.put("one", 20 * SECOND)
    assert agenda.take(15 * SECOND) == []
    agenda.put("one", 16 * SECOND)
    assert agenda.next_at() == 16 * SECOND
    assert agenda.take(60 * SECOND) == ["one"]
    assert agenda.take(60 * SECOND) == []


def test_what_was_touched_is_looked_at_at_once_and_first() -> None:
    agenda = Agenda()
    agenda.put("due", SECOND)
    agenda.touch(["touched", "due"])
    assert agenda.next_at() == timedelta(0)
    assert agenda.take(SECOND) == ["touched", "due"]


def test_what_was_dropped_is_not_looked_at() -> None:
    agenda = Agenda()
    agenda.touch(["gone"])
    agenda.put("gone", SECOND)
    agenda.drop("gone")
    assert agenda.take(2 * SECOND) == []
    assert agenda.next_at() == NEVER
