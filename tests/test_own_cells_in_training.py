"""Language models with the zoo's and users' own cells: checkpoints, runs, the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rnnfast
from cli_cases import Capture, refused, rnnfast_, train
from rnnfast import functional
from rnnfast.cells import ZOO, sigmoid, tanh
from rnnfast.training import (
    CharLM,
    CharLMConfig,
    CharLMTrainer,
    CheckpointError,
    Vocabulary,
    load_checkpoint,
)
from rnnfast.training.checkpoint import save_checkpoint
from training_cases import TEXT, VOCABULARY, assert_same_bits, options


def step(x: Any, recurrent: Any, state: Any, channel: Any) -> tuple[Any, ...]:
    """Take a step of a unit with one gate."""
    (h,) = state
    (a,) = recurrent(h)
    z = sigmoid(x[0] + channel[0] * h)
    return (z * h + (1 - z) * tanh(x[1] + a),)


MINE = rnnfast.Cell("one gate", step, gates=2, recurrent_gates=1, params=1)
LOADER = """
import sys
from rnnfast.training import CharLM
model = CharLM.load(sys.argv[1])
print(model.config.cell, model.sample(50, seed=3), sep="\\n", end="")
"""


def small(cell: str | rnnfast.Cell, **changes: Any) -> CharLM:
    return CharLM(VOCABULARY, CharLMConfig(cell=cell, hidden_size=12, **changes), seed=1)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("cell", [MINE, "lem", ZOO["brc"]], ids=["own", "zoo", "object of zoo"])
def test_a_checkpoint_gives_the_same_bits_in_a_process_that_has_no_such_code(
    cell: str | rnnfast.Cell, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    model = small(cell, num_layers=2)
    CharLMTrainer(model, TEXT, options(steps=3), output=path).run()
    again = CharLM.load(path)
    assert again.config.cell == model.config.cell
    assert_same_bits(again, model)
    child = subprocess.run(
        [sys.executable, "-c", LOADER, str(path)], check=True, capture_output=True, text=True
    )
    assert child.stdout == f"{model.config.cell}\n{model.sample(50, seed=3)}"


@pytest.mark.usefixtures("one_thread")
def test_a_run_goes_on_with_the_bits_of_one_that_was_not_cut(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    CharLMTrainer(small(MINE), TEXT, options(steps=6, schedule="constant"), output=whole).run()
    CharLMTrainer(small(MINE), TEXT, options(steps=3, schedule="constant"), output=parts).run()
    CharLMTrainer.resume(parts, TEXT, steps=6).run()
    assert_same_bits(CharLM.load(parts), CharLM.load(whole))


def test_what_a_registered_name_means_elsewhere_does_not_change_what_a_file_holds(
    tmp_path: Path,
) -> None:
    name = rnnfast.register(MINE, "named for a file")
    model = small(name)
    model.save(tmp_path / "m.safetensors")
    checkpoint = load_checkpoint(tmp_path / "m.safetensors")
    assert checkpoint.model["cell"]["name"] == name
    assert CharLM.load(tmp_path / "m.safetensors").config.cell == name
    # A file from another process, in which another cell has this name.
    other = rnnfast.Recurrent(ZOO["mgu"], 3, 12).cell
    checkpoint.model["cell"] = small(other).describe()["cell"] | {"name": name}
    checkpoint.tensors = small(other).state_dict()
    save_checkpoint(tmp_path / "other.safetensors", checkpoint)
    loaded = CharLM.load(tmp_path / "other.safetensors")
    assert loaded.config.cell.startswith(f"{name}@")
    assert loaded.sample(30, seed=1) == small(other).sample(30, seed=1)


def test_files_of_compiled_cells_hold_no_equations() -> None:
    assert "cell" not in small("lstm").describe()


DAMAGES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "nothing": (lambda _: None, "expected a dictionary, got a NoneType"),
    "text": (lambda _: "import os", "expected a dictionary, got a str"),
    "code": (lambda g: g | {"code": "import os"}, "expected the keys"),
    "an operation": (
        lambda g: g | {"nodes": [["__import__", 0], *g["nodes"][1:]]},
        "got '__import__'",
    ),
    "a cycle": (lambda g: g | {"nodes": [["tanh", 0], *g["nodes"][1:]]}, "expected an integer in"),
    "other weights": (lambda _: small("mgu").describe()["cell"], "its tensors contain"),
    "too much": (lambda g: g | {"gates": 33}, r"gates: expected an integer in \[1, 33\), got 33"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_damaged_equations_are_refused(what: str, tmp_path: Path) -> None:
    damage, message = DAMAGES[what]
    path = tmp_path / "m.safetensors"
    small(MINE).save(path)
    checkpoint = load_checkpoint(path)
    checkpoint.model["cell"] = damage(json.loads(json.dumps(checkpoint.model["cell"])))
    save_checkpoint(path, checkpoint)
    with pytest.raises(CheckpointError, match=message) as caught:
        CharLM.load(path)
    assert str(caught.value).startswith(f"{path}: contains no model that can be built: ")


def test_a_cell_that_reads_its_input_needs_vectors_of_the_state_s_size() -> None:
    wrong = (
        "embedding_size: expected hidden_size = 256, as a step of the cell 'mut1' reads .* got 0"
    )
    with pytest.raises(ValueError, match=wrong):
        CharLMConfig(cell="mut1")
    model = small("mut1", embedding_size=12)
    assert model.config.parameters(len(VOCABULARY)) == sum(p.value.size for p in model.parameters())


def test_parameters_are_counted() -> None:
    for cell in (MINE, "recurrent_highway_3", "lstm"):
        for layers, embedding in ((1, 0), (3, 5)):
            config = CharLMConfig(cell, 12, layers, embedding)
            model = CharLM(Vocabulary("abc"), config)
            assert config.parameters(3) == sum(p.value.size for p in model.parameters())


FILE = """
from rnnfast import Cell
from rnnfast.cells import tanh

def step(x, recurrent, state, channel):
    '''Two lines.

    h' = tanh(x_0 + 0.75 R_0 h).
    '''
    (h,) = state
    return (tanh(x[0] + 0.75 * recurrent(h)[0]),)

mine = Cell("plain", step)
half = 0.5
"""


@pytest.mark.usefixtures("folder_with_a_text")
def test_the_command_trains_a_cell_out_of_a_file(capsys: Capture) -> None:
    Path("mine.py").write_text(FILE)
    code, out, err = train(capsys, "text.txt", "--cell", "mine.py:mine", "--steps", 2)
    assert (code, err) == (0, "")
    assert out.startswith("plain@")
    Path("mine.py").unlink()  # the file is not needed any more
    assert rnnfast_(capsys, "train", "--resume", "--steps", 3)[0] == 0
    assert rnnfast_(capsys, "sample", "--length", 5)[0] == 0
    assert "cell " in rnnfast_(capsys, "info", "model.safetensors")[1]
    assert train(capsys, "text.txt", "--cell", "atr", "--steps", 1, "--overwrite")[0] == 0


@pytest.mark.usefixtures("folder_with_a_text")
def test_the_command_says_what_is_wrong_with_a_file(capsys: Capture) -> None:
    Path("mine.py").write_text(FILE)
    Path("empty.py").write_text("")
    Path("wrong.py").write_text("import rnnfast\n\nrnnfast.Cell('')\n")
    Path("syntax.py").write_text("\ndef step(:\n")
    Path("mine.txt").write_text(FILE)
    Path("branch.py").write_text(FILE.replace("    (h,) = state\n", "    h = state[0] or x[0]\n"))
    for cell, message in {
        "gone.py:mine": "cell: expected FILE.py:NAME, got a file that does not exist: gone.py",
        "mine.py": "cell: expected FILE.py:NAME, got 'mine.py'; its cells are mine",
        "empty.py:mine": "FILE.py:NAME, but empty.py has no 'mine'; it has no rnnfast.Cell",
        "mine.py:yours": "FILE.py:NAME, but mine.py has no 'yours'; its cells are mine",
        "mine.py:half": "cell: expected a rnnfast.Cell as 'half' of mine.py, got float; its cells",
        "wrong.py:mine": "cell: wrong.py, line 3: TypeError: Cell.__init__() missing 1 required",
        "syntax.py:mine": "cell: syntax.py, line 2: SyntaxError: invalid syntax",
        "mine.txt:mine": "cell: expected a file whose name ends in .py, got mine.txt",
        "branch.py:mine": "branch.py, line 10: bool(v): a step is traced once",
        "msu": "cell: expected a name in rnnfast.cells.ZOO, a registered name, or a",
    }.items():
        got = refused(train(capsys, "text.txt", "--cell", cell))
        assert message in got


def test_cells_are_listed(capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = rnnfast_(capsys, "cells")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["cell", "states", "W", "R", "params"]
    listed = {line.split()[0]: line.split()[1:5] for line in lines[1:-1]}
    assert list(listed) == list(ZOO)
    for name, numbers in listed.items():
        cell = ZOO[name]
        assert [int(n) for n in numbers] == [
            cell.states,
            cell.gates,
            cell.recurrent_blocks,
            cell.params,
        ]
    Path("mine.py").write_text(FILE)
    assert "h' = tanh(x_0 + 0.75 R_0 h)." in rnnfast_(capsys, "cells", "mine.py:mine")[1]
    out = rnnfast_(capsys, "cells", "mgu")[1]
    assert "arXiv:1603.09420" in out
    assert "did you mean 'mgu'" in refused(rnnfast_(capsys, "cells", "mguu"))
    assert functional.cells()["mgu"].states == 1
