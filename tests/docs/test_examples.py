"""The configurations that the pages show load as they stand, without a warning."""

import json
import re
from pathlib import Path
from typing import Final

import pytest

from mcpproxy.config.load import read_settings
from mcpproxy.config.locate import Location
from mcpproxy.config.references import References
from mcpproxy.core.errors import ConfigError
from tests.docs.markdown import files, name

_BLOCK: Final = re.compile(r"^```(jsonc?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES: Final = [
    pytest.param(kind, body, id=f"{name(path)}-{number}")
    for path in files()
    for number, (kind, body) in enumerate(_BLOCK.findall(path.read_text(encoding="utf-8")))
]


def warnings_of(text: str) -> tuple[str, ...]:
    """What the loader says about a file, or about one server's entry. Raises ConfigError."""
    whole = f'{{"mcpServers": [{text}]}}' if text.lstrip("{ \n").startswith('"name"') else text
    place = Location(Path("mcp_config.json"), Path("data"), api_key="a-key-of-enough-characters")
    lookups = References({"MCPPROXY_KEY": "a-key-of-enough-characters"}, lambda item: f"its {item}")
    return read_settings(whole, place, lookups).warnings


@pytest.mark.parametrize(("kind", "body"), EXAMPLES)
def test_an_example_loads_as_it_stands(kind: str, body: str) -> None:
    if kind == "json":
        assert json.loads(body)
    else:
        assert warnings_of(body) == ()


def test_there_are_examples() -> None:
    assert {"json", "jsonc"} == {example.values[0] for example in EXAMPLES}


def test_an_example_that_does_not_load_is_found() -> None:
    with pytest.raises(ConfigError, match="name"):
        warnings_of('{"name": "Not A Name", "url": "https://x.example/mcp"}')
    assert warnings_of('{"mcpServers": [], "surprise": 1}') != ()
