"""What runs tell `logging` and TensorBoard."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli_cases import Capture, refused, rnnfast_, train, words
from rnnfast.training import (
    Callback,
    CharLMTrainer,
    CheckpointError,
    Record,
    TensorBoardLog,
    Trainer,
    TrainingError,
)
from trainer_cases import BATCHES, StopAt, trained
from training_cases import TEXT

pytestmark = pytest.mark.usefixtures("one_thread")


# ---- logging


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "rnnfast.training")
    return caplog


def test_a_run_tells_its_events(told: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    trainer = trained(
        4,
        validation=BATCHES[:1],
        output=path,
        options={"validate_every": 2, "keep_best": 1, "minutes": 5.0},
    )
    assert {record.name for record in told.records} == {"rnnfast.training"}
    assert {record.levelno for record in told.records} == {logging.INFO}
    lines = told.messages
    assert lines[0].startswith("started at step 0: Model, Adam(")
    assert lines[0].endswith(", limits: 4 steps, 5 minutes")
    assert lines[1].startswith("step 2: validation loss ")
    loss = trainer.loss_text(trainer.validation_loss)
    assert f"step 4: validation {loss}, training loss " in " ".join(lines)
    assert f"step 2: saved {tmp_path / 'run.step2.safetensors'}, among the 1 best" in lines
    assert f"step 4: saved {path}" in lines
    assert lines[-1].startswith("finished at step 4 after 0:0")
    told.clear()
    trainer.restore(path)
    trainer.run()
    assert told.messages[0].startswith("resumed at step 4: ")


def test_a_run_tells_why_it_ends_early(told: pytest.LogCaptureFixture) -> None:
    rest = {"validation": BATCHES[:1], "options": {"validate_every": 1, "patience": 2}}
    trained(9, loss=lambda m, batch: m.loss(batch) if m.training else 1.0, **rest)
    assert "step 3: no new best in 2 validations, the best is 1" in told.messages
    assert told.messages[-1].startswith("stopped at step 3 after ")


class Spoil(Callback):
    def on_step(self, trainer: Trainer) -> None:
        trainer.model.head.bias[...] = np.inf


def test_a_run_tells_what_made_it_fail(told: pytest.LogCaptureFixture) -> None:
    with pytest.raises(TrainingError):
        trained(3, callbacks=[Spoil()])
    last = told.records[-1]
    assert last.levelno == logging.ERROR
    assert last.message.startswith("the run failed: TrainingError: training diverged at step ")


def test_logging_is_silent_unless_asked_for() -> None:
    code = (
        "import numpy as np, rnnfast\n"
        "from rnnfast.training import RunOptions, Trainer\n"
        "layer = rnnfast.Linear(1, 1, seed=0)\n"
        "optimizer = rnnfast.SGD(layer)\n"
        "trainer = Trainer(layer, [np.ones(3)], lambda *_: np.nan, optimizer=optimizer)\n"
        "try:\n"
        "    trainer.run()\n"
        "except RuntimeError:\n"
        "    print('diverged')\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.stderr) == ("diverged\n", "")


def test_samples_are_drawn_only_for_callbacks_that_take_them() -> None:
    from rnnfast.training import CharLM
    from training_cases import SMALL, VOCABULARY, options

    class Taker(Callback):
        def on_sample(self, trainer: Trainer, text: str) -> None:
            taken.append((trainer.step, len(text)))

    taken: list[tuple[int, int]] = []
    for callback, expected in ((Callback(), 0), (Taker(), 2)):
        model = CharLM(VOCABULARY, SMALL, seed=1)
        drawn, sample = [], model.sample
        model.sample = lambda *a, s=sample, d=drawn, **k: d.append(1) or s(*a, **k)
        run = options(steps=4, sample_every=2, sample_length=5)
        CharLMTrainer(model, TEXT, run, callbacks=[callback]).run()
        assert len(drawn) == expected
    assert taken == [(2, 5), (4, 5)]


# ---- TensorBoard

TAGS = {name: name for name in Record._fields[1:] if name != "seconds"}
TAGS |= {"loss": "loss/training", "validation_loss": "loss/validation"}


@pytest.fixture
def accumulator() -> Any:
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    module = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="tensorboard is not installed",
    )

    def read(folder: Path | str) -> Any:
        events = module.EventAccumulator(str(folder), size_guidance={module.SCALARS: 0})
        return events.Reload()

    return read


def board_run(folder: Path, steps: int, **rest: Any) -> Trainer:
    return trained(
        steps,
        validation=BATCHES[:1],
        options={"log_every": 1, "validate_every": 2, "clip_norm": 0.5},
        callbacks=[TensorBoardLog(folder), *rest.pop("callbacks", [])],
        **rest,
    )


def assert_shows(events: Any, trainer: Trainer) -> None:
    history = trainer.history
    assert set(events.Tags()["scalars"]) == set(TAGS.values())
    for name, tag in TAGS.items():
        rows = np.flatnonzero(~np.isnan(history[name]))
        scalars = events.Scalars(tag)
        assert [s.step for s in scalars] == history["step"][rows].tolist(), tag
        expected = history[name][rows].astype(np.float32)  # as events hold them
        np.testing.assert_array_equal(np.float32([s.value for s in scalars]), expected)


def test_tensorboard_shows_the_history(tmp_path: Path, accumulator: Any) -> None:
    trainer = board_run(tmp_path / "new" / "events", 5)
    events = accumulator(tmp_path / "new" / "events")
    assert_shows(events, trainer)
    times = np.array([scalar.wall_time for scalar in events.Scalars("learning_rate")])
    seconds = trainer.history["seconds"]
    np.testing.assert_allclose(np.diff(times), np.diff(seconds), atol=1e-5)
    assert abs(times[-1] - time.time()) < 300


def test_tensorboard_shows_a_run_while_it_trains(tmp_path: Path, accumulator: Any) -> None:
    class Look(Callback):
        def on_step(self, trainer: Trainer) -> None:
            if trainer.step > 1:
                (*_, last) = accumulator(tmp_path).Scalars("loss/training")
                seen.append(last.step)

    seen: list[int] = []
    board_run(tmp_path, 4, callbacks=[Look()])
    assert seen == [1, 2, 3]


def test_tensorboard_shows_the_whole_of_a_resumed_run(tmp_path: Path, accumulator: Any) -> None:
    from trainer_cases import Model, RunOptions, adam

    path, folder = tmp_path / "run.safetensors", tmp_path / "events"
    board_run(folder, 9, output=path, callbacks=[StopAt(3)])
    # Events of steps that no checkpoint knows, as a killed process leaves them.
    stale = tmp_path / "stale"
    board_run(stale, 7)
    (left,) = stale.iterdir()
    left.rename(folder / "events.out.tfevents.0000000001.host")
    model = Model()
    options = RunOptions(steps=5, log_every=1, validate_every=2, clip_norm=0.5)
    resumed = Trainer(
        model,
        BATCHES,
        optimizer=adam(model),
        options=options,
        validation=BATCHES[:1],
        callbacks=[TensorBoardLog(folder)],
    )
    resumed.restore(path)
    resumed.run()
    assert resumed.history["step"].tolist() == [1, 2, 3, 4, 5]
    assert_shows(accumulator(folder), resumed)


def test_tensorboard_needs_a_folder_that_can_be_made(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="file/events: cannot be written: Not a directory"):
        TensorBoardLog(tmp_path / "file" / "events")


def test_a_full_disk_ends_the_run(tmp_path: Path) -> None:
    """A limit of the size of files stands for the disk; the process is another, as it is for all.

    tensorboardX's own `SummaryWriter` hangs here.
    """
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    code = (
        "import resource, signal, sys\n"
        "from rnnfast.training import CheckpointError, TensorBoardLog\n"
        "from trainer_cases import trained\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n"
        "    trained(99, options={'log_every': 1}, callbacks=[TensorBoardLog(sys.argv[1])])\n"
        "except CheckpointError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        check=True, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parent,
    )  # fmt: skip
    assert done.stdout == f"{tmp_path}: cannot be written: File too large\n"
    assert done.stderr == ""


def test_a_missing_writer_is_told(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(TEXT)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.delitem(sys.modules, "tensorboardX.event_file_writer", raising=False)
    message = refused(train(capsys, "text.txt", "--steps", 1, "--tensorboard", "events"))
    assert message.endswith("which is not installed: pip install tensorboardX")
    assert not Path("events").exists()


@pytest.mark.usefixtures("folder_with_a_text")
def test_the_command_writes_for_tensorboard(capsys: Capture, accumulator: Any) -> None:
    arguments = words("text.txt --steps 2 --log-every 1 --tensorboard events")
    assert train(capsys, *arguments)[0] == 0
    assert [s.step for s in accumulator("events").Scalars("loss/training")] == [1, 2]
    message = refused(train(capsys, *arguments, "-o", "other.safetensors"))
    assert message.startswith("events already contains events; use --overwrite to hide them")
    resumed = rnnfast_(capsys, "train", "--resume", *words("--steps 4 --tensorboard events"))
    assert resumed[0] == 0
    assert [s.step for s in accumulator("events").Scalars("items")] == [1, 2, 3, 4]
    assert not math.isnan(accumulator("events").Scalars("items")[-1].value)
