"""Training of language models as a library: runs that resume bit for bit."""

from __future__ import annotations

import io
import math
import re
import time
from pathlib import Path

import numpy as np
import pytest

import rnnfast
from rnnfast._engine.known import COMPILED
from rnnfast.training import (
    OPTIMIZERS,
    SCHEDULES,
    Callback,
    CharLM,
    CharLMConfig,
    CharLMTrainer,
    Checkpoint,
    CheckpointError,
    PrintProgress,
    TextError,
    TrainingOptions,
    UnknownCharacterError,
    load_checkpoint,
)
from rnnfast.training.checkpoint import save_checkpoint
from training_cases import BRIEF, SMALL, TEXT, VOCABULARY, assert_same_bits, options

pytestmark = pytest.mark.usefixtures("one_thread")


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: CharLMTrainer) -> None:
        if trainer.step == self.step:
            trainer.stop()


@pytest.mark.parametrize("cell", COMPILED)
@pytest.mark.parametrize("embedding_size", [0, 7])
def test_resumed_training_has_the_same_bits(tmp_path: Path, cell: str, embedding_size: int) -> None:
    config = CharLMConfig(cell, 12, 2, embedding_size, dropout=0.2)
    path = tmp_path / "model.safetensors"
    n = 20

    def new(**rest: object) -> CharLMTrainer:
        return CharLMTrainer(CharLM(VOCABULARY, config, seed=1), TEXT, options(steps=2 * n), **rest)

    whole = new().run()
    new(output=path, callbacks=[StopAt(n)]).run()
    resumed = CharLMTrainer.resume(path, TEXT)
    assert (resumed.step, resumed.stopped) == (n, None)
    assert_same_bits(resumed.run(), whole)
    assert (resumed.step, resumed.stopped) == (2 * n, "finished")
    assert_same_bits(CharLM.load(path), whole)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_optimizer_and_schedule_resumes(
    tmp_path: Path, optimizer: str, schedule: str
) -> None:
    path = tmp_path / "model.safetensors"
    extra = {"momentum": 0.9} if optimizer in ("sgd", "rmsprop") else {}
    run = options(
        steps=30,
        optimizer=optimizer,
        optimizer_options=extra,
        schedule=schedule,
        decay=0.5,
        clip_value=0.1,
        batch=64,  # 18 chunks per epoch, so that the resumed decay is visible
    )

    def new(**rest: object) -> CharLMTrainer:
        return CharLMTrainer(CharLM(VOCABULARY, SMALL, seed=1), TEXT, run, **rest)

    whole = new().run()
    new(output=path, callbacks=[StopAt(20)]).run()
    assert_same_bits(CharLMTrainer.resume(path, TEXT).run(), whole)


def test_a_run_of_a_file_without_a_report_goes_on(tmp_path: Path) -> None:
    """Version 0.1.0 wrote such files: no history, no counts of chunks, no options added since."""
    path = tmp_path / "model.safetensors"
    run = options(steps=30, batch=64)
    whole = CharLMTrainer(CharLM(VOCABULARY, SMALL, seed=1), TEXT, run).run()
    CharLMTrainer(
        CharLM(VOCABULARY, SMALL, seed=1), TEXT, run, output=path, callbacks=[StopAt(20)]
    ).run()
    checkpoint = load_checkpoint(path)
    for name in ("report", "chunks", "items"):
        del checkpoint.training[name]
    for name in ("patience", "accumulate", "keep_best", "log_every"):
        del checkpoint.training["options"][name]
    kept = {n: t for n, t in checkpoint.tensors.items() if not n.startswith("training.report.")}
    save_checkpoint(path, Checkpoint(checkpoint.model, checkpoint.training, kept))
    assert_same_bits(CharLMTrainer.resume(path, TEXT).run(), whole)


def test_a_run_may_go_on_beyond_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    run = options(steps=15, schedule="constant")
    CharLMTrainer(CharLM(VOCABULARY, SMALL, seed=1), TEXT, run, output=path).run()
    resumed = CharLMTrainer.resume(path, TEXT, steps=30, output=tmp_path / "other.safetensors")
    whole = CharLMTrainer(
        CharLM(VOCABULARY, SMALL, seed=1), TEXT, options(steps=30, schedule="constant")
    )
    assert_same_bits(resumed.run(), whole.run())
    assert CharLMTrainer.resume(path, TEXT).step == 15
    assert CharLMTrainer.resume(tmp_path / "other.safetensors", TEXT).step == 30


def test_validation_samples_and_checkpoints_leave_training_alone(tmp_path: Path) -> None:
    def run(**changes: object) -> CharLM:
        model = CharLM(VOCABULARY, SMALL, seed=1)
        output = tmp_path / "model.safetensors"
        return CharLMTrainer(
            model, TEXT, options(steps=12, **changes), output=output, callbacks=[PrintProgress()]
        ).run()

    busy = run(validate_every=3, sample_every=2, sample_length=9, checkpoint_every=5)
    assert_same_bits(run(), busy)


def test_any_number_of_threads_trains_the_same_bits() -> None:
    models = []
    for n in (1, 2):
        rnnfast.set_num_threads(n)
        model = CharLM(VOCABULARY, CharLMConfig(hidden_size=96, num_layers=2, dropout=0.1), seed=1)
        models.append(CharLMTrainer(model, TEXT, options(steps=10, batch=24)).run())
    assert_same_bits(*models)


def test_callbacks_hear_of_every_event(tmp_path: Path) -> None:
    heard: list[tuple] = []

    class Listener(Callback):
        def on_start(self, trainer: CharLMTrainer) -> None:
            heard.append(("start", trainer.step))

        def on_validation(self, trainer: CharLMTrainer) -> None:
            heard.append(("validation", trainer.step))

        def on_sample(self, trainer: CharLMTrainer, text: str) -> None:
            heard.append(("sample", trainer.step, len(text)))

        def on_checkpoint(self, trainer: CharLMTrainer, path: Path) -> None:
            heard.append(("checkpoint", trainer.step, path))

        def on_end(self, trainer: CharLMTrainer) -> None:
            heard.append(("end", trainer.stopped))

    path = tmp_path / "model.safetensors"
    run = options(steps=5, validate_every=2, sample_every=3, sample_length=10, checkpoint_every=4)
    trainer = CharLMTrainer(
        CharLM(VOCABULARY, SMALL), TEXT, run, output=path, callbacks=[Listener()]
    )
    trainer.run()
    assert heard == [
        ("start", 0),
        ("validation", 2),
        ("sample", 3, 10),
        ("validation", 4),
        ("checkpoint", 4, path),
        ("validation", 5),
        ("sample", 5, 10),
        ("checkpoint", 5, path),
        ("end", "finished"),
    ]
    assert trainer.validation_bits == trainer.validate()
    assert 0 < trainer.training_bits < 10


def test_a_run_that_time_ends_after_a_checkpoint_tells_nothing_twice(tmp_path: Path) -> None:
    class Slow(PrintProgress):
        def on_checkpoint(self, trainer: CharLMTrainer, path: Path) -> None:
            super().on_checkpoint(trainer, path)
            time.sleep(0.7)

    path, lines = tmp_path / "model.safetensors", io.StringIO()
    run = options(minutes=0.01, validate_every=1, sample_every=1, checkpoint_every=1)
    trainer = CharLMTrainer(CharLM(VOCABULARY, SMALL), TEXT, run, output=path)
    trainer.callbacks.append(Slow(file=lines))
    trainer.run()
    assert (trainer.step, trainer.stopped) == (1, "finished")
    steps = re.findall(r"^step 1, |^--- sample|^step 1: saved", lines.getvalue(), re.MULTILINE)
    assert steps == ["step 1, ", "--- sample", "step 1: saved"]
    assert (
        CharLMTrainer.resume(path, TEXT).done == 1
    )  # the saved state says that the run is finished


def test_progress_can_be_told_before_the_first_step(capsys: pytest.CaptureFixture[str]) -> None:
    trainer = CharLMTrainer(CharLM(VOCABULARY, SMALL), TEXT, options(steps=3))
    trainer.callbacks.append(PrintProgress())
    bits = trainer.validate()
    expected = f"step 0, epoch 0.00, 0 chars/s, validation {bits:.3f} bits/char"
    assert capsys.readouterr().out == expected + "\n"


def test_limits_of_epochs_and_minutes() -> None:
    trainer = CharLMTrainer(
        CharLM(VOCABULARY, SMALL), TEXT, options(epochs=2, batch=64, validation=0)
    )
    trainer.run()
    assert (trainer.epoch, trainer.done, trainer.seconds_left) == (2.0, 1.0, 0.0)
    assert trainer.validation_bits is None
    trainer = CharLMTrainer(CharLM(VOCABULARY, SMALL), TEXT, options(minutes=0.01))
    trainer.run()
    assert 0.6 <= trainer.seconds < 30
    assert trainer.step > 0


def test_numbers_of_numpy_are_numbers_in_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    config = CharLMConfig(
        hidden_size=np.int64(12), num_layers=np.int32(2), dropout=np.float32(0.5), dtype="float64"
    )
    run = TrainingOptions(
        batch=np.int64(4), seq_len=np.int32(16), steps=np.uint8(2), learning_rate=np.float32(1e-3)
    )
    model = CharLM(VOCABULARY, config, seed=np.int64(1))
    CharLMTrainer(model, TEXT, run, output=path, source=[Path("a.txt")]).run()
    resumed = CharLMTrainer.resume(path, TEXT, steps=np.int64(3))
    assert (resumed.options.batch, resumed.model.config, resumed.source) == (4, config, ["a.txt"])
    with pytest.raises(
        TypeError, match="optimizer_options: expected values that JSON can represent"
    ):
        TrainingOptions(optimizer_options={"eps": np.float32(1e-8)})


def test_resuming_refuses(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    CharLMTrainer(CharLM(VOCABULARY, SMALL), TEXT, options(steps=1), output=path).run()
    with pytest.raises(TextError, match="was trained on a different text"):
        CharLMTrainer.resume(path, TEXT[1:])
    with pytest.raises(ValueError, match="batch: cannot be changed when a run is resumed"):
        CharLMTrainer.resume(path, TEXT, batch=5)
    CharLM.load(path).save(path)
    with pytest.raises(CheckpointError, match="contains only a model"):
        CharLMTrainer.resume(path, TEXT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seq_len": 0}, "seq_len: expected at least 1, got 0"),
        ({"batch": -1}, "batch: expected at least 1, got -1"),
        ({"steps": -1}, "steps: expected at least 0, got -1"),
        ({"minutes": -1}, "minutes: expected"),
        ({"learning_rate": math.nan}, "learning_rate: expected"),
        ({"learning_rate": math.inf}, "learning_rate: expected"),
        ({"decay": 1.5}, "decay: expected"),
        ({"validation": 1.0}, "validation: expected"),
        ({"optimizer": "adan"}, "optimizer: expected one of adam, .*, got 'adan'"),
        ({"schedule": "step"}, "schedule: expected one of constant, .*, got 'step'"),
        ({"sample_every": -5}, "sample_every: expected"),
        ({"steps": 2.0}, "steps: expected an integer, got float"),
        ({"optimizer_options": {"momentun": 0.9}}, "optimizer_options: .* 'momentun'"),
        ({"optimizer_options": {"betas": [0.9]}}, "optimizer_options: "),
        ({"optimizer_options": {"eps": -1}}, "optimizer_options: eps: expected at least 0"),
        ({"sample_length": 0.0}, "sample_length: expected an integer, got float"),
        ({"checkpoint_every": True}, "checkpoint_every: expected an integer, got bool"),
    ],
)
def test_options_refuse(changes: dict, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        TrainingOptions(**changes)


def test_trainers_refuse_texts(tmp_path: Path) -> None:
    model = CharLM(VOCABULARY, SMALL)
    with pytest.raises(UnknownCharacterError, match="'é'"):
        CharLMTrainer(model, TEXT + "é", BRIEF)
    with pytest.raises(TextError, match="expected at least batch"):
        CharLMTrainer(model, TEXT[:60], BRIEF)
    with pytest.raises(TextError, match=r"got 0\.05 of 30 characters, which is 1"):
        CharLMTrainer(model, TEXT[:30], options(batch=1))
    with pytest.raises(CheckpointError, match="is not a directory"):
        CharLMTrainer(model, TEXT, BRIEF, output=tmp_path / "gone" / "model.safetensors")
