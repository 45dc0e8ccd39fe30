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


def flushes_of_folder(names: list[str]) -> set[int]:
    """Return the calls that flush the folder after a rename: the fsync after the next open."""
    opened = (names.index("open", k) for k, name in enumerate(names) if name == "rename")
    calls = {place + 2 for place in opened}  # calls are counted from 1
    assert len(calls) == LAST - FIRST
    assert all(names[call - 1] == "fsync" for call in calls)
    return calls


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
    flushes = flushes_of_folder(names)
    steps: Counter[int] = Counter()
    for call, name in enumerate(names, 1):
        saved = FIRST + names[: call - 1].count("rename")  # the step of the last whole save
        for error in (errno.ENOSPC, errno.EIO):
            told = disturb(call, error, ONCE)
            opens = call + 1 in flushes
            assert told or not (opens or name in ("write", "fsync", "rename")), f"{call}: {name}"
            kept = check(name, told)
            assert kept == (saved if told else LAST), f"{call}: {name}, step {kept}"
            steps[kept] += 1
        if call in flushes:  # some file systems cannot flush folders, and say so in these ways
            for error in (errno.EINVAL, errno.ENOTSUP):
                assert not disturb(call, error, ONCE)
                assert check(name, False) == LAST
        if name == "write":
            assert not disturb(call, 0, SHORT)
            assert check(name, False) == LAST
            assert disturb(call, errno.ENOSPC, FULL)
            steps[check(name, True)] += 1
    print(len(names), sorted(Counter(names).items()), sorted(steps.items()))


if __name__ == "__main__":
    main()
