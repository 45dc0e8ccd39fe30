"""Runs that end by signals, failing callbacks or divergence never lose their good results."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rnnfast.training import (
    Callback,
    CharLM,
    CharLMConfig,
    CharLMTrainer,
    CheckpointError,
    PrintProgress,
    TrainingError,
    TrainingOptions,
)
from training_cases import BRIEF, SMALL, TEXT, VOCABULARY, assert_same_bits, options, weight

pytestmark = pytest.mark.usefixtures("one_thread")


class SendAt(Callback):
    """A callback that sends this process signals after a step."""

    def __init__(self, step: int, *numbers: signal.Signals) -> None:
        self.step, self.numbers = step, numbers

    def on_step(self, trainer: CharLMTrainer) -> None:
        if trainer.step == self.step:
            for number in self.numbers:
                os.kill(os.getpid(), number)


ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_the_run_with_a_checkpoint(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "model.safetensors"
    before = signal.getsignal(number)
    interrupt = SendAt(7, number)
    trainer = CharLMTrainer(
        CharLM(VOCABULARY, SMALL), TEXT, options(), output=path, callbacks=[interrupt]
    )
    trainer.run()
    assert (trainer.stopped, trainer.interrupted_by) == ("interrupted", number)
    assert CharLMTrainer.resume(path, TEXT).step == trainer.step == 7
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_that_is_ignored_stays_ignored(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        trainer = CharLMTrainer(
            CharLM(VOCABULARY, SMALL), TEXT, options(steps=9), callbacks=[SendAt(7, number)]
        )
        trainer.run()
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
    assert (trainer.stopped, trainer.interrupted_by, trainer.step) == ("finished", None, 9)


def test_a_second_interrupt_ends_the_run_at_once(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for first in ENDING:
        trainer = CharLMTrainer(
            CharLM(VOCABULARY, SMALL),
            TEXT,
            options(),
            output=path,
            callbacks=[SendAt(7, first, signal.SIGINT)],
        )
        with pytest.raises(KeyboardInterrupt):
            trainer.run()
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_that_hangs_up_twice_does_not_lose_the_run(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    hang_up = SendAt(7, signal.SIGHUP, signal.SIGHUP, signal.SIGTERM)
    CharLMTrainer(
        CharLM(VOCABULARY, SMALL), TEXT, options(), output=path, callbacks=[hang_up]
    ).run()
    assert CharLMTrainer.resume(path, TEXT).step == 7


def test_a_callback_that_fails_does_not_lose_the_run(tmp_path: Path) -> None:
    class Fail(Callback):
        def on_step(self, trainer: CharLMTrainer) -> None:
            if trainer.step == 7:
                raise OSError("nobody listens")

    path = tmp_path / "model.safetensors"
    run = options(steps=20)
    trainer = CharLMTrainer(
        CharLM(VOCABULARY, SMALL, seed=1), TEXT, run, output=path, callbacks=[Fail()]
    )
    with pytest.raises(OSError, match="nobody listens"):
        trainer.run()
    whole = CharLMTrainer(CharLM(VOCABULARY, SMALL, seed=1), TEXT, run).run()
    assert_same_bits(CharLMTrainer.resume(path, TEXT).run(), whole)


def test_a_run_may_take_place_outside_the_main_thread() -> None:
    trainer = CharLMTrainer(CharLM(VOCABULARY, SMALL), TEXT, options(steps=3))
    thread = threading.Thread(target=trainer.run)
    thread.start()
    thread.join(timeout=60)
    assert trainer.stopped == "finished"


def test_two_runs_cannot_write_to_one_file(tmp_path: Path) -> None:
    path, link = tmp_path / "model.safetensors", tmp_path / "link"
    link.symlink_to(path)

    class Rival(Callback):
        def on_step(self, trainer: CharLMTrainer) -> None:
            del trainer
            with pytest.raises(CheckpointError, match="another run is writing to it"):
                CharLMTrainer(CharLM(VOCABULARY, SMALL), TEXT, options(steps=1), output=link).run()

    CharLMTrainer(
        CharLM(VOCABULARY, SMALL), TEXT, options(steps=2), output=path, callbacks=[Rival()]
    ).run()
    assert sorted(tmp_path.iterdir()) == [link, path]
    CharLMTrainer(CharLM(VOCABULARY, SMALL), TEXT, options(steps=1), output=link).run()


def test_what_is_not_a_regular_file_is_refused_before_training(tmp_path: Path) -> None:
    fifo, link = tmp_path / "fifo", tmp_path / "link"
    os.mkfifo(fifo)
    link.symlink_to(fifo)
    model = CharLM(VOCABULARY, SMALL)
    for path in (fifo, link):
        with pytest.raises(CheckpointError, match="it is a FIFO, not a regular file"):
            CharLMTrainer(model, TEXT, BRIEF, output=path)
        with pytest.raises(CheckpointError, match="it is a FIFO, not a regular file"):
            model.save(path)
    assert fifo.is_fifo()


# ---- divergence


def sgd(learning_rate: float, **changes: object) -> TrainingOptions:
    """Return the options of a run that diverges if the rate is large."""
    return options(
        optimizer="sgd",
        learning_rate=learning_rate,
        clip_norm=0,
        schedule="constant",
        **changes,
    )


@pytest.mark.parametrize(
    ("cell", "run", "message"),
    [
        (
            "rnn_relu",
            sgd(1e30, steps=100),
            r"^training diverged at step \d+: the loss is (nan|inf)",
        ),
        (
            "rnn_relu",
            sgd(1e300, steps=1),
            r"^training diverged at step 1: .*weight_ih_l0 is not finite; lower",
        ),
        (
            "gru",
            sgd(1e300, steps=1, validation=0),
            "^training diverged at step 1: .* is not finite; lower",
        ),
        (
            "gru",
            sgd(1e5, steps=1),
            r"step 1: the loss is [\d,]+\.\d bits per character, but guessing costs only 6\.\d;",
        ),
        ("gru", sgd(1e5, steps=1, validation=0), "training diverged .* guessing costs only "),
    ],
)
def test_divergence_is_an_error_and_spares_the_checkpoint(
    tmp_path: Path, cell: str, run: TrainingOptions, message: str
) -> None:
    path = tmp_path / "model.safetensors"
    for output in (None, path):
        path.write_text("the last good one")
        model = CharLM(VOCABULARY, CharLMConfig(cell, 12), seed=0)
        with pytest.raises(TrainingError, match=message):
            CharLMTrainer(model, TEXT, replace(run, checkpoint_every=1), output=output).run()
        assert path.read_text() == "the last good one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("event", ["validate_every", "sample_every"])
def test_divergence_that_validation_or_a_sample_meets_is_told_as_such(event: str) -> None:
    model = CharLM(VOCABULARY, CharLMConfig("gru", 12), seed=0)
    run = sgd(1e300, steps=9, **{event: 1})
    with pytest.raises(TrainingError, match=r"^training diverged at step 1: "):
        CharLMTrainer(model, TEXT, run, callbacks=[PrintProgress()]).run()


def test_divergence_is_told_where_a_signal_ends_the_run(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    trainer = CharLMTrainer(
        CharLM(VOCABULARY, CharLMConfig("gru", 12), seed=0),
        TEXT,
        sgd(1e5),
        output=path,
        callbacks=[SendAt(1, signal.SIGTERM)],
    )
    with pytest.raises(TrainingError, match="training diverged"):
        trainer.run()
    assert list(tmp_path.iterdir()) == []


class Spoil(Callback):
    """A callback that makes the model's output useless at a step, and records later validations."""

    def __init__(self, at: int) -> None:
        self.at, self.saved, self.validated, self.steps = at, [], [], 0

    def on_step(self, trainer: CharLMTrainer) -> None:
        self.steps = trainer.step
        if trainer.step == self.at:
            weight(trainer.model, "head.weight")[...] *= 1e5

    def on_validation(self, trainer: CharLMTrainer) -> None:
        self.validated.append(trainer.step)

    def on_checkpoint(self, trainer: CharLMTrainer, path: Path) -> None:
        del path
        self.saved.append(trainer.step)


@pytest.mark.parametrize(
    ("event", "ends"),
    [
        ({"checkpoint_every": 2}, 4),
        ({"validate_every": 3}, 3),
        ({"validate_every": 7, "checkpoint_every": 5}, 5),
        ({}, 100),
    ],
)
def test_a_run_that_diverged_ends_where_it_is_first_found(
    tmp_path: Path, event: dict, ends: int
) -> None:
    spoil, path = Spoil(3), tmp_path / "m.safetensors"
    run = options(steps=300, learning_rate=1e-6, **event)
    trainer = CharLMTrainer(
        CharLM(VOCABULARY, SMALL, seed=0), TEXT, run, output=path, callbacks=[spoil]
    )
    with pytest.raises(TrainingError, match=rf"^training diverged at step {ends}: the loss is "):
        trainer.run()
    assert spoil.steps == ends
    assert spoil.validated == []  # no figure of a useless model is reported
    assert spoil.saved == ([2] if event.get("checkpoint_every") == 2 else [])
    assert path.exists() == bool(spoil.saved)


def test_an_optimizer_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"

    class Break(Callback):
        def on_step(self, trainer: CharLMTrainer) -> None:
            state = trainer.optimizer.state_dict()
            state["buffers"]["square.head.bias"][0] = np.inf
            trainer.optimizer.load_state_dict(state)

    model = CharLM(VOCABULARY, SMALL, seed=0)
    trainer = CharLMTrainer(model, TEXT, options(steps=2), output=path, callbacks=[Break()])
    with pytest.raises(TrainingError, match=r"square\.head\.bias is not finite"):
        trainer.run()
    with pytest.raises(
        CheckpointError, match=r"was not written, as .*square\.head\.bias is not finite"
    ):
        trainer.save(path)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = CharLM(VOCABULARY, SMALL, seed=0)
    model.save(path)
    before = path.read_bytes()
    weight(model, "head.weight")[0, 0] = np.nan
    with pytest.raises(CheckpointError, match=r"was not written, as head\.weight is not finite"):
        model.save(path)
    assert path.read_bytes() == before
