"""The general trainer: any model, any batches, both ways to compute gradients, and refusals."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnnfast
from rnnfast.training import Callback, PrintProgress, RunOptions, Trainer, TrainingError
from trainer_cases import BATCHES, Model, Unsized, adam, assert_same, trained

pytestmark = pytest.mark.usefixtures("one_thread")

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
    """A loss with the `loss.backward()` that the trainer calls on a tape's loss."""

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
    optimizer = rnnfast.SGD(model, 0.0)  # so that the loss never falls
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
        ({"schedule": 3}, TypeError, "schedule: expected a schedule from rnnfast.optim, got int"),
        ({"validation": iter(BATCHES)}, TypeError, "validation: expected .* more than once"),
        ({"options": RunOptions(patience=1)}, ValueError, "patience: expected data to validate"),
        (
            {"options": RunOptions(keep_best=1)},
            ValueError,
            "output: expected a path, beside which `keep_best`",
        ),
        (
            {"schedule": rnnfast.StepDecay(rnnfast.SGD(Model()), 3)},
            ValueError,
            "schedule: expected a schedule of `optimizer`, got one of another",
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
        ({"batches": []}, ValueError, "batches: expected at least one batch per pass, got none"),
        ({"loss": lambda *_: None}, TypeError, "loss: expected one number .*, got NoneType"),
        ({"loss": lambda *_: np.ones(3)}, TypeError, r"loss: expected one number .* shape \(3,\)"),
        ({"validation": [], "options": {"validate_every": 1}}, ValueError, "validation: expected"),
        (
            {"batches": [3], "loss": _constant},
            TypeError,
            "items: expected a function that returns the number of items of a batch, as this int",
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

    with pytest.raises(
        TypeError, match=r"training\.callbacks\.Odd\.0\.what: expected dicts, lists"
    ):
        trained(2, output=tmp_path / "run.safetensors", callbacks=[Odd()])
