"""Files are written whole or not at all, by any number of writers, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rnnfast
from rnnfast import _files

# Killed at its second write, when the new data is beside the target but not yet in its place.
WRITER = """
import os, signal, sys
from rnnfast import _files
with _files.claim(sys.argv[1]):
    _files.replace(sys.argv[1], b"first")
    os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    _files.replace(sys.argv[1], b"second")
"""


@pytest.fixture(params=["fifo", "socket", "link to a fifo"])
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Return a path in a folder that leads to neither a file nor a folder."""
    path = tmp_path / "odd"
    if request.param == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            yield path
        return
    os.mkfifo(path)
    if request.param == "fifo":
        yield path
    else:
        link = tmp_path / "link"
        link.symlink_to(path)
        yield link


def hidden(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob(".*"))


def test_what_is_not_a_regular_file_is_neither_replaced_nor_written_to(odd: Path) -> None:
    before = odd.stat()
    for write in (_files.check_output, lambda path: _files.replace(path, b"data")):
        with pytest.raises(OSError, match=r"it is a (FIFO|socket), not a regular file"):
            write(odd)
    assert os.path.samestat(before, odd.stat())
    assert hidden(odd.parent) == []


def test_a_fifo_that_nobody_writes_to_is_not_waited_for(odd: Path) -> None:
    with pytest.raises(OSError, match=r"it is a (FIFO|socket), not a regular file"):
        _files.open_to_read(odd)
    if odd.is_fifo():
        with _files.open_to_read(odd, pipes=True) as file:
            assert file.read() == b""


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    fifo, data = tmp_path / "fifo", os.urandom(300_000)  # more than a pipe holds
    os.mkfifo(fifo)
    both_ends = os.open(fifo, os.O_RDWR)  # so that neither end waits for the other, or misses it

    def write() -> None:
        fifo.write_bytes(data)
        os.close(both_ends)

    writer = threading.Thread(target=write)
    writer.start()
    with _files.open_to_read(fifo, pipes=True) as file:
        assert file.read() == data
    writer.join()


def test_threads_that_write_to_one_path_all_succeed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    failures: list[BaseException] = []

    def write(letter: bytes) -> None:
        try:
            for _ in range(60):
                _files.replace(path, letter * 10_000)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(bytes([65 + i]),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    data = path.read_bytes()
    assert data == data[:1] * 10_000
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_leaves_the_file_whole_and_its_traces_go_with_the_next(
    tmp_path: Path,
) -> None:
    path = tmp_path / "file"
    done = subprocess.run([sys.executable, "-c", WRITER, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"first"
    assert len(hidden(tmp_path)) == 2  # the lock, and the write that was interrupted
    other = tmp_path / f".other.{'0' * 8}.tmp"
    other.touch()
    _files.check_output(path)
    assert hidden(tmp_path) == [other.name]


def test_a_claim_ends_with_its_run(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for _ in range(2):
        with _files.claim(path) as target:
            assert target == path.resolve()
            _files.replace(path, b"data")
            assert hidden(tmp_path) == [".file.lock"]
            with pytest.raises(OSError, match="another run is writing to it"), _files.claim(path):
                pass
        assert hidden(tmp_path) == []


def test_a_replaced_file_keeps_its_permissions_and_a_new_one_follows_the_umask(
    tmp_path: Path,
) -> None:
    path, plain = tmp_path / "file", tmp_path / "plain"
    plain.touch()
    _files.replace(path, b"one")
    assert path.stat().st_mode == plain.stat().st_mode
    path.chmod(0o640)
    _files.replace(path, b"two")
    assert path.stat().st_mode & 0o777 == 0o640


def test_names_as_long_as_file_systems_allow_can_be_written(tmp_path: Path) -> None:
    for name in ("x" * 255, "é" * 127, "🎉" * 63):
        _files.replace(tmp_path / name, b"data")
        assert (tmp_path / name).read_bytes() == b"data"
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("path", [3, None, b"bytes", ["list"]], ids=repr)
def test_what_is_no_path_is_named(path: Any) -> None:
    layer = rnnfast.Linear(2, 3)
    for call in (layer.save, rnnfast.load, _files.check_output, _files.open_to_read):
        got = type(path).__name__
        with pytest.raises(TypeError, match=f"^path: expected a string or a path, got {got}$"):
            call(path)


def test_a_name_with_nul(tmp_path: Path) -> None:
    path = tmp_path / "a\0b"
    for call in (_files.check_output, _files.open_to_read):
        with pytest.raises(OSError, match="a name cannot contain NUL"):
            call(path)
    for call in (rnnfast.Linear(2, 3).save, rnnfast.load):
        with pytest.raises(_files.CheckpointError, match="a name cannot contain NUL"):
            call(path)
