"""The table of all endpoints under `/api/v1`: routes, OpenAPI and tests are made from it."""

from typing import Any, Final

from mcpproxy.web.rest import activity, control, daemon, logins, preflight, servers, tools
from mcpproxy.web.rest.endpoint import Endpoint

# A fixed path stands before a pattern that would match it too.
ENDPOINTS: Final[tuple[Endpoint[Any, Any], ...]] = (
    *servers.ENDPOINTS,
    *logins.ENDPOINTS,
    *tools.ENDPOINTS,
    *control.ENDPOINTS,
    *preflight.ENDPOINTS,
    *activity.ENDPOINTS,
    *daemon.ENDPOINTS,
)
OPENAPI_PATH: Final = "/api/v1/openapi.json"
