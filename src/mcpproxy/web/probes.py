"""`/healthz`, `/livez`, `/readyz` and `/metrics`.

Law: the probes need no key and disclose nothing but yes or no.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mcpproxy.observability.exposition import CONTENT_TYPE
from mcpproxy.web.parts import WebParts


async def alive(_: Request) -> Response:
    """This process answers."""
    return JSONResponse({"status": "ok"})


class Probes:
    """The probes that need to know something."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts

    async def ready(self, _: Request) -> Response:
        """200 once the store is open and the endpoint is served; 503 before and while stopping."""
        ready = self._parts.ready() and not self._parts.closing.is_set()
        return JSONResponse({"ready": ready}, 200 if ready else 503)

    async def metrics(self, _: Request) -> Response:
        return Response(self._parts.metrics.text(), media_type=CONTENT_TYPE)
