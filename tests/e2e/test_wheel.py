"""The built wheel installs into an empty environment and runs alone, as pipx and uvx use it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers.process import ROOT, Process, answers, free_port

UV = str(ROOT / "scripts" / "uv")
PEERS = ("mcp", "fastmcp", "django", "pytest", "playwright")


def run(*argv: str | Path) -> str:
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin directory of an environment that has the wheel and what it depends on."""
    where = tmp_path_factory.mktemp("wheel")
    run(UV, "build", "--quiet", "--wheel", "--out-dir", where)
    (wheel,) = where.glob("mcpproxy-*.whl")
    run(UV, "venv", "--quiet", "--python", sys.executable, where / "venv")
    programs = where / "venv" / "bin"
    run(UV, "pip", "install", "--quiet", "--python", programs / "python", wheel)
    return programs


def test_the_wheel_brings_no_tool_of_the_tests_along(installed: Path) -> None:
    listed = run(UV, "pip", "list", "--quiet", "--python", installed / "python")
    names = {line.split()[0] for line in listed.splitlines() if line}
    assert "mcpproxy" in names
    assert not names.intersection(PEERS)


def test_the_installed_program_tells_its_version(installed: Path) -> None:
    assert run(installed / "mcpproxy", "version").startswith("mcpproxy ")
    assert run(installed / "python", "-m", "mcpproxy", "version").startswith("mcpproxy ")


def test_the_installed_program_serves(installed: Path, tmp_path: Path) -> None:
    port = free_port()
    argv = [str(installed / "mcpproxy"), "serve", f"--listen=127.0.0.1:{port}", "-d"]
    data_dir = tmp_path / "data"
    with Process(
        "wheel",
        [*argv, str(data_dir)],
        log_dir=tmp_path,
        env={"HOME": str(tmp_path)},
        cwd=tmp_path,
        ready=lambda: answers(f"http://127.0.0.1:{port}/readyz"),
    ):
        listed = subprocess.run(
            [installed / "mcpproxy", "-d", data_dir, "upstream", "list", "-o", "json"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            cwd=tmp_path,
        )
    assert listed.stdout.strip() == "[]"
