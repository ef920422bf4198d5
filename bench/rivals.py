"""What mcpproxy is compared with: nginx, a relay of bytes, a bare ASGI proxy, and fastmcp's proxy.

Law: none of them enters the product's environment; one that cannot be had here is left out, aloud.
"""

import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.peers.process import ROOT, Process, free_port, wait_until

FASTMCP = "4.1.2"
_OWN = ROOT / ".cache" / "bench" / f"fastmcp-{FASTMCP}"
_NGINX = """
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/nginx-error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  keepalive_requests 100000000;
  upstream behind {{ server 127.0.0.1:{behind}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://behind;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }}
  }}
}}
"""
_FASTMCP = """
import sys
from fastmcp.server import create_proxy
proxy = create_proxy(sys.argv[2], name="proxy")
proxy.run(transport="http", host="127.0.0.1", port=int(sys.argv[1]), log_level="error",
          show_banner=False)
"""


@dataclass(frozen=True, slots=True)
class Served:
    """A program that serves HTTP on a port of its own while it is entered."""

    process: Process
    port: int

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def workers(self) -> tuple[int, ...]:
        """The processes below this one, which do its work."""
        pid, found = self.process.pid, list[int]()

        def known() -> bool:
            found[:] = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            return bool(found)

        wait_until(known, deadline=10, what="its workers run")
        return tuple(found)

    def __enter__(self) -> Self:
        self.process.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.stop()


def upstream(directory: Path, tools: int) -> Served:
    """The server behind all of them; so many tools are at `/many`."""
    port = free_port()
    return _served("upstream", _module("upstream", str(port), str(tools)), directory, port)


def relay(directory: Path, behind: Served) -> Served:
    port = free_port()
    return _served("relay", _module("relay", str(port), str(behind.port)), directory, port)


def bare(directory: Path, behind: Served) -> Served:
    port = free_port()
    return _served("bare", _module("bare_proxy", str(port), behind.origin), directory, port)


def nginx(directory: Path, behind: Served) -> Served | None:
    """nginx with one worker and kept connections; None where there is none."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None and not _install_nginx():
        print("nginx is not here and cannot be installed (that takes root and apt-get): without it")
        return None
    port = free_port()
    config = directory / "nginx.conf"
    config.write_text(_NGINX.format(directory=directory, behind=behind.port, port=port))
    argv = [program or "/usr/sbin/nginx", "-e", f"{directory}/error", "-c", str(config)]
    return _served("nginx", argv, directory, port)


def _install_nginx() -> bool:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    print("installing nginx")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    packages = ["--no-install-recommends", "nginx-light"]
    for command in (["update", "-qq"], ["install", "-y", "-qq", *packages]):
        done = subprocess.run(["apt-get", *command], env=quiet, capture_output=True, check=False)
        if done.returncode:
            print(done.stderr.decode(errors="replace")[-2000:])
            return False
    return True


def fastmcp(directory: Path, url: str) -> Served | None:
    """fastmcp's proxy in front of this server, from an environment of its own; None without."""
    python = _OWN / "bin" / "python"
    if not (_OWN / "done").exists() and not _install_fastmcp(python):
        return None
    port = free_port()
    argv = [str(python), "-c", _FASTMCP, str(port), url]
    return _served("fastmcp", argv, directory, port)


def _install_fastmcp(python: Path) -> bool:
    print(f"installing fastmcp {FASTMCP} into {_OWN.relative_to(ROOT)}")
    uv = str(ROOT / "scripts" / "uv")
    install = [uv, "pip", "install", "-q", "--python", str(python), f"fastmcp=={FASTMCP}"]
    for command in ([uv, "venv", "-q", "--clear", "--python", sys.executable, str(_OWN)], install):
        done = subprocess.run(command, capture_output=True, cwd=ROOT, check=False)
        if done.returncode:
            print(f"fastmcp is left out: {done.stderr.decode(errors='replace')[-1000:]}")
            return False
    (_OWN / "done").touch()
    return True


def _module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"bench.{name}", *arguments]


def _served(name: str, argv: list[str], directory: Path, port: int) -> Served:
    def ready() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return Served(Process(name, argv, log_dir=directory, ready=ready), port)
