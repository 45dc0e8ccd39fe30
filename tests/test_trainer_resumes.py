"""Runs of the general trainer that resume bit for bit, end early, and keep their best models."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnnfast
from rnnfast.training import (
    Checkpoint,
    CheckpointError,
    EarlyStopping,
    RunOptions,
    Trainer,
    load_checkpoint,
)
from rnnfast.training import trainer as trainer_module
from rnnfast.training.checkpoint import RUN
from trainer_cases import BATCHES, Model, StopAt, Unsized, adam, assert_same, trained

pytestmark = pytest.mark.usefixtures("one_thread")


class Carried:
    """A loss that carries a recurrent state from batch to batch."""

    def __init__(self) -> None:
        self.state: tuple[np.ndarray, ...] | None = None
        self.calls = 0

    def __call__(self, model: Model, batch: tuple[np.ndarray, np.ndarray]) -> float:
        self.calls += 1
        x, target = batch
        call = model.recurrent.call(x, self.state)
        head = model.head.call(call.y[-1])
        difference = head.y - target
        d = np.zeros_like(call.y)
        d[-1] = head.backward(2 * difference / difference.size)
        call.backward(d, need_dx=False)
        self.state = call.state
        return float(np.mean(difference**2))

    def state_dict(self) -> dict[str, Any]:
        return {"state": self.state, "calls": self.calls}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state, self.calls = tuple(state["state"]), state["calls"]


def carried_run(steps: int, batches: Any, **rest: Any) -> Trainer:
    model = Model()
    optimizer = rnnfast.RMSprop(model, 1e-2, momentum=0.5, centered=True)
    schedule = rnnfast.CosineDecay(optimizer, 20, warmup=3)
    options = RunOptions(steps=steps, accumulate=2, clip_norm=0.5, log_every=2)
    return Trainer(
        model, batches, Carried(), optimizer=optimizer, schedule=schedule, options=options, **rest
    )


class Positioned:
    """Batches that keep their own position, in an order drawn anew for each pass."""

    def __len__(self) -> int:
        return 5

    def __init__(self) -> None:
        self.generator, self.left = np.random.default_rng(3), []

    def __iter__(self) -> Iterator[Any]:
        self.left = self.left or self.generator.permutation(5).tolist()
        while self.left:
            yield BATCHES[self.left.pop()]

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.generator.bit_generator.state, "left": self.left}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.bit_generator.state = state["generator"]
        self.left = state["left"]


@pytest.mark.parametrize("make", [lambda: BATCHES, Unsized, Positioned, lambda: iter(BATCHES * 9)])
@pytest.mark.parametrize("stop", [4, 5, 7])
def test_a_run_goes_on_bit_by_bit(tmp_path: Path, make: Any, stop: int) -> None:
    path = tmp_path / "run.safetensors"
    whole = carried_run(12, make())
    whole.run()
    carried_run(12, make(), output=path, callbacks=[StopAt(stop)]).run()
    resumed = carried_run(12, make())
    resumed.restore(path)
    assert resumed.step == stop
    resumed.run()
    assert_same(resumed.model, whole.model)
    assert resumed.loss.calls == whole.loss.calls
    assert resumed.epoch == whole.epoch
    assert resumed.training_loss == whole.training_loss
    assert resumed.history["loss"][-1] == whole.history["loss"][-1]
    assert resumed.history["step"].tolist()[-1] == 12


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata calls it
@pytest.mark.parametrize("stop", [2, 5, 6])
def test_a_stateful_loader_of_torch_goes_on(tmp_path: Path, stop: int) -> None:
    reason = "torchdata is not installed"
    loaders = pytest.importorskip("torchdata.stateful_dataloader", reason=reason)
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

    def run(steps: int, **rest: Any) -> Trainer:
        torch.manual_seed(3)
        loader = loaders.StatefulDataLoader(
            BATCHES, batch_size=1, shuffle=True, collate_fn=lambda batches: batches[0]
        )
        model = Model()
        optimizer = adam(model)
        return Trainer(model, loader, optimizer=optimizer, options=RunOptions(steps=steps), **rest)

    whole, path = run(12), tmp_path / "run.safetensors"
    whole.run()
    run(stop, output=path).run()
    resumed = run(12)
    resumed.restore(path)
    resumed.run()
    assert_same(resumed.model, whole.model)
    assert resumed.epoch == whole.epoch == 2.4


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the path to each value inside a JSON value."""
    if path:
        yield path
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


def test_damaged_runs_are_refused_or_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.safetensors"
    options = {"patience": 3, "keep_best": 1, "validate_every": 1}
    rest = {"validation": BATCHES[:1], "options": options, "output": path}
    trainer = trained(2, batches=Positioned(), **rest)
    good = load_checkpoint(path, RUN)
    refused, found = 0, list(places(good.training))
    for place in found:
        for odd in (None, "x", -1, 10**30, [], {"tensor": "training.history.loss"}):
            damaged = Checkpoint(good.model, copy.deepcopy(good.training), good.tensors)
            inner = damaged.training
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = odd
            monkeypatch.setattr(trainer_module, "load_checkpoint", lambda *_, d=damaged: d)
            try:
                trainer.restore(path)
            except CheckpointError as error:
                refused += str(error).startswith(f"{path}: contains no run that can be resumed: ")
    assert len(found) > 60
    assert refused > 3 * len(found)


def test_restoring_refuses_another_run(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    trained(2, output=path)
    for trainer, message in [
        (
            trained(1, options={"clip_norm": 0.5}),
            "clip_norm: expected 0.0, as when the run began, got 0.5",
        ),
        (carried_run(1, BATCHES), "accumulate: expected 1, as when the run began, got 2"),
        (trained(1, loss=lambda model, batch: model.loss(batch)), None),
        (trained(1, loss=Carried()), "parts: unexpected 'loss'|parts: missing 'loss'"),
    ]:
        if message is None:
            trainer.restore(path)
            assert trainer.step == 2
            continue
        with pytest.raises(
            CheckpointError, match=rf"contains no run that can be resumed: .*{message}"
        ):
            trainer.restore(path)
    with pytest.raises(CheckpointError, match="not a checkpoint of an rnnfast language model"):
        rnnfast.training.CharLM.load(path)
    short = Trainer(m := Model(), BATCHES[:1], optimizer=adam(m), options=RunOptions(steps=4))
    short.restore(path)
    with pytest.raises(ValueError, match="which has used 2 of this pass, got only 1"):
        short.run()


class Losses:
    """A validation loss that follows a list, while training goes on as usual."""

    def __init__(self, *losses: float) -> None:
        self.losses = list(losses)

    def __call__(self, model: Model, batch: Any) -> float:
        return model.loss(batch) if model.training else self.losses.pop(0)


def test_patience_ends_a_run_that_gets_no_better(tmp_path: Path) -> None:
    losses = Losses(5, 3, 4, 3, 1, 2, 2, 2, 2)
    options = {"patience": 3, "validate_every": 2}
    trainer = trained(99, loss=losses, validation=BATCHES[:1], options=options)
    assert (trainer.step, trainer.stopped) == (16, "stopped")
    own = EarlyStopping(2, min_delta=1.5)
    trainer = trained(
        99,
        loss=Losses(5, 4, 3, 2.9, 2.8),
        validation=BATCHES[:1],
        callbacks=[own],
        options={"validate_every": 1},
        output=tmp_path / "run.safetensors",
    )
    assert (trainer.step, own.best, own.waited) == (5, 3, 2)


def test_patience_goes_on_counting(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    options = {"patience": 3, "validate_every": 1}
    model = Model()
    first = Trainer(
        model,
        BATCHES,
        Losses(1, 2, 2),
        optimizer=adam(model),
        validation=BATCHES[:1],
        options=RunOptions(steps=3, **options),
        output=path,
    )
    first.run()
    assert first.stopped == "finished"
    model = Model()
    second = Trainer(
        model,
        BATCHES,
        Losses(3, 3, 3),
        optimizer=adam(model),
        validation=BATCHES[:1],
        options=RunOptions(steps=9, **options),
    )
    second.restore(path)
    second.run()
    assert (second.step, second.stopped) == (4, "stopped")


def test_the_best_checkpoints_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    options = {"keep_best": 2, "validate_every": 1}
    rest = {"validation": BATCHES[:1], "options": options}
    first = trained(4, loss=Losses(4, 2, 3, 2.5), output=path, **rest)
    names = ["run.step2.safetensors", "run.step4.safetensors"]
    assert [p.name for p in first.best_checkpoints] == names
    assert {p.name for p in tmp_path.iterdir()} == {"run.safetensors", *names}
    model = Model()
    second = Trainer(
        model,
        BATCHES,
        Losses(1, 9),
        optimizer=adam(model),
        validation=BATCHES[:1],
        options=RunOptions(steps=6, **options),
        output=path,
    )
    second.restore(path)
    second.run()
    names = ["run.step5.safetensors", "run.step2.safetensors"]
    assert [p.name for p in second.best_checkpoints] == names
    assert {p.name for p in tmp_path.iterdir()} == {"run.safetensors", *names}
    best = Trainer(model, BATCHES, optimizer=adam(model), validation=BATCHES[:1])
    best.restore(second.best_checkpoints[0])
    assert (best.step, best.validation_loss, best.history["step"][-1]) == (5, 1, 5)


def test_groups_of_parameters_go_on(tmp_path: Path) -> None:
    def run(steps: int) -> Trainer:
        model = Model()
        groups = [{"params": model.recurrent, "lr": 3e-3}, {"params": model.head}]
        optimizer = rnnfast.AdamW(groups, 1e-2)
        schedule = rnnfast.LinearWarmup(optimizer, 4)
        options = RunOptions(steps=steps)
        return Trainer(
            model,
            BATCHES,
            lambda m, batch: m.loss(batch),
            optimizer=optimizer,
            schedule=schedule,
            options=options,
            output=tmp_path / "run",
        )

    whole = run(9)
    whole.run()
    run(3).run()
    resumed = run(9)
    resumed.restore(tmp_path / "run")
    assert resumed.step == 3
    resumed.run()
    assert_same(resumed.model, whole.model)
