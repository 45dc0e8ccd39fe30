"""Whatever ends a write, the last complete checkpoint loads and resumes with the same bits.

For more kills than the few that run each time:

    RNNFAST_TEST_KILLS=500 pytest tests/test_checkpoint_faults.py -k killed
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import scripts
from trainer_cases import assert_same, checkpointed

pytestmark = pytest.mark.usefixtures("one_thread")

KILLS = int(os.environ.get("RNNFAST_TEST_KILLS", "20"))
HERE = Path(__file__).parent
SAVES = 200


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder in memory, if possible, as some disks take 0.1 s to flush a file."""
    place = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=place if place.is_dir() else None) as name:
        yield Path(name)


def test_each_call_of_a_run_that_writes_files_may_fail(folder: Path, tmp_path: Path) -> None:
    library = scripts.build_library("faulty_calls.cpp", tmp_path)
    output = scripts.run(
        "faulty_runs.py", library, folder, preload=library, RNNFAST_NUM_THREADS="1"
    )
    for name in ("open", "write", "fsync", "rename", "close", "unlink", "flock"):
        assert f"'{name}'" in output


def test_runs_that_are_killed_at_any_moment_go_on(tmp_path: Path) -> None:
    """On a disk, where writes take long enough to be hit."""
    printed = scripts.run("killed_runs.py", tmp_path, KILLS, RNNFAST_NUM_THREADS="1")
    assert f"{KILLS} kills" in printed


FULL = """
import resource, signal, sys
from trainer_cases import checkpointed
from rnnfast.training import CheckpointError
path, size = sys.argv[1], int(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
trainer = checkpointed(4, path)
trainer.restore(path)
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
try:
    trainer.run()
except CheckpointError as error:
    print(error)
"""


def test_a_file_that_finds_no_room_leaves_the_one_before(folder: Path) -> None:
    """The system's limit of the size of files stands for a full disk: it cuts a write short."""
    path = folder / "run.safetensors"
    checkpointed(2, path).run()
    good = path.read_bytes()
    for size in (0, 1, 4096, len(good) - 1):
        done = subprocess.run(
            [sys.executable, "-c", FULL, str(path), str(size)],
            check=True, capture_output=True, text=True, cwd=HERE,
        )  # fmt: skip
        assert done.stdout == f"{path}: cannot be written: File too large\n"
        assert path.read_bytes() == good
        assert list(folder.iterdir()) == [path]
    resumed, whole = checkpointed(6), checkpointed(6)
    resumed.restore(path)
    for trainer in (resumed, whole):
        trainer.run()
    assert_same(resumed.model, whole.model)


def save_often(steps: int, path: Path) -> None:
    trainer = checkpointed(steps)
    trainer.run()
    for _ in range(SAVES):
        trainer.save(path)


def test_two_processes_that_save_to_one_path_leave_one_of_the_two(folder: Path) -> None:
    path = folder / "run.safetensors"
    trained = {steps: checkpointed(steps) for steps in (2, 5)}
    for trainer in trained.values():
        trainer.run()
        trainer.save(path)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=save_often, args=(steps, path)) for steps in trained]
    for writer in writers:
        writer.start()
    reader = checkpointed(6)
    while any(writer.is_alive() for writer in writers):
        reader.restore(path)
        assert_same(reader.model, trained[reader.step].model)
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert list(folder.iterdir()) == [path]
    reader.restore(path)
    assert_same(reader.model, trained[reader.step].model)
