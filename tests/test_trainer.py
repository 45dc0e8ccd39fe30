"""The general trainer: any model, any batches, both ways to gradients, runs that resume exactly."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnnfast
from rnnfast.training import (
    Callback,
    Checkpoint,
    CheckpointError,
    EarlyStopping,
    PrintProgress,
    RunOptions,
    Trainer,
    TrainingError,
    load_checkpoint,
)
from rnnfast.training import trainer as trainer_module
from rnnfast.training.checkpoint import RUN

pytestmark = pytest.mark.usefixtures("one_thread")

T, B, I, H = 6, 4, 3, 5
RNG = np.random.default_rng(0)
BATCHES = [
    (
        RNG.standard_normal((T, B, I)).astype(np.float32),
        RNG.standard_normal((B, 1)).astype(np.float32),
    )
    for _ in range(5)
]


class Model(rnnfast.Module):
    """A recurrent layer with dropout, and a number of its last step."""

    def __init__(self, seed: int = 1, dtype: str = "float32") -> None:
        super().__init__()
        self.recurrent = rnnfast.LSTM(I, H, 2, dropout=0.3, dtype=dtype, seed=seed)
        self.head = rnnfast.Linear(H, 1, dtype=dtype, seed=seed)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y, _ = self.recurrent(x)
        self.shape = y.shape
        return self.head(y[-1])

    def backward(self, dy: np.ndarray) -> None:
        dlast = self.head.backward(dy)
        d = np.zeros(self.shape, dlast.dtype)
        d[-1] = dlast
        self.recurrent.backward(d, need_dx=False)

    def loss(self, batch: tuple[np.ndarray, np.ndarray]) -> float:
        x, target = batch
        difference = self(x) - target
        if self.training:
            self.backward(2 * difference / difference.size)
        return float(np.mean(difference**2))


def adam(model: rnnfast.Module) -> rnnfast.Adam:
    return rnnfast.Adam(model, 1e-2)


def trained(steps: int, *, model: Model | None = None, **rest: Any) -> Trainer:
    model = Model() if model is None else model
    options = RunOptions(steps=steps, **rest.pop("options", {}))
    trainer = Trainer(
        model, rest.pop("batches", BATCHES), optimizer=adam(model), options=options, **rest
    )
    trainer.run()
    return trainer


def assert_same(one: rnnfast.Module, other: rnnfast.Module) -> None:
    for name, value in one.state_dict().items():
        assert value.tobytes() == other.state_dict()[name].tobytes(), name


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: Trainer) -> None:
        if trainer.step == self.step:
            trainer.stop()


# ---- steps


def test_steps_are_those_of_a_loop_by_hand() -> None:
    model = Model()
    optimizer, norms = adam(model), []
    losses = []
    for step in range(8):
        losses.append(model.loss(BATCHES[step % 5]))
        norms.append(rnnfast.clip_grad_norm_(model, 0.7))
        optimizer.step()
        optimizer.zero_grad()
    options = {"clip_norm": 0.7, "log_every": 4}
    trainer = trained(8, options=options)
    assert_same(trainer.model, model)
    history = trainer.history
    assert history["step"].tolist() == [4, 8]
    assert history["loss"].tolist() == [np.mean(losses[:4]), np.mean(losses[4:])]
    np.testing.assert_allclose(history["gradient_norm"][0], np.mean(norms[:4]), rtol=1e-12)
    assert history["clip_share"].tolist() == [np.mean(np.array(n) > 0.7) for n in
                                              (norms[:4], norms[4:])]  # fmt: skip
    assert history["epoch"].tolist() == [0.8, 1.6]
    assert history["learning_rate"].tolist() == [1e-2, 1e-2]
    assert (history["items_per_second"] > 0).all()
    assert np.isnan(history["validation_loss"]).all()


class TapeLoss:
    """What `loss.backward()` of a tape is to the trainer."""

    def __init__(self, model: Model, batch: tuple[np.ndarray, np.ndarray]) -> None:
        x, target = batch
        self.model, self.difference = model, model(x) - target
        self.value = np.mean(self.difference**2)

    def backward(self) -> None:
        self.model.backward(2 * self.difference / self.difference.size)


def test_a_loss_with_backward_gives_the_bits_of_explicit_gradients() -> None:
    explicit = trained(7)
    taped = trained(7, loss=TapeLoss)
    assert_same(explicit.model, taped.model)
    assert explicit.history["loss"].tobytes() == taped.history["loss"].tobytes()


def test_accumulated_batches_make_the_step_of_one_large_batch() -> None:
    model, large = Model(dtype="float64"), Model(dtype="float64")
    model.recurrent.dropout = large.recurrent.dropout = 0.0
    batches = [(x.astype(float), y.astype(float)) for x, y in BATCHES[:4]]
    whole = [
        (np.concatenate([x for x, _ in part], 1), np.concatenate([y for _, y in part]))
        for part in (batches[:2], batches[2:])
    ]
    trainer = trained(6, model=model, batches=batches, options={"accumulate": 2})
    expected = trained(6, model=large, batches=whole)
    assert trainer.epoch == expected.epoch == 3
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(value, large.state_dict()[name], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(trainer.history["loss"], expected.history["loss"], rtol=1e-12)


def test_a_schedule_steps_with_the_optimiser() -> None:
    model = Model()
    optimizer = adam(model)
    schedule = rnnfast.StepDecay(optimizer, 2, 0.5)
    options = RunOptions(steps=5, log_every=1)
    trainer = Trainer(model, BATCHES, optimizer=optimizer, schedule=schedule, options=options)
    trainer.run()
    assert trainer.history["learning_rate"].tolist() == [1e-2, 1e-2, 5e-3, 5e-3, 2.5e-3]


def test_a_plateau_is_told_of_validations() -> None:
    model = Model()
    optimizer = rnnfast.SGD(model, 0.0)  # so that no loss ever falls
    optimizer.lr = 1e-9
    plateau = rnnfast.ReduceOnPlateau(optimizer, 0.1, patience=1)
    trainer = Trainer(
        model,
        BATCHES,
        optimizer=optimizer,
        schedule=plateau,
        validation=BATCHES[:1],
        options=RunOptions(steps=4, validate_every=1),
    )
    trainer.run()
    assert plateau.best == pytest.approx(trainer.validation_loss, rel=1e-4)
    assert optimizer.lr == pytest.approx(1e-10)


# ---- data


def test_a_generator_has_one_pass_and_ends_the_run() -> None:
    trainer = Trainer(model := Model(), iter(BATCHES), optimizer=adam(model))
    trainer.run()
    assert (trainer.step, trainer.stopped, trainer.done, trainer.epoch) == (5, "finished", 1, 1)
    assert_same(trainer.model, trained(5).model)
    left_over = Trainer(
        other := Model(), iter(BATCHES), optimizer=adam(other), options=RunOptions(accumulate=2)
    )
    left_over.run()
    assert left_over.step == 3


class Unsized:
    """Batches of no known length, as those of a stream."""

    def __iter__(self) -> Iterator[Any]:
        return iter(BATCHES)


def test_epochs_are_passes_over_the_batches() -> None:
    options = RunOptions(epochs=2)
    for batches in (BATCHES, Unsized()):
        model = Model()
        trainer = Trainer(model, batches, optimizer=adam(model), options=options)
        trainer.run()
        assert (trainer.step, trainer.epoch, trainer.done) == (10, 2, 1)


def test_batches_of_torch_are_batches() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    data = torch.utils.data.TensorDataset(
        torch.arange(24.0).reshape(8, 3) / 24, torch.arange(8.0).reshape(8, 1)
    )
    loader = torch.utils.data.DataLoader(data, batch_size=4)

    class Regression(rnnfast.Linear):
        def loss(self, batch: Any) -> float:
            x, target = batch
            difference = self(x) - target.numpy()
            if self.training:
                self.backward(2 * difference / difference.size)
            return np.mean(difference**2)

    model = Regression(3, 1, seed=0)
    trainer = Trainer(
        model,
        loader,
        optimizer=rnnfast.Adam(model, 0.1),
        validation=loader,
        options=RunOptions(epochs=20),
    )
    before = trainer.validate()
    trainer.run()
    assert trainer.step == 40
    assert trainer.validation_loss < before / 2


def test_items_are_counted() -> None:
    trainer = trained(3, options={"log_every": 1})
    seconds = 1 / trainer.history["items_per_second"][-1]
    counted = trained(3, items=lambda batch: 10**6 * batch[0].shape[1], options={"log_every": 1})
    assert counted.history["items_per_second"][-1] * seconds > 1e3


def test_progress_is_told_in_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    trainer = trained(2, validation=BATCHES[:1], callbacks=[PrintProgress()])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("step 2, epoch 0.40, ")
    shown = f"training loss {trainer.training_loss:.4g}, validation loss "
    assert f" items/s, {shown}{trainer.validation_loss:.4g}, 0:00 left" in line


def test_validation_is_the_mean_over_items_in_evaluation_mode() -> None:
    x, y = BATCHES[0]
    uneven = [(x[:, :3], y[:3]), (x[:, 3:], y[3:])]
    trainer = trained(2, validation=uneven, items=lambda batch: len(batch[1]))
    model = trainer.model
    assert model.training
    model.eval()
    assert trainer.validation_loss == pytest.approx(model.loss((x, y)), rel=1e-6)
    assert trainer.history["validation_loss"][-1] == trainer.validation_loss


# ---- checkpoints


class Carried:
    """A loss that keeps a recurrent state from batch to batch."""

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
    """Batches that keep their own position, in an order that each pass draws anew."""

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
    """The way to each value inside a value of JSON."""
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
                refused += str(error).startswith(f"{path}: holds no run that can be resumed: ")
    assert len(found) > 60
    assert refused > 3 * len(found)


def test_restoring_refuses_another_run(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    trained(2, output=path)
    for trainer, message in [
        (trained(1, options={"clip_norm": 0.5}), "clip_norm: expected 0.0, as it began, got 0.5"),
        (carried_run(1, BATCHES), "accumulate: expected 1, as it began, got 2"),
        (trained(1, loss=lambda model, batch: model.loss(batch)), None),
        (trained(1, loss=Carried()), "parts: unexpected 'loss'|parts: missing 'loss'"),
    ]:
        if message is None:
            trainer.restore(path)
            assert trainer.step == 2
            continue
        with pytest.raises(
            CheckpointError, match=rf"holds no run that can be resumed: .*{message}"
        ):
            trainer.restore(path)
    with pytest.raises(CheckpointError, match="not a checkpoint of an rnnfast language model"):
        rnnfast.training.CharLM.load(path)
    short = Trainer(m := Model(), BATCHES[:1], optimizer=adam(m), options=RunOptions(steps=4))
    short.restore(path)
    with pytest.raises(ValueError, match="which had 2 of this pass, got 1"):
        short.run()


class Losses:
    """A loss of validation that follows a list; training goes on as it does."""

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


# ---- what is refused


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    with pytest.raises(TrainingError, match="training diverged at step 1: the loss is nan"):
        trained(3, loss=lambda *_: math.nan)


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    class Spoil(Callback):
        def on_step(self, trainer: Trainer) -> None:
            trainer.model.head.bias[...] = np.inf

    with pytest.raises(TrainingError, match=r"step 3: head\.bias is not finite"):
        trained(
            9,
            output=tmp_path / "run.safetensors",
            callbacks=[Spoil()],
            loss=_constant,
            options={"checkpoint_every": 3},
        )
    assert list(tmp_path.iterdir()) == []


def _constant(model: Model, batch: Any) -> float:
    del batch
    model.head.bias.grad[...] = 1.0
    return 1.0


def test_a_loss_without_gradients_is_told() -> None:
    with pytest.raises(TrainingError, match="loss: expected gradients in the parameters"):
        trained(3, loss=lambda *_: 1.0)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": 3}, TypeError, "model: expected Module, got int"),
        ({"batches": 3}, TypeError, "batches: expected an iterable, got int"),
        ({"optimizer": None}, TypeError, "optimizer: expected Optimizer, got NoneType"),
        ({"loss": 3}, TypeError, "loss: expected a function, got int"),
        ({"model": rnnfast.Linear(3, 1)}, TypeError, "as Linear has no method `loss`"),
        ({"options": {}}, TypeError, "options: expected RunOptions, got dict"),
        ({"schedule": 3}, TypeError, "schedule: expected a schedule of rnnfast, got int"),
        ({"validation": iter(BATCHES)}, TypeError, "validation: expected .* many times"),
        ({"options": RunOptions(patience=1)}, ValueError, "patience: expected data to validate"),
        ({"options": RunOptions(keep_best=1)}, ValueError, "keep_best: expected `output`"),
        (
            {"schedule": rnnfast.StepDecay(rnnfast.SGD(Model()), 3)},
            ValueError,
            "schedule: expected one of `optimizer`, got one of another",
        ),
    ],
)
def test_trainers_refuse(changes: dict[str, Any], error: type, message: str) -> None:
    model = Model()
    arguments = {"model": model, "batches": BATCHES, "optimizer": adam(model)} | changes
    with pytest.raises(error, match=message):
        Trainer(**arguments)


@pytest.mark.parametrize(
    ("rest", "error", "message"),
    [
        ({"batches": []}, ValueError, "batches: expected at least one batch a pass, got none"),
        ({"loss": lambda *_: None}, TypeError, "loss: expected one number .*, got NoneType"),
        ({"loss": lambda *_: np.ones(3)}, TypeError, r"loss: expected one number .* shape \(3,\)"),
        ({"validation": [], "options": {"validate_every": 1}}, ValueError, "validation: expected"),
        (
            {"batches": [3], "loss": _constant},
            TypeError,
            "items: expected a function that counts a batch, as this int does not begin",
        ),
    ],
)
def test_runs_refuse(rest: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        trained(2, **rest)


def test_what_cannot_be_saved_is_named(tmp_path: Path) -> None:
    class Odd(Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"what": object()}

    with pytest.raises(TypeError, match=r"training\.callbacks\.Odd\.0\.what: expected a state"):
        trained(2, output=tmp_path / "run.safetensors", callbacks=[Odd()])
