"""What is written is read back equal, today and from what was written long ago."""

import json
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings

from mcpproxy.core.errors import StoreCorrupt, StoreError
from mcpproxy.core.ledger import LedgerLine
from mcpproxy.core.model import ClientRegistration, Grant, Secret
from mcpproxy.core.pending_login import PendingLogin
from mcpproxy.storage import codec
from tests.storage.samples import (
    a_grant,
    a_grant_in_trouble,
    a_grant_with_everything,
    a_line,
    a_login,
    a_registration,
)
from tests.storage.strategies import ANY_GRANT, ANY_LINE, ANY_LOGIN, ANY_REGISTRATION

GOLDEN = Path(__file__).parent / "golden"


@settings(max_examples=200)
@given(ANY_GRANT)
def test_every_grant_is_read_back_equal(grant: Grant) -> None:
    assert codec.decode_grant(codec.encode(grant)) == grant


@given(ANY_LOGIN)
def test_every_pending_login_is_read_back_equal(login: PendingLogin) -> None:
    assert codec.decode_login(codec.encode(login)) == login


@given(ANY_REGISTRATION)
def test_every_registration_is_read_back_equal(registration: ClientRegistration) -> None:
    assert codec.decode_registration(codec.encode(registration)) == registration


@given(ANY_LINE)
def test_every_ledger_line_is_read_back_equal(line: LedgerLine) -> None:
    assert codec.decode_line(codec.encode(line)) == line


def unset(record: object) -> set[str]:
    """The fields that are at their default, at any depth."""
    found: set[str] = set()
    for field in fields(record):  # type: ignore[arg-type]
        value = getattr(record, field.name)
        if value == field.default:
            found.add(field.name)
        elif is_dataclass(value) and not isinstance(value, type):
            found |= {f"{field.name}.{name}" for name in unset(value)}
    return found


def test_the_samples_leave_no_field_at_its_default() -> None:
    """So that the golden records show every field there is."""
    assert unset(a_line()) == set()
    assert unset(a_grant_with_everything()) == {
        "tokens.token_type",  # RFC 6750's, and the only one
        "failures.failure.code",  # a sign-in page says none
        "failures.failure.retry_at",
        "refusals.failure.suspect",  # who refuses is the provider
    }


def test_records_written_by_earlier_versions_are_still_read() -> None:
    """`NAME.json` is what the first version wrote, `NAME-N.json` what the N-th form of it is."""
    read = {
        "grant.json": (codec.decode_grant, a_grant_in_trouble()),
        "grant-2.json": (codec.decode_grant, a_grant_with_everything()),
        "login.json": (codec.decode_login, a_login()),
        "registration.json": (codec.decode_registration, a_registration()),
        "ledger-line.json": (codec.decode_line, a_line()),
    }
    assert {path.name for path in GOLDEN.iterdir()} == set(read)
    for name, (decode, expected) in read.items():
        assert decode((GOLDEN / name).read_bytes()) == expected, name


def test_what_is_written_today_is_what_the_newest_golden_records_hold() -> None:
    """A field that is added, renamed or written otherwise needs a golden record of its own; until
    a form is released, its record may be written anew.
    """
    written: dict[str, codec.Record] = {
        "grant-2.json": a_grant_with_everything(),
        "ledger-line.json": a_line(),
    }
    for name, record in written.items():
        assert json.loads(codec.encode(record)) == json.loads((GOLDEN / name).read_bytes()), name


def test_a_field_of_a_newer_program_is_passed_over() -> None:
    written = json.loads(codec.encode(a_grant()))
    written["invented_later"] = {"deep": [1, 2]}
    written["tokens"]["invented_later"] = True
    assert codec.decode_grant(json.dumps(written).encode()) == a_grant()


def test_a_field_that_an_older_program_did_not_write_takes_its_default() -> None:
    written = json.loads(codec.encode(a_grant()))
    for field in fields(Grant):
        if field.name in ("spares", "variant", "attempt", "unanswered", "rejected"):
            del written[field.name]
    del written["learned"]["refuses_early"]
    assert codec.decode_grant(json.dumps(written).encode()) == a_grant()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"server":1}', b"\xff\xfe", b"null"])
def test_what_is_not_a_record_is_called_damaged(data: bytes) -> None:
    with pytest.raises(StoreCorrupt) as caught:
        codec.decode_grant(data)
    assert caught.value.next_step


def test_a_damaged_record_does_not_show_its_tokens() -> None:
    written = codec.encode(a_grant()).replace(b'"generation":1', b'"generation":"one"')
    with pytest.raises(StoreCorrupt) as caught:
        codec.decode_grant(written)
    assert "canary" not in str(caught.value)
    assert "$.generation" in str(caught.value)


def test_text_that_is_not_unicode_is_refused_without_showing_it() -> None:
    with pytest.raises(StoreError) as caught:
        codec.encode(a_login(state="\ud800token"))
    assert "token" not in str(caught.value)


def test_only_secrets_and_plain_values_are_stored() -> None:
    assert not is_dataclass(Secret)
    with pytest.raises(NotImplementedError):
        codec._reveal(object())
