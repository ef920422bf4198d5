"""The reference page of the configuration: `python -m mcpproxy.config.reference` prints it."""

import typing
from datetime import timedelta

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from mcpproxy.config.schema import FileModel


def page() -> str:
    """Markdown tables of every key, from the schema itself."""
    return "\n".join(_tables(FileModel, "mcp_config.json", "")).strip() + "\n"


def _tables(model: type[BaseModel], title: str, prefix: str) -> list[str]:
    lines = ["", f"## {title}", "", (model.__doc__ or "").strip(), ""]
    lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
    nested: list[tuple[str, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        below = _model_in(field.annotation)
        if below:
            nested.append((name, below))
        default = "" if below or field.default is PydanticUndefined else _default(field.default)
        kind = _kind(field.annotation)
        lines.append(f"| `{name}` | {kind} | {default} | {field.description or ''} |")
    for name, below in nested:
        lines += _tables(below, f"{prefix}{name}", f"{prefix}{name}.")
    return lines


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = [_model_in(argument) for argument in typing.get_args(annotation)]
    return next((model for model in found if model), None)


def _kind(annotation: object) -> str:
    if typing.get_origin(annotation) is typing.Literal:
        return " \\| ".join(f"`{word}`" for word in typing.get_args(annotation))
    arguments = [part for part in typing.get_args(annotation) if part is not type(None)]
    origin = typing.get_origin(annotation)
    if origin is list:
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return "object of strings"
    if arguments:
        return _kind(arguments[0])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "object"
    words = {str: "string", int: "number", float: "number", bool: "true, false", timedelta: "time"}
    return words.get(annotation, str(annotation)) if isinstance(annotation, type) else ""


def _default(value: object) -> str:
    match value:
        case None | [] | {}:
            return ""
        case bool():
            return f"`{str(value).lower()}`"
        case timedelta():
            return f"`{value.total_seconds():g}s`"
        case _:
            return f"`{value}`"


if __name__ == "__main__":
    print(page(), end="")
