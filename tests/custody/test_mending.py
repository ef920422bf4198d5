"""A client that the provider forgot and an endpoint that moved are mended once, by themselves."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

from mcpproxy.core.errors import RefreshPending
from mcpproxy.core.ledger import Outcome
from mcpproxy.core.lifecycle import ending
from mcpproxy.core.model import (
    IN_REPAIR,
    AuthMethod,
    ClientRegistration,
    FailureKind,
    Grant,
    GrantType,
    OAuthConfig,
    RegistrationSource,
    Secret,
    Upstream,
    Verdict,
)
from mcpproxy.core.notices import LoginLost
from mcpproxy.core.provider_ports import Endpoints
from mcpproxy.core.repair import Repair, is_in_repair, repair_due
from mcpproxy.custody.mending import client_configured
from tests.builders import NOW, SERVER_URL, a_client, a_grant
from tests.core.attempts import HOUR, fail
from tests.custody.bench import NAME, Bench, error_reply, tokens_reply, until, virtually

FORGOTTEN = error_reply("invalid_client", status=401)
GONE = error_reply("not_found", status=404)
MOVED_TO = "https://auth.example.com/v2/token"


@dataclass
class Workshop:
    """The port ProviderRepair: gives what a test put there, and counts how often it was asked."""

    client: ClientRegistration | None = None
    endpoints: Endpoints | None = None
    renewals: list[Grant] = field(default_factory=list)
    lookups: list[Grant] = field(default_factory=list)
    takes: float = 1

    async def renew_client(self, grant: Grant) -> ClientRegistration | None:
        self.renewals.append(grant)
        await asyncio.sleep(self.takes)
        return self.client

    async def locate(self, grant: Grant) -> Endpoints | None:
        self.lookups.append(grant)
        await asyncio.sleep(1)
        return self.endpoints


def ledger(bench: Bench) -> list[Outcome]:
    return [line.outcome for line in bench.world.ledger[NAME]]


@virtually
async def test_a_forgotten_client_is_registered_anew_and_the_login_lives_on() -> None:
    async with Bench() as bench:
        workshop = Workshop(client=replace(a_client(), client_id="client-2"))
        bench.repair = workshop
        bench.endpoint.replies = [FORGOTTEN] * 3 + [tokens_reply(2)]
        bench.store(age=0.9 * HOUR)
        await bench.start()
        await until(lambda: bench.stored.generation == 2, within=130)
        assert bench.endpoint.clients == [*["client-1"] * 3, "client-2"]
        assert bench.endpoint.presented == ["refresh-1"] * 4
        assert bench.stored.client.client_id == "client-2"
        refused = [Outcome.REFUSED] * 3
        assert ledger(bench) == [*refused, Outcome.CLIENT_RENEWED, Outcome.ISSUED]
        assert bench.notices.of(LoginLost) == []


@virtually
async def test_a_client_that_was_refused_once_by_mistake_is_not_given_up() -> None:
    async with Bench() as bench:
        workshop = Workshop(client=replace(a_client(), client_id="client-2"))
        bench.repair = workshop
        bench.endpoint.replies = [FORGOTTEN, tokens_reply(2)]
        bench.store(age=2 * HOUR)
        await bench.start()
        await until(lambda: bench.stored.generation == 2)
        assert workshop.renewals == []
        assert bench.stored.client.client_id == "client-1"


@virtually
async def test_a_client_that_is_refused_again_after_its_renewal_is_renewed_no_more() -> None:
    async with Bench() as bench:
        workshop = Workshop(client=replace(a_client(), client_id="client-2"))
        bench.repair = workshop
        bench.endpoint.replies = [FORGOTTEN]
        bench.store(age=0.9 * HOUR)
        await bench.start()
        await asyncio.sleep(24 * 3600)
        assert len(workshop.renewals) == 1
        assert len(bench.endpoint.presented) == 4
        ended = ending(bench.stored, bench.clock.now())
        assert ended is not None
        assert (ended.verdict, ended.evidence) == (Verdict.CLIENT_ENDED, "invalid_client")


@virtually
async def test_a_process_that_dies_while_it_renews_leaves_no_second_try() -> None:
    async with Bench() as bench:
        dying = bench.repair = Workshop(takes=3600)
        bench.endpoint.replies = [FORGOTTEN]
        bench.store(age=0.9 * HOUR)
        first = await bench.start("p1")
        await until(lambda: dying.renewals, within=130)
        for entry in first._entries.values():
            assert entry.refresh is not None
            entry.refresh.cancel()
        await first.stop()
        bench.dead.add("p1")
        second = bench.repair = Workshop()
        await bench.start("p2")
        await asyncio.sleep(3000)
        assert second.renewals == []
        assert len(bench.endpoint.presented) == 3
        assert len(bench.notices.of(LoginLost)) == 1


@virtually
async def test_a_holder_that_stands_still_while_it_renews_leaves_one_try_for_what_it_brings() -> (
    None
):
    async with Bench() as bench:
        workshop = Workshop(client=replace(a_client(), client_id="client-2"), takes=100)
        bench.repair = workshop
        bench.endpoint.replies = [FORGOTTEN]
        bench.store(age=0.9 * HOUR)
        await bench.start("p1")
        await bench.start("p2")
        await until(lambda: workshop.renewals, within=130)
        await until(lambda: bench.notices.of(LoginLost), within=90)
        await asyncio.sleep(3600)
        assert bench.endpoint.clients == [*["client-1"] * 3, "client-2"]
        assert len(workshop.renewals) == 1


@virtually
async def test_an_endpoint_that_moved_is_looked_up_and_the_refresh_goes_there() -> None:
    async with Bench() as bench:
        bench.repair = Workshop(endpoints=Endpoints(MOVED_TO, None))
        bench.endpoint.replies = [GONE, tokens_reply(2)]
        bench.store(age=0.9 * HOUR)
        await bench.start()
        await until(lambda: bench.stored.generation == 2)
        assert bench.endpoint.urls[-1] == MOVED_TO
        assert ledger(bench) == [Outcome.TRANSIENT, Outcome.ENDPOINT_MOVED, Outcome.ISSUED]


@virtually
async def test_an_endpoint_that_is_gone_and_not_to_be_found_is_asked_for_once_an_hour() -> None:
    async with Bench() as bench:
        workshop = bench.repair = Workshop()
        bench.endpoint.replies = [GONE]
        bench.store(age=0.9 * HOUR)
        await bench.start()
        await asyncio.sleep(3 * 3600)
        assert 3 <= len(workshop.lookups) <= 4
        assert ending(bench.stored, bench.clock.now()) is None


def test_a_configured_client_is_the_persons_to_mend() -> None:
    refused = fail(a_grant(), 0, FailureKind.REFUSED, code="invalid_client")
    refused = fail(refused, 10, FailureKind.REFUSED, code="invalid_client")
    assert repair_due(refused, NOW) is None, "it may pass"
    refused = fail(refused, 90, FailureKind.REFUSED, code="invalid_client")
    assert repair_due(refused, NOW) is Repair.CLIENT
    configured = replace(refused.client, source=RegistrationSource.CONFIGURED)
    assert repair_due(replace(refused, client=configured), NOW) is None


def test_a_dead_grant_is_no_matter_of_the_client() -> None:
    dead = fail(a_grant(), 0, FailureKind.REFUSED, code="invalid_grant")
    assert repair_due(dead, NOW) is None
    # Stored so by a program that knew no such state: it is not waited for.
    assert dead.refusals is not None
    assert not is_in_repair(replace(dead, refusals=replace(dead.refusals, repaired=IN_REPAIR)))


def test_a_registration_whose_secret_ends_is_renewed_the_day_before_where_that_is_offered() -> None:
    ends = replace(a_client(), secret_expires_at=NOW + timedelta(hours=20))
    assert repair_due(a_grant(client=ends), NOW) is None
    managed = replace(ends, registration_uri="https://auth.example.com/register/1")
    assert repair_due(a_grant(client=managed), NOW) is Repair.CLIENT
    assert repair_due(a_grant(client=managed), NOW - timedelta(hours=10)) is None
    tried = a_grant(client=managed, repair_tried_at=NOW - timedelta(minutes=30))
    assert repair_due(tried, NOW) is None


def configured(grant: Grant, secret: str) -> Grant:
    client = replace(
        grant.client,
        source=RegistrationSource.CONFIGURED,
        auth_method=AuthMethod.SECRET_POST,
        client_secret=Secret(secret),
    )
    return replace(grant, client=client)


def with_secret(secret: str, client_id: str = "client-1") -> dict[str, Upstream]:
    oauth = OAuthConfig(client_id=client_id, client_secret=Secret(secret))
    return {NAME: Upstream(NAME, url=SERVER_URL, oauth=oauth)}


@virtually
async def test_a_new_client_secret_in_the_configuration_serves_the_login_that_is_there() -> None:
    async with Bench() as bench:
        bench.endpoint.replies = [FORGOTTEN]
        bench.put(configured(bench.store(age=2 * HOUR), "old"))
        manager = await bench.start()
        await asyncio.sleep(600)
        assert ending(bench.stored, bench.clock.now()) is not None
        bench.endpoint.replies = [tokens_reply(2)]
        await manager.reconfigure(with_secret("new"))
        await until(lambda: bench.stored.generation == 2, within=11)
        assert bench.stored.client.client_secret == Secret("new")


def test_only_the_configured_clients_own_secret_is_taken_over() -> None:
    grant = configured(a_grant(NAME), "old")
    assert client_configured(grant, with_secret("new")[NAME]) is not None
    assert client_configured(grant, with_secret("old")[NAME]) is None
    assert client_configured(grant, with_secret("new", "another client")[NAME]) is None
    assert client_configured(a_grant(NAME), with_secret("new")[NAME]) is None
    machine = replace(grant, grant_type=GrantType.CLIENT_CREDENTIALS)
    assert client_configured(machine, with_secret("new")[NAME]) is None, "it is seeded anew"


def test_a_client_that_is_given_a_key_signs_from_then_on_and_back() -> None:
    grant = configured(a_grant(NAME), "old")
    oauth = OAuthConfig(client_id="client-1", private_key=Secret("a key"), key_id="k1")
    signer = client_configured(grant, Upstream(NAME, url=SERVER_URL, oauth=oauth))
    assert signer is not None
    assert signer.auth_method is AuthMethod.PRIVATE_KEY_JWT
    assert (signer.client_secret, signer.key_id) == (None, "k1")
    back = client_configured(replace(grant, client=signer), with_secret("new")[NAME])
    assert back is not None
    assert back.auth_method is AuthMethod.SECRET_BASIC
    assert (back.client_secret, back.private_key) == (Secret("new"), None)


def test_a_reference_that_stands_for_nothing_is_no_new_secret() -> None:
    grant = configured(a_grant(NAME), "old")
    broken = replace(with_secret("${env:GONE}")[NAME], problem="GONE is not set")
    assert client_configured(grant, broken) is None


@virtually
async def test_a_clock_that_is_set_back_lets_no_repair_happen_again_and_again() -> None:
    async with Bench() as bench:
        workshop = Workshop(client=replace(a_client(), client_id="client-2"))
        bench.repair = workshop
        bench.endpoint.replies = [FORGOTTEN]
        bench.store(age=0.9 * HOUR)
        await bench.start()
        await until(lambda: bench.stored.refusals is not None)
        bench.clock.step(-5 * HOUR)
        await asyncio.sleep(3600)
        assert len(workshop.renewals) == 1
        assert len(bench.endpoint.presented) == 4


@virtually
async def test_a_clock_that_is_set_back_lets_no_endpoint_be_looked_up_again_and_again() -> None:
    async with Bench() as bench:
        workshop = bench.repair = Workshop()
        bench.endpoint.replies = [GONE]
        bench.store(age=0.9 * HOUR)
        await bench.start()
        await until(lambda: workshop.lookups)
        bench.clock.step(-5 * HOUR)
        await asyncio.sleep(1800)
        assert len(workshop.lookups) <= 2
        assert len(bench.endpoint.presented) > 5


@virtually
async def test_what_a_repair_brought_is_stored_whatever_else_was_written_meanwhile() -> None:
    async with Bench() as bench:
        workshop = bench.repair = Workshop(client=replace(a_client(), client_id="client-2"))
        bench.endpoint.replies = [FORGOTTEN] * 3 + [tokens_reply(2)]
        bench.store(age=0.9 * HOUR)
        manager = await bench.start()
        await until(lambda: workshop.renewals, within=130)
        with suppress(RefreshPending, TimeoutError):
            async with asyncio.timeout(0.5):
                await manager.challenged(NAME, SERVER_URL, bench.stored.tokens.access_token)
        await until(lambda: bench.stored.generation == 2, within=130)
        assert bench.endpoint.clients == [*["client-1"] * 3, "client-2"]
        assert len(workshop.renewals) == 1
