"""What all parts of the file have in common: strict types, unknown keys kept, times and counts."""

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mcpproxy.config.durations import parse_duration, parse_positive

Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Wait = Annotated[timedelta, BeforeValidator(parse_positive)]
"""A time that must pass, or that something is given: nothing would mean at once, for ever."""
Count = Annotated[int, Field(ge=1)]


class Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", populate_by_name=True)
