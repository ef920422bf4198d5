"""Servers with tasks, by hand: one of each generation, whose ids collide with anybody's."""

from typing import Any

from tests.gateway.hostile import Raw, Scripted, Seen, event
from tests.gateway.libraries import result
from tests.gateway.test_modern_upstream import modern

RELATED = "io.modelcontextprotocol/related-task"
EXTENSION = "io.modelcontextprotocol/tasks"
DECLARED: dict[str, Any] = {"extensions": {EXTENSION: {}}}
ABLE: dict[str, Any] = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
LINK = {"type": "resource_link", "name": "notes", "uri": "note://done"}
TIMES = {"createdAt": "2026-11-01T00:00:00Z", "lastUpdatedAt": "2026-11-01T00:00:00Z"}


class Tasked:
    """Of 2025-11-25: a call with a wish makes the task of this id. `pages` is its list, and
    `says` the state that it tells of while it is called.
    """

    def __init__(self, task_id: str = "t+1", able: Any = ABLE) -> None:
        self.task_id = task_id
        self.able = able
        self.pages = [[task_id]]
        self.says = "working"
        self.scripted = Scripted(answer=self._answer)

    def asked(self, method: str) -> list[Any]:
        """The params of all requests of this method."""
        return [seen.message["params"] for seen in self.scripted.seen if seen.method == method]

    def _task(self, task_id: str, **members: Any) -> dict[str, Any]:
        return {"taskId": task_id, "status": "working", "ttl": None, **TIMES, **members}

    async def _answer(self, seen: Seen) -> Any:
        params = seen.message.get("params", {})
        match seen.method:
            case "initialize":
                tasks = {} if self.able is None else {"tasks": self.able}
                return result(
                    protocolVersion=params["protocolVersion"],
                    capabilities={"tools": {}, **tasks},
                    serverInfo={"name": "tasked", "version": "1"},
                )
            case "tools/call" if "task" in params:
                return self._begun(seen)
            case "tasks/get" | "tasks/cancel" if params["taskId"] == self.task_id:
                state = "cancelled" if seen.method == "tasks/cancel" else "working"
                return {"result": self._task(self.task_id, status=state)}
            case "tasks/result" if params["taskId"] == self.task_id:
                related = {RELATED: {"taskId": self.task_id, "x": 1}}
                return result(content=[LINK], structuredContent={"taskId": "own"}, _meta=related)
            case "tasks/list":
                at = int(params.get("cursor", 0))
                more = {"nextCursor": str(at + 1)} if at + 1 < len(self.pages) else {}
                return result(tasks=[self._task(each) for each in self.pages[at]], **more)
            case str() as method if method.startswith("tasks/"):
                return {"error": {"code": -32602, "message": "no such task"}}
            case _:
                return None

    def _begun(self, seen: Seen) -> Raw:
        """The state of the task, of another one, and then the answer, on one stream."""
        method, body = "notifications/tasks/status", b""
        for task_id in (self.task_id, "another"):
            told = self._task(task_id, status=self.says)
            body += event({"jsonrpc": "2.0", "method": method, "params": told})
        made = {"task": self._task(self.task_id), "_meta": {"x-kept": [1]}}
        body += event({"jsonrpc": "2.0", "id": seen.message["id"], "result": made})
        return Raw(200, body, "text/event-stream")


class Extended:
    """Of 2026-07-28: every call of a client that knows tasks becomes the task of this id, which
    asks one question and is done.
    """

    def __init__(self, task_id: str = "t+1") -> None:
        self.task_id = task_id
        self.answers: Any = None
        able: dict[str, Any] = {"tools": {}, "extensions": {EXTENSION: {}}}
        self.scripted = modern(self._answer, able)

    def headers(self, method: str) -> list[str | None]:
        """The `Mcp-Name` of all requests of this method."""
        return [
            seen.headers.get("mcp-name") for seen in self.scripted.seen if seen.method == method
        ]

    async def _answer(self, seen: Seen) -> Any:
        params = seen.message.get("params", {})
        meta = params.get("_meta", {})
        declared = meta.get("io.modelcontextprotocol/clientCapabilities", {})
        task = {"taskId": self.task_id, "ttlMs": None, **TIMES}
        match seen.method:
            case "tools/call" if EXTENSION in declared.get("extensions", {}):
                return result(resultType="task", status="working", **task)
            case "tasks/get" if params["taskId"] == self.task_id:
                return result(resultType="complete", **task, **self._state())
            case "tasks/update" if params["taskId"] == self.task_id:
                self.answers = params["inputResponses"]
                return result(resultType="complete")
            case "tasks/cancel" if params["taskId"] == self.task_id:
                return result(resultType="complete")
            case str() as method if method.startswith("tasks/"):
                return {"error": {"code": -32602, "message": "no such task"}}
            case _:
                return None

    def _state(self) -> dict[str, Any]:
        if self.answers is None:
            asked = {"method": "elicitation/create", "params": {"message": "Sure?"}}
            return {"status": "input_required", "inputRequests": {"q": asked}}
        return {"status": "completed", "result": {"content": [LINK], "resultType": "complete"}}
