"""A token endpoint's raw answer as one opaque Secret, to be stored before anybody reads it.

Law: packing understands nothing, so nothing can go wrong between the answer and the disk.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from mcpproxy.core.http import HttpReply
from mcpproxy.core.model import Secret

KEPT_HEADERS: Final = ("content-type", "retry-after", "date")
"""All that classification reads; the rest of the headers is not worth sealing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and when by our clock."""

    reply: HttpReply
    received_at: datetime | None


def pack(reply: HttpReply, received_at: datetime) -> Secret:
    """The answer in one string."""
    return Secret(
        json.dumps(
            {
                "status": reply.status,
                "headers": {k: v for k, v in reply.headers.items() if k in KEPT_HEADERS},
                "body": base64.b64encode(reply.body).decode("ascii"),
                "complete": reply.complete,
                "received_at": received_at.isoformat(),
            }
        )
    )


def unpack(answer: Secret) -> Answer | None:
    """The answer again; None when the string is not one that `pack` made."""
    try:
        fields = json.loads(answer.reveal())
        headers = fields["headers"]
        if not isinstance(headers, Mapping):
            return None
        reply = HttpReply(
            status=int(fields["status"]),
            headers={str(name): str(value) for name, value in headers.items()},
            body=base64.b64decode(fields["body"], validate=True),
            complete=bool(fields["complete"]),
        )
        return Answer(reply, _moment(fields.get("received_at")))
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error):
        return None


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    moment = datetime.fromisoformat(value)
    return moment.astimezone(UTC) if moment.tzinfo else None
