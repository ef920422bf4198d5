"""URIs of resources as the clients of the aggregate see them: the server stands in the scheme.

`file:///notes.txt` of the server `docs` is `docs+file:///notes.txt` there, and `docs+` before the
scheme of a URI template keeps it a template. Law: an address is made of the server's name and
its URI alone and leads back to exactly these; what else is configured does not matter.
"""

import hashlib
import re
from functools import lru_cache
from typing import Final

# RFC 3986 section 3.1. In a template only a scheme without expressions is one.
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_PLAIN_HEAD: Final = re.compile(r"[a-z][a-z0-9-]*")
_ILLEGAL: Final = re.compile(r"[^a-z0-9-]")
_MARK: Final = "+"
_DIGEST: Final = 8


@lru_cache(maxsize=4096)
def address_head(server: str) -> str:
    """How a scheme names the server: by its name; with a digest where that is not legal in it.

    A dot is in no server's name, so a head with a digest is no other server's plain one.
    """
    if _PLAIN_HEAD.fullmatch(server):
        return server
    legal = _ILLEGAL.sub("-", server.lower())
    digest = hashlib.sha256(server.encode()).hexdigest()[:_DIGEST]
    return f"{legal if legal[:1].isalpha() else 's' + legal}.{digest}"


def address(server: str, uri: str) -> str:
    """A URI or URI template of a server for clients of the aggregate. One without a scheme gets
    the server's own: `docs+:readme`.
    """
    rest = uri if _SCHEME.match(uri) else f":{uri}"
    return f"{address_head(server)}{_MARK}{rest}"


def split_address(shown: str) -> tuple[str, str] | None:
    """The head that names the server, and the server's own URI; None if this is no address.

    Schemes do not tell capital letters from small ones, and some clients write them small.
    """
    found = _SCHEME.match(shown)
    if found is None or _MARK not in found[0]:
        return None
    head, _, rest = shown.partition(_MARK)
    return head.lower(), rest.removeprefix(":")
