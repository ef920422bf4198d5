"""The disks a power cut may leave: of what was not synced any part may be there, in any order.

Law: what was synced is there. Unsynced writes may be there whole, torn at a sector, or not at all;
a name may be there without its content, never content without its name.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Final

from tests.crash.recorder import Kind, Operation

SECTOR: Final = 512
Image = dict[str, bytes]


class Disk:
    """What is durable, and what waits for a sync. `take` goes on by one operation."""

    def __init__(self, durable: Image) -> None:
        self._durable = {name: bytearray(content) for name, content in durable.items()}
        self._waiting: list[Operation] = []

    def take(self, operation: Operation) -> None:
        name = operation.name
        if operation.kind is Kind.SYNC:
            _apply(self._durable, [each for each in self._waiting if each.name == name])
            self._waiting = [each for each in self._waiting if each.name != name]
        elif operation.kind is Kind.DELETE and operation.durable:
            self._durable.pop(name, None)
            self._waiting = [each for each in self._waiting if each.name != name]
        else:
            self._waiting.append(operation)

    def images(self, chance: random.Random, subsets: int) -> Iterator[Image]:
        """The disk with all that was written, with nothing unsynced, and some parts of it."""
        yield self._with(self._waiting)
        if not self._waiting:
            return
        yield self._with([])
        for _ in range(subsets):
            chosen = [each for each in self._waiting if chance.random() < 0.5]
            if chosen and chance.random() < 0.5:
                number = chance.randrange(len(chosen))
                chosen[number : number + 1] = _torn(chosen[number], chance)
            yield self._with(chosen)

    def _with(self, unsynced: Sequence[Operation]) -> Image:
        names = {each.name for each in unsynced}
        files = {
            name: bytearray(content) if name in names else content
            for name, content in self._durable.items()
        }
        _apply(files, unsynced)
        return {name: bytes(content) for name, content in files.items()}


def _apply(files: dict[str, bytearray], operations: Sequence[Operation]) -> None:
    for kind, name, offset, content, _ in operations:
        if kind is Kind.CREATE:
            files.setdefault(name, bytearray())
        elif name not in files:
            continue  # its name never reached the directory
        elif kind is Kind.DELETE:
            del files[name]
        elif kind is Kind.TRUNCATE:
            del files[name][offset:]
            files[name].extend(bytes(offset - len(files[name])))
        elif kind is Kind.WRITE:
            file = files[name]
            file.extend(bytes(max(0, offset - len(file))))
            file[offset : offset + len(content)] = content


def _torn(operation: Operation, chance: random.Random) -> list[Operation]:
    """Only the sectors before a cut of it, or only those after."""
    content = operation.content
    if operation.kind is not Kind.WRITE or len(content) < 2:
        return []
    cut = chance.randrange(0, len(content), SECTOR) or chance.randrange(1, len(content))
    if chance.random() < 0.5:
        return [operation._replace(content=content[:cut])]
    return [operation._replace(offset=operation.offset + cut, content=content[cut:])]
