"""Training runs that are killed at random moments; a script for test_checkpoint_faults.

    python killed_runs.py FOLDER KILLS

Each run resumes from what the one before left, and saves after every step until it is killed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import rnnfast
from rnnfast import _files
from trainer_cases import StopAt, assert_same, checkpointed

FAR = 10**9  # more steps than a run can make
LIVES = 4  # the longest life of a run, in times of a run of one step and two saves


def live(path: Path) -> None:
    """Run until killed."""
    trainer = checkpointed(FAR, path)
    if path.exists():
        trainer.restore(path)
    trainer.run()


def killed(path: Path, longest: float) -> None:
    """Start a run in another process, and kill it within `longest` seconds."""
    child = os.fork()
    if not child:
        try:
            live(path)
        finally:
            os._exit(1)
    time.sleep(random.uniform(0, longest))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the run ended by itself"


def main() -> None:
    folder, kills = Path(sys.argv[1]), int(sys.argv[2])
    rnnfast.set_num_threads(1)
    path, stop = folder / "run.safetensors", StopAt(0)
    undisturbed = checkpointed(FAR)
    undisturbed.callbacks.append(stop)
    checkpointed(1, path).run()  # imports what a run imports, which would take most of the time
    start = time.monotonic()
    checkpointed(1, path).run()
    longest = LIVES * (time.monotonic() - start)
    left = 0
    for _ in range(kills):
        killed(path, longest)
        left += any(name.suffix == ".tmp" for name in folder.iterdir())
        resumed = checkpointed(FAR)
        resumed.restore(path)
        assert resumed.step >= stop.step
        if resumed.step > stop.step:
            stop.step = resumed.step
            undisturbed.run()
        assert_same(resumed.model, undisturbed.model)
    _files.check_output(path)
    assert [file.name for file in folder.iterdir()] == [path.name]
    assert stop.step > 1, "no run came to a step"
    print(f"{kills} kills, {left} of them inside a write, up to step {stop.step}")


if __name__ == "__main__":
    main()
