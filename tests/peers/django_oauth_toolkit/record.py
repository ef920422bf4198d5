"""The ground truth, as the other authorization server writes it: see tests/peers/record.py."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from tests.peers.record import fingerprint

RECORDED = ("/o/token/", "/o/revoke_token/", "/o/register/")


class RecordMiddleware:
    """Writes a line about every request that asks for something, before its answer leaves."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response
        self._path = settings.DATA_DIR / "requests.jsonl"
        self._lock = threading.Lock()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.time()
        recorded = request.method == "POST" and request.path in RECORDED
        form = request.POST.dict() if recorded else {}
        response = self._get_response(request)
        if recorded:
            self._write(started, request.path, form, response)
        return response

    def _write(
        self, started: float, path: str, form: dict[str, Any], response: HttpResponse
    ) -> None:
        try:
            answer = json.loads(response.content)
        except ValueError:
            answer = {}
        line = {
            "at": started,
            "done_at": time.time(),
            "path": path,
            "grant_type": form.get("grant_type"),
            "client_id": form.get("client_id") or answer.get("client_id"),
            "resource": form.get("resource"),
            "refresh_token": _fingerprint(form.get("refresh_token")),
            "processed": True,
            "status": response.status_code,
            "error": answer.get("error"),
            "error_description": answer.get("error_description"),
            "issued_access_token": _fingerprint(answer.get("access_token")),
            "issued_refresh_token": _fingerprint(answer.get("refresh_token")),
            "fault": None,
        }
        with self._lock, self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _fingerprint(token: str | None) -> str | None:
    return fingerprint(token) if token else None
