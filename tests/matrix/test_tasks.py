"""Tasks of 2025-11-25 among all servers: the SDKs of the first generation, either way round.

Run by `make matrix`, which installs them; `tests/gateway/test_real_tasks.py` always runs.
"""

import pytest

from mcpproxy.core.model import Secret
from tests.gateway.test_real_tasks import CLIENT as IN_TYPESCRIPT
from tests.gateway.test_real_tasks import researcher, tasks_work
from tests.matrix.world import ENVIRONMENT, PYTHON_1
from tests.peers.everything import stdio_command

pytestmark = pytest.mark.anyio
IN_PYTHON = [str(PYTHON_1), "-m", "tests.matrix.sides.tasks_client_v1"]
SERVER = [str(PYTHON_1), "-m", "tests.matrix.sides.tasks_server_v1"]
PATH = {name: Secret(value) for name, value in ENVIRONMENT.items()}


@pytest.mark.parametrize("client", [IN_PYTHON, IN_TYPESCRIPT], ids=["python", "typescript"])
async def test_tasks_work_at_two_servers_on_the_python_sdk(client: list[str]) -> None:
    await tasks_work(client, *(researcher(name, SERVER, **PATH) for name in ("one", "two")))


async def test_the_python_client_has_tasks_at_servers_of_two_sdks() -> None:
    here = researcher("one", SERVER, **PATH)
    await tasks_work(IN_PYTHON, here, researcher("two", stdio_command()))
