"""Files of every released version load, compute what they did, and training goes on from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import rnnfast
from rnnfast.training import CharLM, CharLMTrainer, RunOptions, Trainer
from saved.write import FOLDERS, STEPS, TEXT, outputs
from trainer_cases import BATCHES, Model, adam

VERSIONS = sorted(folder.name for folder in FOLDERS.iterdir() if (folder / "cells.npz").exists())


def test_this_version_has_files() -> None:
    assert rnnfast.__version__ in VERSIONS, f"run {FOLDERS / 'write.py'}"


def test_files_are_small() -> None:
    assert sum(f.stat().st_size for f in FOLDERS.rglob("*.*")) < 100_000 * len(VERSIONS)


@pytest.mark.parametrize("name", ["layers", "cells"])
@pytest.mark.parametrize("version", VERSIONS)
def test_modules(version: str, name: str) -> None:
    module = rnnfast.load(FOLDERS / version / f"{name}.safetensors")
    with np.load(FOLDERS / version / f"{name}.npz") as stored:
        expected = dict(stored)
    got = outputs(module, expected.pop("x"))
    assert got.keys() == expected.keys()
    for key, values in expected.items():
        # Another instruction set may round differently, in each of three steps of at most 30 terms.
        np.testing.assert_allclose(got[key], values, rtol=0, atol=100 * 2.0**-23, err_msg=key)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_run_goes_on(version: str) -> None:
    model = Model()
    options = RunOptions(steps=STEPS + 2)
    trainer = Trainer(model, BATCHES, optimizer=adam(model), options=options)
    trainer.restore(FOLDERS / version / "run.safetensors")
    assert trainer.step == STEPS
    trainer.run()
    assert trainer.step == STEPS + 2


@pytest.mark.parametrize("version", VERSIONS)
def test_a_language_model_goes_on(version: str, tmp_path: Path) -> None:
    file = FOLDERS / version / "language_model.safetensors"
    model = CharLM.load(file)
    assert len("".join(model.generate("7 sheep", length=20, seed=1))) == 20
    bits = model.bits_per_character(TEXT)
    trainer = CharLMTrainer.resume(
        file, TEXT, output=tmp_path / "more.safetensors", steps=STEPS + 2
    )
    assert trainer.step == STEPS
    trainer.run()
    assert trainer.model.bits_per_character(TEXT) < bits
