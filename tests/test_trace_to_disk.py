"""`rnnfast.trace(..., to=FOLDER)`: files, bounded memory, and what is left after an error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rnnfast
from rnnfast.inspection import passes

MIB = 1 << 20


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("units", [None, [2, 0]])
def test_files_hold_what_memory_would(
    bidirectional: bool, units: list[int] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = rnnfast.LSTM(3, 4, 2, bidirectional=bidirectional, seed=0)
    x = np.random.default_rng(0).standard_normal((7, 3, 3)).astype(np.float32)
    lengths = [7, 0, 4]
    expected = rnnfast.trace(layer, x, lengths=lengths, units=units)
    monkeypatch.setattr(passes.Run, "_steps_of_a_chunk", lambda *_: 3)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    to = tmp_path / "new" / "folder"
    traced = rnnfast.trace(layer, mapped, lengths=lengths, units=units, to=to)
    assert list(traced) == list(expected)
    for name, values in expected.items():
        assert list(traced[name]) == list(values)
        for value, array in values.items():
            of_file = np.load(to / f"{name}.{value}.npy", mmap_mode="r")
            for got in (of_file, traced[name][value]):
                assert isinstance(got, np.memmap)
                assert not got.flags.writeable
                assert got.tobytes() == array.tobytes()
    assert len(list(to.iterdir())) == sum(map(len, expected.values()))


def test_no_steps(tmp_path: Path) -> None:
    layer = rnnfast.GRU(3, 4, bidirectional=True)
    traced = rnnfast.trace(layer, np.zeros((0, 2, 3), np.float32), to=tmp_path)
    assert traced["l0_reverse"]["z"].shape == (0, 2, 4)


def test_integers_of_any_type_and_float64(tmp_path: Path) -> None:
    layer = rnnfast.GRU(200, 4, dtype="float64")
    x = np.random.default_rng(0).integers(0, 200, (6, 2))
    expected = rnnfast.trace(layer, x)
    traced = rnnfast.trace(layer, x.astype(np.uint8), to=tmp_path)
    for value, array in expected["l0"].items():
        assert traced["l0"][value].dtype == np.float64
        np.testing.assert_array_equal(traced["l0"][value], array)


def test_errors_leave_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = rnnfast.GRU(3, 4)
    monkeypatch.setattr(passes.Run, "_steps_of_a_chunk", lambda *_: 2)
    x = np.zeros((5, 2), int)
    x[4] = 3  # out of range, in the last chunk
    with pytest.raises(IndexError, match=r"x: expected indices in \[0, input_size\)"):
        rnnfast.trace(layer, x, to=tmp_path)
    assert not list(tmp_path.iterdir())
    rnnfast.trace(layer, x % 3, to=tmp_path)
    with pytest.raises(
        ValueError, match=r"to: expected a folder without \.npy files, got .* has l0"
    ):
        rnnfast.trace(layer, x % 3, to=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        rnnfast.trace(layer, x % 3, to=tmp_path / "file")


PROGRAM = """
import resource, sys
import numpy as np
import rnnfast
from rnnfast.training import CharLM, CharLMConfig, Vocabulary

rnnfast.set_num_threads(1)
steps, folder = int(sys.argv[1]), sys.argv[2]
x = np.lib.format.open_memmap(folder + "/x.npy", "w+", np.uint8, (steps, 8))
x[:] = 1
del x
x = np.load(folder + "/x.npy", mmap_mode="r")
config = CharLMConfig(cell="lstm", hidden_size=32, num_layers=2, embedding_size=16)
model = CharLM(Vocabulary("abc"), config, seed=0)
traced = rnnfast.trace(model, x, values=("h", "c", "f"), to=folder + "/states")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    """Five times the steps write 200 MB more and need no more memory."""
    needed, written = [], []
    for steps in (8_000, 40_000):
        folder = tmp_path / str(steps)
        folder.mkdir()
        command = [sys.executable, "-c", PROGRAM, str(steps), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        needed.append(int(done.stdout))
        written.append(sum(p.stat().st_size for p in (folder / "states").iterdir()))
        for path in (folder / "states").iterdir():
            path.unlink()
    assert written[1] - written[0] > 180 * MIB
    assert needed[1] - needed[0] < 8 * MIB, needed
