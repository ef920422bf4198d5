"""A disk that is full while an answer is on the way; test_disks.py runs it where it may mount."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.disks import answer_on_the_way_while
from tests.e2e.disks import fill


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A data directory on a disk of one megabyte."""
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(data_dir)]
    subprocess.run(mount, check=True)
    yield data_dir
    subprocess.run(["umount", "--lazy", str(data_dir)], check=True)


def test_an_answer_that_comes_while_the_disk_is_full_is_kept_until_it_can_be_stored(
    small_disk: Path,
) -> None:
    filling: list[Path] = []
    answer_on_the_way_while(
        small_disk.parent,
        breaks=lambda pid: filling.append(fill(small_disk)),
        heals=lambda pid: filling[0].unlink(),
    )
