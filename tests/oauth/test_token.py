"""The classifier: every answer a token endpoint is known to give, and what it means."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from mcpproxy.core.model import FailureKind, Secret
from mcpproxy.core.provider_ports import Issued
from mcpproxy.oauth.answer import pack
from tests.oauth.made import GRANT, NOW, answer
from tests.oauth.readings import (
    ENDPOINT,
    PAGE,
    REFUSED,
    TRANSIENT,
    UNKNOWN,
    WHOLE,
    failed,
    issued,
    oauth,
)

# --- what counts as tokens ------------------------------------------------------------------


TOKEN_BODIES = {
    "plain JSON": WHOLE,
    "a byte order mark": "\ufeff" + WHOLE,
    "white space around": f"\n  {WHOLE}\n",
    "a token type in capitals": WHOLE.replace("Bearer", "BEARER"),
    "a token type of Slack's": WHOLE.replace("Bearer", "user"),
    "no token type": '{"access_token":"new-a","refresh_token":"new-r","expires_in":3600}',
    "a life in a string": WHOLE.replace("3600", '"3600"'),
    "a life as a float": WHOLE.replace("3600", "3600.0"),
    "duplicate keys": '{"access_token":"stale",' + WHOLE[1:],
    "duplicate keys, the last one null": WHOLE[:-1] + ',"refresh_token":null}',
    "fields nobody knows": WHOLE[:-1] + ',"x":{"y":[1,null]},"ok":true,"error":null}',
    "form encoding": "access_token=new-a&refresh_token=new-r&expires_in=3600&token_type=bearer",
    "a number of 5,000 digits beside": WHOLE[:-1] + f',"n":{"9" * 5000}}}',
}


@pytest.mark.parametrize("body", TOKEN_BODIES.values(), ids=TOKEN_BODIES)
def test_a_token_answer_is_understood_however_it_is_written(body: str) -> None:
    tokens = issued(body).tokens
    assert tokens.access_token == Secret("new-a")
    assert tokens.refresh_token == Secret("new-r")
    assert tokens.expires_at == NOW + timedelta(hours=1)
    assert tokens.token_type == "Bearer"


@pytest.mark.parametrize("status", [200, 201, 202])
def test_every_success_status_is_a_success(status: int) -> None:
    assert issued(WHOLE, status).tokens.access_token == Secret("new-a")


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", "text/html", ""])
def test_the_body_counts_and_not_the_content_type(kind: str) -> None:
    assert issued(WHOLE, headers={"content-type": kind}).tokens.refresh_token == Secret("new-r")


@pytest.mark.parametrize(
    "life",
    [
        "null",
        '""',
        "0",
        "-5",
        '"0"',
        '"3600abc"',
        "true",
        "1e400",
        "1e300",
        "NaN",
        "9" * 400,
        "[]",
        "{}",
        '"Infinity"',
        "0.5",
        "315619200001",
    ],
)
def test_a_life_that_says_nothing_is_not_known(life: str) -> None:
    assert issued(f'{{"access_token":"a","expires_in":{life}}}').tokens.expires_at is None


@pytest.mark.parametrize("missing", ["null", '""', '"  "', "false", "7", "[]"])
def test_a_refresh_token_that_is_none_is_left_to_the_grant(missing: str) -> None:
    body = f'{{"access_token":"a","expires_in":60,"refresh_token":{missing}}}'
    assert issued(body).tokens.refresh_token is None


@pytest.mark.parametrize(
    ("scope", "understood"),
    [
        ('"a b"', "a b"),
        ('["a","b"]', "a b"),
        ('["a",7,"b"]', "a b"),
        ('""', None),
        ("null", None),
        ("[]", None),
        ("5", None),
        ('"a\\nb \\ud800"', "a b"),
    ],
)
def test_a_scope_is_one_string_of_names(scope: str, understood: str | None) -> None:
    assert issued(f'{{"access_token":"a","scope":{scope}}}').tokens.scope == understood


def test_a_life_counts_from_when_the_answer_came_not_from_when_it_is_read() -> None:
    packed = pack(answer(200, WHOLE), NOW)
    outcome = ENDPOINT.read(GRANT, packed, NOW + timedelta(minutes=50))
    assert isinstance(outcome, Issued)
    assert outcome.tokens.expires_at == NOW + timedelta(hours=1)


def test_a_life_counts_from_now_when_the_clock_went_back_since() -> None:
    packed = pack(answer(200, WHOLE), NOW)
    outcome = ENDPOINT.read(GRANT, packed, NOW - timedelta(days=365))
    assert isinstance(outcome, Issued)
    assert outcome.tokens.issued_at == NOW - timedelta(days=365)


@pytest.mark.parametrize(
    "body",
    [
        WHOLE[:-1],
        WHOLE[: WHOLE.index(',"expires_in')],
        WHOLE[: WHOLE.index("3600") + 2],
        WHOLE[: WHOLE.index("Bearer") + 3],
    ],
)
def test_a_whole_pair_is_saved_out_of_a_broken_answer(body: str) -> None:
    tokens = issued(body, complete=False).tokens
    assert (tokens.access_token, tokens.refresh_token) == (Secret("new-a"), Secret("new-r"))


def test_half_a_number_is_not_taken_for_a_life() -> None:
    body = WHOLE[: WHOLE.index("3600") + 2]
    assert issued(body, complete=False).tokens.expires_at is None


def test_escapes_in_a_broken_answer_are_read_as_json_reads_them() -> None:
    body = r'{"access_token":"a\/b","refresh_token":"r\u0041","scope":"x'
    tokens = issued(body, complete=False).tokens
    assert (tokens.access_token, tokens.refresh_token) == (Secret("a/b"), Secret("rA"))


@pytest.mark.parametrize("cut", range(1, WHOLE.index('","expires_in')))
def test_less_than_a_whole_pair_is_asked_for_again(cut: int) -> None:
    failure = failed(answer(200, WHOLE[:cut], complete=False))
    assert failure.kind is UNKNOWN


FORM = "access_token=new-a&token_type=Bearer&refresh_token=new-r&expires_in=3600"


@pytest.mark.parametrize("cut", range(1, FORM.index("&expires_in") + 1))
def test_of_a_form_that_broke_off_the_last_field_is_not_believed(cut: int) -> None:
    failure = failed(answer(200, FORM[:cut], complete=False))
    assert failure.kind is UNKNOWN


@pytest.mark.parametrize("cut", range(FORM.index("&expires_in") + 1, len(FORM) + 1))
def test_a_whole_pair_is_saved_out_of_a_broken_form(cut: int) -> None:
    tokens = issued(FORM[:cut], complete=False).tokens
    assert (tokens.access_token, tokens.refresh_token) == (Secret("new-a"), Secret("new-r"))
    assert tokens.expires_at is None


# --- what counts as failure -----------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    status: int
    body: str
    kind: FailureKind
    code: str | None = None
    detail: str | None = None


GRANT_DEAD = "invalid_grant"
FAILURES = {
    # the provider's clear word about the grant
    "invalid_grant": Case(400, oauth("invalid_grant"), REFUSED, GRANT_DEAD, "invalid_grant"),
    "invalid_grant with 401": Case(401, oauth("invalid_grant"), REFUSED, GRANT_DEAD),
    "invalid_grant with 403 (Atlassian)": Case(403, oauth("invalid_grant"), REFUSED, GRANT_DEAD),
    "invalid_grant inside 200": Case(200, oauth("invalid_grant"), REFUSED, GRANT_DEAD),
    "invalid_grant in capitals": Case(400, oauth("INVALID_GRANT"), REFUSED, GRANT_DEAD),
    "invalid_grant with its reason behind it": Case(
        400, oauth("invalid_grant: token expired"), REFUSED, GRANT_DEAD
    ),
    "invalid_grant form-encoded": Case(400, "error=invalid_grant", REFUSED, GRANT_DEAD),
    "reuse detected (Notion)": Case(
        400,
        oauth("invalid_grant", "Refresh token reuse detected"),
        REFUSED,
        GRANT_DEAD,
        "invalid_grant: Refresh token reuse detected",
    ),
    "GitHub": Case(
        200, "error=bad_refresh_token&error_description=It+is+expired", REFUSED, GRANT_DEAD
    ),
    "GitHub in JSON": Case(200, oauth("bad_refresh_token"), REFUSED, GRANT_DEAD),
    "Slack": Case(200, '{"ok":false,"error":"invalid_refresh_token"}', REFUSED, GRANT_DEAD),
    "Slack, revoked": Case(200, '{"ok":false,"error":"token_revoked"}', REFUSED, GRANT_DEAD),
    "Supabase without error": Case(
        400,
        '{"code":400,"error_code":"refresh_token_not_found","msg":"Invalid Refresh Token"}',
        REFUSED,
        GRANT_DEAD,
    ),
    "Atlassian's unauthorized_client": Case(
        403, oauth("unauthorized_client", "refresh_token is invalid"), REFUSED, GRANT_DEAD
    ),
    "401 token not found": Case(401, '{"message":"Refresh token not found"}', REFUSED, GRANT_DEAD),
    "401 token not found as the error": Case(
        401, '{"error":"token not found"}', REFUSED, GRANT_DEAD
    ),
    "invalid_request for a dead token (Metabase)": Case(
        400, oauth("invalid_request", "The refresh token is invalid"), REFUSED, GRANT_DEAD
    ),
    "invalid_request for a lost session (Better Auth)": Case(
        400, oauth("invalid_request", "session not found"), REFUSED, GRANT_DEAD
    ),
    "an error that is an object": Case(
        400, '{"error":{"code":"invalid_grant","message":"gone"}}', REFUSED, GRANT_DEAD
    ),
    "a list of errors": Case(400, '{"errors":[{"code":"invalid_grant"}]}', REFUSED, GRANT_DEAD),
    "the person is wanted": Case(
        400, oauth("interaction_required"), REFUSED, "interaction_required"
    ),
    # the provider's clear word about our client
    "invalid_client": Case(401, oauth("invalid_client"), REFUSED, "invalid_client"),
    "invalid_client with 400": Case(400, oauth("invalid_client"), REFUSED, "invalid_client"),
    "GitHub's client": Case(200, oauth("incorrect_client_credentials"), REFUSED, "invalid_client"),
    "unauthorized_client": Case(
        400, oauth("unauthorized_client", "not for you"), REFUSED, "unauthorized_client"
    ),
    # not a word about the grant
    "500": Case(500, "", TRANSIENT, None, "HTTP 500"),
    "503": Case(503, "", TRANSIENT, None, "HTTP 503"),
    # a gateway that heard no answer: the provider may have processed the request
    "502 page": Case(502, PAGE, UNKNOWN, None, "HTTP 502"),
    "504": Case(504, "", UNKNOWN, None, "HTTP 504"),
    "520 (Cloudflare)": Case(520, "", UNKNOWN, None, "HTTP 520"),
    "524 (Cloudflare)": Case(524, "", UNKNOWN, None, "HTTP 524"),
    "530 (Cloudflare)": Case(530, "error code: 1033", TRANSIENT, None, "HTTP 530"),
    "invalid_grant inside 500": Case(500, oauth("invalid_grant"), TRANSIENT, None, "HTTP 500"),
    "invalid_client inside 503": Case(503, oauth("invalid_client"), TRANSIENT, None, "HTTP 503"),
    "408": Case(408, "", TRANSIENT, None, "HTTP 408"),
    "425": Case(425, "", TRANSIENT, None, "HTTP 425"),
    "429": Case(429, "", TRANSIENT, None, "HTTP 429"),
    "invalid_grant inside 429": Case(429, oauth("invalid_grant"), TRANSIENT, None, "HTTP 429"),
    "301": Case(301, "", TRANSIENT, None, "HTTP 301"),
    "302 page": Case(302, PAGE, TRANSIENT, None, "HTTP 302"),
    "307": Case(307, "", TRANSIENT, None, "HTTP 307"),
    "404": Case(404, "", TRANSIENT, None, "HTTP 404 without a usable answer"),
    "405": Case(405, "Method Not Allowed", TRANSIENT),
    "410": Case(410, "gone", TRANSIENT),
    "400 without a body": Case(400, "", TRANSIENT),
    "401 without a body": Case(401, "", TRANSIENT),
    "403 of a firewall": Case(
        403, PAGE, TRANSIENT, None, "HTTP 403 with a web page instead of an answer"
    ),
    "401 page": Case(401, PAGE, TRANSIENT),
    "200 page of a portal": Case(200, PAGE, TRANSIENT),
    "200 page that says invalid_grant": Case(200, f"{PAGE} invalid_grant", TRANSIENT),
    "200 empty": Case(200, "", TRANSIENT),
    "200 null": Case(200, "null", TRANSIENT),
    "200 empty object": Case(200, "{}", TRANSIENT),
    "200 empty list": Case(200, "[]", TRANSIENT),
    "200 text": Case(200, "OK", TRANSIENT),
    "200 other JSON": Case(200, '{"status":"healthy"}', TRANSIENT),
    "200 broken JSON": Case(200, '{"status": healthy', TRANSIENT),
    "204": Case(204, "", TRANSIENT),
    "server_error": Case(400, oauth("server_error"), TRANSIENT, "server_error", "server_error"),
    "temporarily_unavailable": Case(
        400,
        oauth("temporarily_unavailable", "refresh already in progress"),
        TRANSIENT,
        "temporarily_unavailable",
    ),
    "Slack is limiting": Case(200, '{"ok":false,"error":"ratelimited"}', TRANSIENT, "ratelimited"),
    "Slack says only no": Case(200, '{"ok":false}', TRANSIENT),
    "slow_down": Case(400, oauth("slow_down"), TRANSIENT, "slow_down"),
    "access_denied by a policy of the hour": Case(
        403, oauth("access_denied"), TRANSIENT, "access_denied"
    ),
    "invalid_request about something else": Case(
        400, oauth("invalid_request", "missing client_id"), TRANSIENT, "invalid_request"
    ),
    "unsupported_grant_type": Case(
        400, oauth("unsupported_grant_type"), TRANSIENT, "unsupported_grant_type"
    ),
    "an error nobody knows": Case(400, oauth("flux_failure"), TRANSIENT, "flux_failure"),
    "401 about something else": Case(401, '{"message":"Unauthorized"}', TRANSIENT),
    "403 JSON of a firewall": Case(403, '{"message":"Forbidden"}', TRANSIENT),
    "Google's error object": Case(
        401, '{"error":{"code":401,"status":"UNAUTHENTICATED"}}', TRANSIENT
    ),
    "invalid_grant only in the text": Case(400, "invalid_grant happened", TRANSIENT),
    # may have spent the token
    "200 without the access token": Case(200, '{"refresh_token":"new-r"}', UNKNOWN),
    "200 with a token of the wrong type": Case(200, '{"access_token":{"v":1}}', UNKNOWN),
    "200 with an empty token": Case(200, '{"access_token":""}', UNKNOWN),
    "200 with a token no header can carry": Case(200, '{"access_token":"a\\r\\nb"}', UNKNOWN),
    "200 broken off inside the tokens": Case(200, '{"access_token": "new', UNKNOWN),
}


@pytest.mark.parametrize("case", FAILURES.values(), ids=FAILURES)
def test_a_failure_is_classified(case: Case) -> None:
    failure = failed(answer(case.status, case.body))
    assert failure.kind is case.kind
    assert failure.code == case.code
    assert failure.status == case.status
    if case.detail is not None:
        assert failure.detail == case.detail


@pytest.mark.parametrize("body", [b"", b"{", b'{"acc', WHOLE[:20].encode()])
def test_an_answer_that_broke_off_may_have_spent_the_token(body: bytes) -> None:
    assert failed(answer(200, body, complete=False)).kind is UNKNOWN


def test_a_refusal_that_broke_off_has_spent_nothing() -> None:
    assert failed(answer(400, b'{"error":"inval', complete=False)).kind is TRANSIENT


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "30"}, 30),
        ({"retry-after": "Mon, 23 Nov 2026 14:31:00 GMT"}, 60),
        (
            {
                "retry-after": "Mon, 23 Nov 2026 09:00:20 GMT",
                "date": "Mon, 23 Nov 2026 09:00:00 GMT",
            },
            20,
        ),
        ({"retry-after": "86400"}, 3600),
        ({"retry-after": "Mon, 23 Nov 2020 14:31:00 GMT"}, 0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_provider_may_say_when_to_come_back(
    headers: dict[str, str], seconds: int, status: int
) -> None:
    failure = failed(answer(status, headers=headers))
    assert failure.retry_at == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize("value", ["", "soon", "-1", "1e9", "Mon, 99 Nov", "9" * 100])
def test_a_retry_after_that_says_nothing_is_none(value: str) -> None:
    assert failed(answer(503, headers={"retry-after": value})).retry_at is None


def test_a_provider_that_repeats_our_tokens_does_not_get_them_shown() -> None:
    said = "token old-refresh-token (eyJhbGciOiJIUzI1NiJ9.e30.abcDEF123) \x1b[31mis bad\n"
    failure = failed(answer(400, oauth("invalid_grant", said)))
    assert "old-refresh-token" not in failure.detail
    assert "eyJ" not in failure.detail
    assert "\x1b" not in failure.detail
    assert "\n" not in failure.detail


def test_a_long_description_is_cut() -> None:
    failure = failed(answer(400, oauth("invalid_grant", "very " * 10_000)))
    assert len(failure.detail) <= 160
