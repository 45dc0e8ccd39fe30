"""Groups, frozen and tied parameters, averages, initial values and model files on a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnnfast
from rnnfast._engine import backends


class Tagger(rnnfast.Module):
    def __init__(self, device: str | None = None) -> None:
        super().__init__(device)
        self.embedding = rnnfast.Embedding(6, 8, seed=1, device=device)
        self.lstm = rnnfast.LSTM(8, 8, seed=2, device=device)
        self.head = rnnfast.Linear(8, 6, seed=3, device=device)

    def train_once(self) -> None:
        y, _ = self.lstm(self.embedding(np.array([[0, 5], [3, 3], [1, 0]])))
        logits = self.head(y)
        _, dlogits = rnnfast.softmax_cross_entropy(logits, np.array([[1, 2], [3, 4], [5, 0]]))
        dx, _ = self.lstm.backward(self.head.backward(dlogits))
        assert dx is not None
        self.embedding.backward(dx)


def trained(device: str | None) -> Tagger:
    """Return a model after steps that use every feature of parameter groups."""
    model = Tagger(device)
    model.head.tie(model.embedding)
    rnnfast.init.unit_forget_bias_(model.lstm)
    rnnfast.init.orthogonal_(model.lstm.weight_hh_l0, seed=4)
    model.lstm.weight_ih_l0.requires_grad = False
    groups = [{"params": model.lstm}, {"params": [model.embedding, model.head], "lr": 1e-3}]
    optimizer = rnnfast.Adam(groups, lr=0.01)
    ema = rnnfast.EMA(model, decay=0.5)
    for _ in range(3):
        model.train_once()
        optimizer.step(clip_norm=1.0, zero_grad=True, error_if_nonfinite=True)
        ema.update()
    with ema.average():
        averages = model.state_dict()
    model.load_state_dict(averages)
    return model


def test_as_on_the_cpu(device: str, tmp_path: Path) -> None:
    model, expected = trained(device), trained("cpu")
    first = Tagger().state_dict()
    got = model.state_dict()
    np.testing.assert_array_equal(got["lstm.weight_ih_l0"], first["lstm.weight_ih_l0"])
    for name, value in expected.state_dict().items():
        # Three steps of at most 0.01 each, in directions that come from float32 gradients.
        np.testing.assert_allclose(got[name], value, rtol=0, atol=1e-5, err_msg=name)
    assert (got["lstm.weight_hh_l0"] != first["lstm.weight_hh_l0"]).any()
    model.save(tmp_path / "m")
    for place in (device, "cpu"):
        other = Tagger.load(tmp_path / "m", device=place)
        assert other.device == place
        assert other.head.weight is other.embedding.weight
        for name, value in other.state_dict().items():
            np.testing.assert_array_equal(value, got[name])


@pytest.mark.parametrize("frozen", ["weight", "bias"])
def test_gradients_of_what_is_frozen_stay_zero(device: str, frozen: str) -> None:
    model = Tagger(device)
    parameter: Any = getattr(model.head, frozen)
    parameter.requires_grad = False
    model.embedding.freeze()
    model.train_once()
    gradients = {p.name: backends.to_host(p.grad) for p in model.parameters()}
    still = {name for name, gradient in gradients.items() if not gradient.any()}
    assert still == {f"head.{frozen}", "embedding.weight"}


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_norm_that_is_not_finite_changes_nothing(device: str, broken: float) -> None:
    layer = rnnfast.Linear(3, 4, seed=1, device=device)
    before = layer.state_dict()
    layer.weight.grad[0, 0] = broken
    optimizer = rnnfast.SGD(layer, lr=0.1)
    for call in (
        lambda: optimizer.step(error_if_nonfinite=True),
        lambda: optimizer.step(clip_norm=1.0, zero_grad=True, error_if_nonfinite=True),
        lambda: rnnfast.clip_grad_norm_(layer, 1.0, error_if_nonfinite=True),
    ):
        with pytest.raises(RuntimeError, match="expected a finite norm"):
            call()
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    layer.weight.grad = np.full((4, 3), 2.0, "float32")
    assert float(optimizer.step(error_if_nonfinite=True)) == pytest.approx(48**0.5, rel=1e-6)
