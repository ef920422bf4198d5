"""A client's run: it tries each feature of each target, and says what came of it line by line."""

import asyncio
import json
import sys
import traceback
from collections.abc import Callable

from tests.matrix.sides.features import FEATURES, PATIENCE
from tests.matrix.sides.talking import Connect, RefusedError, Talker, Target


def tell(target: str, feature: str, why: str) -> None:
    line = {"target": target, "feature": feature, "ok": not why, "why": why}
    print(json.dumps(line), flush=True)


def reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {str(error)[:500]}"


async def attempt(talker: Talker, target: Target, feature: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            await FEATURES[feature](talker, target)
    except (Exception, asyncio.CancelledError) as error:
        if not isinstance(error, AssertionError | RefusedError | TimeoutError):
            traceback.print_exc(file=sys.stderr)
        return tell(target.name, feature, reason(error))
    tell(target.name, feature, "")


async def visit(connect: Connect, target: Target) -> None:
    tried: set[str] = set()
    try:
        async with connect(target) as talker:
            for feature in target.features:
                tried.add(feature)
                await attempt(talker, target, feature)
    except BaseException as error:
        if not isinstance(error, Exception | asyncio.CancelledError):
            raise
        for feature in target.features:
            if feature not in tried:
                tell(target.name, feature, f"no connection: {reason(error)}")


def main(connect: Callable[[str, str, str], Connect]) -> None:
    """The job is on standard input: era, transport and key of the client, and its targets."""
    job = json.load(sys.stdin)

    async def run() -> None:
        towards = connect(job["era"], job["transport"], job["key"])
        for target in job["targets"]:
            await visit(towards, Target(**target))

    asyncio.run(run())
