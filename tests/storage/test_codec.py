"""What is written is read back equal, today and from what was written long ago."""

import json
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings

from mcpproxy.core.errors import StoreCorrupt, StoreError
from mcpproxy.core.model import ClientRegistration, Grant, PendingLogin, Secret
from mcpproxy.storage import codec
from tests.storage.samples import a_grant, a_grant_in_trouble, a_login, a_registration
from tests.storage.strategies import ANY_GRANT, ANY_LOGIN, ANY_REGISTRATION

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


def test_the_sample_in_trouble_leaves_no_field_at_its_default() -> None:
    """So that the golden record shows every field that the first version knew."""
    sample, later = a_grant_in_trouble(), {"repair_tried_at"}
    unset = {field.name for field in fields(Grant) if not getattr(sample, field.name)}
    assert unset - later == {"revision"}


def test_records_written_by_the_first_version_are_still_read() -> None:
    read = {
        "grant.json": (codec.decode_grant, a_grant_in_trouble()),
        "login.json": (codec.decode_login, a_login()),
        "registration.json": (codec.decode_registration, a_registration()),
    }
    for name, (decode, expected) in read.items():
        assert decode((GOLDEN / name).read_bytes()) == expected, name


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
