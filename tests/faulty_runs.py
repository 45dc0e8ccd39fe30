"""Training runs whose system calls fail one after the other; a script for test_checkpoint_faults.

LD_PRELOAD=faulty_calls.so python faulty_runs.py faulty_calls.so FOLDER
"""

from __future__ import annotations

import ctypes
import errno
import shutil
import sys
from collections import Counter
from pathlib import Path

import rnnfast
from rnnfast import _files
from rnnfast.training import CheckpointError
from trainer_cases import assert_same, checkpointed

ONCE, SHORT, FULL = range(3)  # as in faulty_calls.cpp
FIRST, LAST, FURTHER = 2, 4, 6  # the step to begin with, the one to end with, one to resume to


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(".*"))


def main() -> None:
    calls, folder = ctypes.CDLL(sys.argv[1]), Path(sys.argv[2])
    calls.name_of.restype = ctypes.c_char_p
    rnnfast.set_num_threads(1)
    first, path = folder / "first", folder / "run.safetensors"
    checkpointed(FIRST, first).run()
    undisturbed = checkpointed(FURTHER)
    undisturbed.run()

    def disturb(call: int, error: int, kind: int) -> bool:
        """Run with a fault at a call; return whether the run told of it."""
        shutil.copy(first, path)
        trainer = checkpointed(LAST, path)
        trainer.restore(path)
        calls.arm(call, error, kind)
        try:
            trainer.run()
        except CheckpointError:
            told = True
        else:
            told = False
        finally:
            calls.disarm()
        return told

    def check(name: str, told: bool) -> int:
        """Check what a disturbed run left; return the step of its checkpoint."""
        left = hidden(folder)
        # Nothing can remove what could not be removed; the next run does.
        assert left == [] or (name == "unlink" and len(left) == 1), f"{name} left {left}"
        kept = checkpointed(LAST)
        kept.restore(path)
        assert told or kept.step == LAST, f"{name}: step {kept.step}"
        resumed = checkpointed(FURTHER)
        resumed.restore(path)
        resumed.run()
        assert_same(resumed.model, undisturbed.model)
        _files.check_output(path)
        assert hidden(folder) == []
        return kept.step

    disturb(0, 0, ONCE)  # imports what a run imports, so that only calls for files are counted
    shutil.copy(first, path)
    trainer = checkpointed(LAST, path)
    trainer.restore(path)
    calls.arm(0, 0, ONCE)
    trainer.run()
    names = [calls.name_of(k + 1).decode() for k in range(calls.disarm())]
    steps: Counter[int] = Counter()
    for call, name in enumerate(names, 1):
        for error in (errno.ENOSPC, errno.EIO):
            told = disturb(call, error, ONCE)
            # After the rename, the folder is opened and flushed, which some file systems cannot do.
            of_folder = names[call - 2] == "open"
            assert told or name not in ("write", "fsync", "rename") or of_folder
            steps[check(name, told)] += 1
        if name == "write":
            assert not disturb(call, 0, SHORT)
            assert check(name, False) == LAST
            assert disturb(call, errno.ENOSPC, FULL)
            steps[check(name, True)] += 1
    print(len(names), sorted(Counter(names).items()), sorted(steps.items()))


if __name__ == "__main__":
    main()
