"""Write the files of this version, which every later version must load (`test_saved.py`).

    python tests/saved/write.py

The folder is named after the version. `NAME.npz` holds an input and what the saved module makes of
it. Run the script when a version is released, and never again for the same version.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import rnnfast
from rnnfast.cells import ZOO, tanh
from rnnfast.training import CharLM, CharLMConfig, CharLMTrainer, TrainingOptions, Vocabulary
from trainer_cases import trained

FOLDERS = Path(__file__).parent
TEXT = "".join(f"{n} sheep jumped over {n % 7} fences, " for n in range(400))
STEPS = 3


def _fading(x: Any, recurrent: Any, state: Any, _channel: Any) -> Any:
    return (tanh(x[0] - 0.5 * recurrent(state[0])[0]),)


def layers() -> rnnfast.Sequential:
    """Return layers of many kinds, one of them with a cell that only the file defines."""
    return rnnfast.Sequential(
        rnnfast.Conv1d(3, 6, 3, padding="causal"),
        rnnfast.Residual(rnnfast.Sequential(rnnfast.LayerNorm(6), rnnfast.Linear(6, 6))),
        rnnfast.LSTM(6, 4, num_layers=2, bidirectional=True, dropout=0.1, proj_size=3),
        rnnfast.MergeDirections("sum"),
        rnnfast.Recurrent(rnnfast.Cell("fading", _fading), 3, 4, learn_state=True),
        rnnfast.Last(),
        rnnfast.SiLU(),
    )


def cells() -> rnnfast.ModuleDict:
    """Return a layer of every third cell of the zoo, so that the files stay small."""
    names = list(ZOO)[::3]
    return rnnfast.ModuleDict({name: rnnfast.Recurrent(name, 3, 3, seed=1) for name in names})


def outputs(module: rnnfast.Module, x: np.ndarray) -> dict[str, np.ndarray]:
    """Return what `layers` or `cells` make of x, by names."""
    if isinstance(module, rnnfast.ModuleDict):
        return {name: layer(x)[0] for name, layer in module.items()}
    return {"y": module(x)}


def language_model_run(folder: Path) -> CharLMTrainer:
    """Begin to train a language model, with checkpoints in a folder."""
    model = CharLM(Vocabulary(TEXT), CharLMConfig(hidden_size=6, num_layers=2, dropout=0.2))
    options = TrainingOptions(steps=STEPS, batch=4, seq_len=16, sample_every=0)
    trainer = CharLMTrainer(model, TEXT, options, output=folder / "language_model.safetensors")
    trainer.run()
    return trainer


def main() -> None:
    """Write the files."""
    folder = FOLDERS / rnnfast.__version__
    folder.mkdir()
    x = np.random.default_rng(1).normal(size=(3, 2, 3)).astype(np.float32)
    for name, module in {"layers": layers(), "cells": cells()}.items():
        module.eval().save(folder / f"{name}.safetensors")
        np.savez_compressed(folder / f"{name}.npz", x=x, **outputs(module, x))
    trained(STEPS).save(folder / "run.safetensors")
    language_model_run(folder)


if __name__ == "__main__":
    main()
