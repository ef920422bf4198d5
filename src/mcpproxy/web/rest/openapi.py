"""The OpenAPI 3.1 document, made from the table of endpoints.

Law: nothing in it is written by hand that the types already say.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from mcpproxy.web.rest.endpoint import Endpoint, NoBody, NoQuery

_REF: Final = "#/components/schemas/{name}"
_ERRORS: Final = {
    "400": "The request is not as it should be",
    "401": "The API key is missing or wrong",
    "403": "The request comes from a foreign web page, or the configuration is not ours to write",
    "404": "There is no such server",
    "405": "The path does not have this method",
    "409": "A person has to log in first",
    "413": "The body is too large",
    "415": "The body is not JSON",
    "421": "The Host header names somebody else",
    "429": "Too many calls at once",
    "500": "Something went wrong inside mcpproxy",
    "502": "The provider or the upstream did not do its part",
    "503": "Not now; it will work by itself",
    "504": "The upstream did not answer in time",
}


class Failure(msgspec.Struct, frozen=True):
    """What every failure looks like."""

    success: bool
    error: str
    code: str
    next_step: str
    request_id: str
    problems: list[str] = []


def openapi(endpoints: Sequence[Endpoint[Any, Any]], version: str) -> Mapping[str, object]:
    """The document, ready for JSON."""
    kinds = [kind for row in endpoints for kind in (row.answer, row.body, row.query)]
    schemas, components = msgspec.json.schema_components([*kinds, Failure], ref_template=_REF)
    paths: dict[str, dict[str, object]] = {}
    for index, row in enumerate(endpoints):
        answer, body, query = schemas[3 * index : 3 * index + 3]
        operation = _operation(row, answer, body, _properties(query, components))
        paths.setdefault(row.path, {})[row.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "mcpproxy", "version": version},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{"apiKey": []}, {"bearer": []}],
    }


def _operation(
    row: Endpoint[Any, Any],
    answer: Mapping[str, object],
    body: Mapping[str, object],
    query: Mapping[str, Any],
) -> Mapping[str, object]:
    envelope = {
        "type": "object",
        "required": ["success", "data"],
        "properties": {"success": {"const": True}, "data": answer},
    }
    content: dict[str, object] = {row.media_type: {"schema": envelope}}
    if "follow" in query["properties"]:
        content["text/plain"] = {"schema": {"type": "string"}}
    failure = {"application/json": {"schema": {"$ref": _REF.format(name="Failure")}}}
    operation: dict[str, object] = {
        "summary": row.summary,
        "operationId": _operation_id(row),
        "parameters": [*_path_parameters(row.path), *_query_parameters(row, query)],
        "responses": {
            str(row.status): {"description": "Done", "content": content},
            **{
                status: {"description": words, "content": failure}
                for status, words in _ERRORS.items()
            },
        },
    }
    if row.body is not NoBody:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": body}},
        }
    return operation


def _operation_id(row: Endpoint[Any, Any]) -> str:
    words = re.sub(r"[^a-z]+", "_", row.path.removeprefix("/api/v1/").lower()).strip("_")
    return f"{row.method.lower()}_{words}"


def _path_parameters(path: str) -> Sequence[Mapping[str, object]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", path)
    ]


def _query_parameters(
    row: Endpoint[Any, Any], query: Mapping[str, Any]
) -> Sequence[Mapping[str, object]]:
    if row.query is NoQuery:
        return []
    required = query.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": schema}
        for name, schema in query["properties"].items()
    ]


def _properties(schema: Mapping[str, Any], components: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = components[schema["$ref"].rpartition("/")[2]]
    return found
