"""A server and a client with the extension `io.modelcontextprotocol/tasks`, on the official SDK.

The SDK has the frame of extensions and leaves this one to programs: here are both sides of it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import mcp_types as types
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from pydantic import ConfigDict, Field

from tests.gateway.tasked import EXTENSION

QUESTION: dict[str, Any] = {
    "method": "elicitation/create",
    "params": {
        "message": "Really?",
        "requestedSchema": {"type": "object", "properties": {"sure": {"type": "boolean"}}},
    },
}


class _Named(types.RequestParams):
    task_id: str = Field(alias="taskId")


class _Answered(_Named):
    input_responses: dict[str, Any] = Field(alias="inputResponses")


class TasksOfServer(Extension):
    """Every call of a client that knows tasks is one: it asks whether the person is sure, and
    then it is what the tool says. Its ids are `1`, `2` and so on, as those of anybody's.
    """

    identifier = EXTENSION

    def __init__(self) -> None:
        self.tasks: list[dict[str, Any]] = []

    def methods(self) -> Sequence[MethodBinding]:
        return (
            MethodBinding("tasks/get", _Named, self._get),
            MethodBinding("tasks/update", _Answered, self._update),
            MethodBinding("tasks/cancel", _Named, self._cancel),
        )

    async def intercept_tool_call(self, params: Any, ctx: Any, call_next: Any) -> Any:
        result = await call_next(ctx)
        meta = ctx.meta or {}
        declared = meta.get("io.modelcontextprotocol/clientCapabilities", {})
        if EXTENSION not in (declared.get("extensions") or {}):
            return result
        now = datetime.now(UTC).isoformat()
        task = {
            "taskId": str(len(self.tasks) + 1),
            "status": "working",
            "ttlMs": None,
            "pollIntervalMs": 1,
            "createdAt": now,
            "lastUpdatedAt": now,
        }
        done = result.model_dump(by_alias=True, mode="json", exclude_none=True)
        self.tasks.append({**task, "status": "input_required", "result": done})
        return {**task, "resultType": "task"}

    def _task(self, task_id: str) -> dict[str, Any]:
        for task in self.tasks:
            if task["taskId"] == task_id:
                return task
        raise MCPError(types.INVALID_PARAMS, f"no task {task_id}")

    async def _get(self, ctx: Any, params: _Named) -> Any:
        task = {**self._task(params.task_id), "resultType": "complete"}
        if task["status"] == "input_required":
            task["inputRequests"] = {"sure": QUESTION}
        if task["status"] != "completed":
            del task["result"]
        return task

    async def _update(self, ctx: Any, params: _Answered) -> Any:
        accepted = params.input_responses["sure"]["action"] == "accept"
        self._task(params.task_id)["status"] = "completed" if accepted else "failed"
        return {"resultType": "complete"}

    async def _cancel(self, ctx: Any, params: _Named) -> Any:
        self._task(params.task_id)["status"] = "cancelled"
        return {"resultType": "complete"}


def make_server(name: str) -> tuple[MCPServer, TasksOfServer]:
    tasks = TasksOfServer()
    server = MCPServer(name, extensions=[tasks])

    @server.tool()
    def whose() -> str:
        """Say which server this is."""
        return f"{name}'s"

    return server, tasks


class Created(types.Result):
    """What a call is answered with that became a task."""

    result_type: Literal["task"] = Field(default="task", alias="resultType")
    task_id: str = Field(alias="taskId")


class _Any(types.Result):
    model_config = ConfigDict(extra="allow")


class _Request(types.Request[dict[str, Any], str]):
    """The SDK sends the task's id along in the header that servers route by."""

    name_param = "taskId"


class TasksOfClient(ClientExtension):
    """Follows a task to its end, sure of everything; `seen` are its states by its id."""

    identifier = EXTENSION

    def __init__(self) -> None:
        self.seen: dict[str, list[str]] = {}

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return (ResultClaim(result_type="task", model=Created, resolve=self._followed),)

    async def _followed(self, created: Created, ctx: ClaimContext) -> types.CallToolResult:
        states = self.seen.setdefault(created.task_id, [])
        while True:
            task = await asked(ctx.session, "tasks/get", created.task_id)
            assert task["taskId"] == created.task_id
            states.append(task["status"])
            if task["status"] == "completed":
                return types.CallToolResult.model_validate(task["result"])
            answers = {key: {"action": "accept"} for key in task.get("inputRequests", ())}
            await asked(ctx.session, "tasks/update", created.task_id, inputResponses=answers)


async def asked(session: Any, method: str, task_id: str, **more: Any) -> dict[str, Any]:
    """The result of a request about a task."""
    request = _Request(method=method, params={"taskId": task_id, **more})
    found: types.Result = await session.send_request(request, _Any)
    dumped: dict[str, Any] = found.model_dump(by_alias=True, mode="json")
    return dumped
