"""The table of all endpoints under `/api/v1`: routes, OpenAPI and tests are made from it."""

from typing import Any, Final

from mcpproxy.web.rest import daemon, logins, servers, tools
from mcpproxy.web.rest.endpoint import Endpoint

# A fixed path stands before a pattern that would match it too.
ENDPOINTS: Final[tuple[Endpoint[Any, Any], ...]] = (
    *servers.ENDPOINTS,
    *logins.ENDPOINTS,
    *tools.ENDPOINTS,
    *daemon.ENDPOINTS,
)
OPENAPI_PATH: Final = "/api/v1/openapi.json"
