"""Long lists for clients, a page at a time, made once for each kind of caller.

Law: a cursor is good for the list it was made of and nothing else; one of another list, or of a
list that changed since, is refused in words that say to begin again.
"""

import base64
import binascii
import secrets
from collections.abc import Iterable
from typing import Final

from msgspec import Raw

from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

# So long that most clients never see a second page: many forget to ask for it.
PAGE_ITEMS: Final = 1000
PAGE_BYTES: Final = 4 * 1024 * 1024
# Lists kept for as many kinds of callers.
_MAX_LISTS: Final = 32
_STALE: Final = "This cursor is of a list that has changed since; ask for the list without one"


class Pages:
    """One list, by caller, for one revision of what it is made from; `member` is its name in the
    result.
    """

    def __init__(self, member: str) -> None:
        self._member = member
        self._revision = -1
        self._mark = ""
        self._lists: dict[Caller, list[bytes]] = {}

    def knows(self, caller: Caller, revision: int) -> bool:
        """Whether the pages of this caller are made; otherwise `put` them first."""
        if revision != self._revision or len(self._lists) > _MAX_LISTS:
            self._revision, self._lists = revision, {}
            self._mark = secrets.token_hex(6)
        return caller in self._lists

    def put(self, caller: Caller, definitions: Iterable[bytes]) -> None:
        pages: list[list[bytes]] = [[]]
        size = 0
        for definition in definitions:
            size += len(definition)
            if pages[-1] and (len(pages[-1]) == PAGE_ITEMS or size > PAGE_BYTES):
                pages.append([])
                size = len(definition)
            pages[-1].append(definition)
        last = len(pages) - 1
        self._lists[caller] = [
            self._page(page, number + 1 if number < last else None)
            for number, page in enumerate(pages)
        ]

    def answer(self, caller: Caller, cursor: Raw | None) -> Members:
        """The response: the first page, or the one that a cursor stands for."""
        pages = self._lists[caller]
        if jsonrpc.is_null(cursor):
            return jsonrpc.result(pages[0])
        number = self._number(jsonrpc.text(cursor))
        if number is None or not 0 < number < len(pages):
            return jsonrpc.error(jsonrpc.INVALID_PARAMS, _STALE)
        return jsonrpc.result(pages[number])

    def _page(self, definitions: list[bytes], following: int | None) -> bytes:
        listed = b'{"%s":[%s]' % (self._member.encode(), b",".join(definitions))
        if following is None:
            return listed + b"}"
        cursor = base64.urlsafe_b64encode(f"{self._mark}.{following}".encode())
        return listed + b',"nextCursor":"' + cursor + b'"}'

    def _number(self, cursor: str | None) -> int | None:
        try:
            mark, _, number = base64.urlsafe_b64decode(cursor or "").decode().partition(".")
        except (binascii.Error, ValueError):
            return None
        return int(number) if mark == self._mark and number.isdecimal() else None
