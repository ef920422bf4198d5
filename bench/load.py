"""The load generator: a process of its own that speaks raw HTTP/1.1 over sockets and epoll.

One line of JSON in (what to send, over how many connections, how long), one out (latencies, the
rate, and how busy it was itself: below 0.9 of a core it was not what was measured).
"""

import base64
import json
import select
import socket
import sys
import time
from typing import Any

# As many digits as any id of a run has, so that no request changes its length.
FIRST_ID = 1_000_000_000
GONE = TimeoutError("no answer within 20 s")


class Connection:
    """One keep-alive connection with one request under way at a time."""

    def __init__(self, job: dict[str, Any], first_id: int) -> None:
        self._head, self._tail = (base64.b64decode(part) for part in job["request"])
        self._socket = socket.create_connection((job["host"], job["port"]), timeout=20)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._id = first_id
        self._answer = b""
        self.began = 0.0

    def fileno(self) -> int:
        return self._socket.fileno()

    def ask(self) -> None:
        self._id += 1
        self._answer = b""
        self.began = time.perf_counter()
        self._socket.sendall(b"%b%d%b" % (self._head, self._id, self._tail))

    def hear(self) -> bool:
        """Take what has come; whether the answer is whole. An answer must be a good one."""
        more = self._socket.recv(65536)
        self._answer += more
        if not more:
            raise AssertionError(f"the connection was closed after {self._answer[:500]!r}")
        if not _is_whole(self._answer):
            return False
        if self._answer[:12] != b"HTTP/1.1 200" or b"hello" not in self._answer:
            raise AssertionError(f"answered {self._answer[:1000]!r}")
        if b"%d" % self._id not in self._answer:
            raise AssertionError(f"not the answer to {self._id}: {self._answer[:1000]!r}")
        return True

    def close(self) -> None:
        self._socket.close()


def _is_whole(answer: bytes) -> bool:
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = answer[:end].lower()
    at = head.find(b"content-length:")
    if at < 0:
        return answer.endswith(b"0\r\n\r\n")
    return len(answer) >= end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])


def run(job: dict[str, Any]) -> dict[str, Any]:
    connections = [
        Connection(job, FIRST_ID + 10_000_000 * number) for number in range(job["connections"])
    ]
    took: list[float] = []
    busy, began = time.process_time(), time.perf_counter()
    until = began + job["seconds"]
    try:
        if len(connections) == 1:
            _one(connections[0], until, took)
        else:
            _several(connections, until, took)
    finally:
        for connection in connections:
            connection.close()
    lasted = time.perf_counter() - began
    took.sort()
    return {
        "calls": len(took),
        "p50_ms": took[len(took) // 2] * 1000,
        "p99_ms": took[len(took) * 99 // 100] * 1000,
        "per_second": len(took) / lasted,
        "busy": (time.process_time() - busy) / lasted,
    }


def _one(connection: Connection, until: float, took: list[float]) -> None:
    now = 0.0
    while now < until:
        connection.ask()
        while not connection.hear():
            continue
        now = time.perf_counter()
        took.append(now - connection.began)


def _several(connections: list[Connection], until: float, took: list[float]) -> None:
    epoll = select.epoll()
    by_number = {connection.fileno(): connection for connection in connections}
    for number, connection in by_number.items():
        epoll.register(number, select.EPOLLIN)
        connection.ask()
    waiting = len(connections)
    while waiting:
        ready = epoll.poll(20)
        if not ready:
            raise GONE
        for number, _ in ready:
            connection = by_number[number]
            if not connection.hear():
                continue
            now = time.perf_counter()
            took.append(now - connection.began)
            if now < until:
                connection.ask()
            else:
                waiting -= 1
    epoll.close()


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
