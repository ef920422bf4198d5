"""A holder that stands still for twice its lease, its answer under way, and then goes on."""

import os
import signal
import time
from datetime import timedelta
from pathlib import Path

from mcpproxy.core.ledger import Outcome
from tests.crash.ground import Policy, Verdict, names
from tests.crash.provider_process import ProviderProcess
from tests.crash.racers import Racers
from tests.crash.seeding import a_login, ledger, seed, stored, token_index
from tests.peers.process import wait_until

LEASE = 3.0
POLICY = {
    "min_interval": 0.5,
    "backoff_base": 0.5,
    "backoff_cap": 1.0,
    "connect_timeout": 1.0,
    "answer_timeout": 1.5,
    "lease_ttl": LEASE,
}


def test_a_holder_that_was_stopped_for_twice_its_lease_harms_nothing(tmp_path: Path) -> None:
    (name,), data_dir = names(1, Policy.LEEWAY), tmp_path / "data"
    with ProviderProcess(tmp_path, [name], life=2.5) as provider:
        provider.behave(hold=(0.8, 0.8))
        first = a_login(provider.ground, provider.origin, name, life=timedelta(seconds=1))
        seed(data_dir, [first])
        with Racers(data_dir, 2, POLICY) as racers:
            (presented,) = provider.wait_for(1, deadline=30)
            attempt = stored(data_dir)[name].attempt
            assert attempt is not None
            holder = int(attempt.holder)
            os.kill(holder, signal.SIGSTOP)
            stopped_at = time.monotonic()
            try:
                (again,) = provider.wait_for(1, deadline=30)
                wait_until(
                    lambda: stored(data_dir)[name].generation == 2,
                    deadline=10,
                    what="the sibling stored what it was given",
                )
                wait_until(
                    lambda: time.monotonic() - stopped_at > 2 * LEASE,
                    deadline=3 * LEASE,
                    what="twice its lease",
                )
            finally:
                os.kill(holder, signal.SIGCONT)
            provider.behave(hold=(0.0, 0.1))
            later = provider.wait_for(3, deadline=60)
            assert racers.end() == 0
        seen, grant, lines = provider.record(), stored(data_dir)[name], ledger(data_dir, name)

    assert holder in racers.pids
    assert (presented.index, again.index) == (1, 1)
    assert again.verdict is Verdict.REPLAYED
    assert again.at - presented.at > LEASE
    assert [each.index for each in later] == [3, 4, 5]
    assert [each.index for each in seen.repeated()] == [1]
    assert not seen.ended()
    assert token_index(grant) in (5, 6)
    taken_over = [line for line in lines if line.outcome is Outcome.TAKEN_OVER]
    assert [line.holder for line in taken_over] == [str(holder)]
