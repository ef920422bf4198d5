"""A client with tasks on the Python SDK of the first generation: job and report are those of
`tests/peers/node/task_client.mjs`.
"""

import asyncio
import json
import sys
from typing import Any

import mcp.types as types
from mcp import ClientSession, McpError
from mcp.client.streamable_http import streamablehttp_client

RELATED = "io.modelcontextprotocol/related-task"
asked: list[Any] = []


async def elicited(context: Any, params: Any) -> types.ElicitResult:
    said = params.model_dump(by_alias=True)
    asked.append(((said.get("_meta") or {}).get(RELATED) or {}).get("taskId"))
    return types.ElicitResult(action="accept", content={"interpretation": "as a test"})


async def called(session: Any, call: Any) -> dict[str, Any]:
    tasks = session.experimental
    made = await tasks.call_tool_as_task(call["name"], call["arguments"])
    task_id, states = made.task.taskId, []
    async for state in tasks.poll_task(task_id):
        states.append((state.taskId, state.status))
        if state.status == "input_required":
            break
    found = await tasks.get_task_result(task_id, types.CallToolResult)
    assert found.meta[RELATED]["taskId"] == task_id, found
    return {"taskId": task_id, "states": states, "text": found.content[0].text, "error": None}


async def cancelled(session: Any, call: Any) -> dict[str, Any]:
    tasks = session.experimental
    made = await tasks.call_tool_as_task(call["name"], call["arguments"])
    task_id = made.task.taskId
    then = [(await tasks.cancel_task(task_id)).status, (await tasks.get_task(task_id)).status]
    return {"taskId": task_id, "status": then[0], "then": then[1]}


async def listed(session: Any) -> list[str]:
    found, cursor = [], None
    while True:
        page = await session.experimental.list_tasks(cursor)
        found += [task.taskId for task in page.tasks]
        cursor = page.nextCursor
        if cursor is None:
            return found


async def unknown(session: Any, task_id: str) -> int:
    try:
        await session.experimental.get_task(task_id)
    except McpError as error:
        return int(error.error.code)
    return 0


async def main() -> None:
    job = json.load(sys.stdin)
    async with (
        streamablehttp_client(job["url"], headers=job["headers"]) as (reader, writer, _),
        ClientSession(reader, writer, elicitation_callback=elicited) as session,
    ):
        await session.initialize()
        await session.list_tools()
        *calls, given_up = await asyncio.gather(
            *(called(session, call) for call in job["calls"]), cancelled(session, job["cancel"])
        )
        ids = await listed(session)
        said = {"calls": calls, "given_up": given_up, "asked": asked, "listed": ids}
        print(json.dumps({**said, "unknown": await unknown(session, f"{ids[0]}0")}))


if __name__ == "__main__":
    asyncio.run(main())
