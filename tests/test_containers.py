"""Layers made of layers: names, modes, lengths and refusals."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import cases
import rnnfast


def reals(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype("float32")


def forecaster(**options: Any) -> rnnfast.Sequential:
    return rnnfast.Sequential(
        rnnfast.Residual(rnnfast.LSTM(3, 3, seed=1, **options)),
        rnnfast.Sequential(rnnfast.GRU(3, 6, seed=2, **options), rnnfast.Dropout(0.5, seed=3)),
        rnnfast.Last(**options),
        rnnfast.Linear(6, 2, seed=4),
    )


def step(model: Any, x: np.ndarray, **lengths: Any) -> dict[str, np.ndarray]:
    """Return the results of a training step."""
    model.zero_grad()
    y = model(x, **lengths)
    dx = model.backward(reals(*y.shape, seed=9))
    return {"y": y, "dx": dx} | {p.name: p.grad.copy() for p in model.parameters()}


def test_names_are_those_of_torch_and_layers_are_there_by_number() -> None:
    model = forecaster()
    assert list(model.state_dict())[:2] == ["0.layer.weight_ih_l0", "0.layer.weight_hh_l0"]
    assert list(model.state_dict())[-3:] == ["1.0.bias_hh_l0", "3.weight", "3.bias"]
    assert len(model) == 4
    assert model[-1] is model[3] is list(model)[3]
    assert [type(layer).__name__ for layer in model[1:3]] == ["Sequential", "Last"]
    assert model[1:3][0] is model[1]
    assert model.append(rnnfast.Tanh()) is model
    assert list(model[3:].state_dict()) == ["0.weight", "0.bias"]
    with pytest.raises(IndexError):
        model[7]


def test_what_is_printed_shows_the_layers_inside() -> None:
    model = rnnfast.Sequential(
        rnnfast.Conv1d(3, 4, 5, padding="causal", dilation=2, bias=False),
        rnnfast.Residual(rnnfast.Sequential(rnnfast.LayerNorm(4, eps=0.1), rnnfast.GELU("tanh"))),
        rnnfast.MeanPool(batch_first=True),
        rnnfast.Dropout(0.25),
        rnnfast.SiLU(),
    )
    assert repr(model) == (
        "Sequential(\n"
        "  (0): Conv1d(3, 4, kernel_size=5, padding='causal', dilation=2, bias=False)\n"
        "  (1): Residual(\n"
        "    (layer): Sequential(\n"
        "      (0): LayerNorm(4, eps=0.1)\n"
        "      (1): GELU(approximate='tanh')\n"
        "    )\n"
        "  )\n"
        "  (2): MeanPool(batch_first=True)\n"
        "  (3): Dropout(p=0.25)\n"
        "  (4): SiLU()\n"
        ")"
    )
    assert repr(rnnfast.Sequential()) == "Sequential()"


def test_a_model_is_its_layers_one_after_the_other() -> None:
    x, lengths = reals(7, 4, 3), np.array([7, 0, 3, 5])
    model = forecaster()
    got = step(model, x, lengths=lengths)
    lstm, gru, dropout, last, linear = (
        model[0].layer,  # type: ignore[attr-defined]
        model[1][0],  # type: ignore[index]
        rnnfast.Dropout(0.5, seed=3),
        model[2],
        model[3],
    )
    model.zero_grad()
    h = lstm(x, None, lengths)[0]
    h = dropout(gru(x + h, None, lengths)[0])
    y = linear(last(h, lengths))
    dh = last.backward(linear.backward(reals(*y.shape, seed=9)))
    dh = gru.backward(dropout.backward(dh))[0]
    dx = dh + lstm.backward(dh)[0]
    expected = {"y": y, "dx": dx} | {p.name: p.grad for p in model.parameters()}
    cases.assert_identical(got, expected)


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_sequence_alone_gives_what_it_gives_in_a_batch(batch_first: bool) -> None:
    model = rnnfast.Sequential(
        rnnfast.Conv1d(3, 6, 3, stride=2, padding=1, batch_first=batch_first, seed=1),
        rnnfast.ReLU(),
        rnnfast.GRU(6, 5, bidirectional=True, batch_first=batch_first, seed=2),
        rnnfast.LayerNorm(10),
        rnnfast.Conv1d(10, 4, 4, padding="same", batch_first=batch_first, seed=3),
        rnnfast.MaxPool(batch_first=batch_first),
    )
    lengths = np.array([9, 12, 1, 4])
    x = reals(12, 4, 3)
    x[np.arange(12)[:, None] >= lengths] = np.nan  # nothing reads the padding
    turned = x.swapaxes(0, 1) if batch_first else x
    y = model(turned, lengths=lengths)
    dx = model.backward(reals(*y.shape, seed=1))
    dx = dx.swapaxes(0, 1) if batch_first else dx
    for b, length in enumerate(lengths):
        one = x[:length, b : b + 1]
        y_alone = model(one.swapaxes(0, 1) if batch_first else one)
        dx_alone = model.backward(reals(*y.shape, seed=1)[b : b + 1])
        dx_alone = dx_alone.swapaxes(0, 1) if batch_first else dx_alone
        np.testing.assert_array_equal(y_alone, y[b : b + 1])
        np.testing.assert_array_equal(dx_alone[:, 0], dx[:length, b])
        assert not dx[length:, b].any()


def test_gradients_without_dx_are_the_same() -> None:
    x = reals(5, 2, 3)
    expected = step(forecaster(), x)
    model = forecaster()
    y = model(x)
    assert model.backward(reals(*y.shape, seed=9), need_dx=False) is None
    for p in model.parameters():
        np.testing.assert_array_equal(p.grad, expected[p.name])


def test_indices_go_into_a_table_and_into_recurrent_layers() -> None:
    x = np.random.default_rng(0).integers(0, 4, (5, 2))
    for first in (rnnfast.Embedding(4, 3, seed=1), rnnfast.GRU(4, 3, seed=1)):
        model = rnnfast.Sequential(first, rnnfast.Linear(3, 2, seed=2))
        y = model(x, **({} if isinstance(first, rnnfast.Embedding) else {"lengths": [5, 3]}))
        assert y.shape == (5, 2, 2)
        assert model.backward(y) is None
        assert all(p.grad.any() for p in model.parameters())


def test_evaluation_and_the_state_of_generators() -> None:
    model, x = forecaster(), reals(5, 2, 3)
    state = model.generator_state()
    assert "1.1" in state
    first, second = model.call(x).y, model.call(x).y
    assert (first != second).any()
    model.set_generator_state(state)
    np.testing.assert_array_equal(model.call(x).y, first)
    model.eval()
    assert not any(layer.training for layer in model)
    np.testing.assert_array_equal(model(x), model(x))
    assert model[:2].training is False
    with pytest.raises(RuntimeError, match=r"Sequential.backward: expected a call of the layer in"):
        model.backward(first)


@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_and_checkpoints_give_the_same_bits(make_copy: Any) -> None:
    x, model = reals(5, 2, 3), forecaster()
    twin, other = make_copy(model), forecaster()
    for p in other.parameters():
        p[...] = 0
    other.load_state_dict(model.state_dict())
    expected = step(model, x)
    cases.assert_identical(step(twin, x), expected)
    cases.assert_identical(step(other, x), expected)


class Doubled(rnnfast.Module):
    """A user-defined layer."""

    def call(self, x: np.ndarray) -> Any:
        class Call:
            y = 2 * x

            def backward(self, dy: np.ndarray, *, need_dx: bool = True) -> np.ndarray:
                assert need_dx
                return 2 * dy

        return Call()


def test_layers_of_ones_own_take_part() -> None:
    x = reals(4, 2, 3)
    model = rnnfast.Sequential(Doubled(), rnnfast.Last())
    y = model(x, lengths=[4, 1])
    np.testing.assert_array_equal(y, [2 * x[3, 0], 2 * x[0, 1]])
    dx = model.backward(y)
    np.testing.assert_array_equal(dx[3, 0], 2 * y[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: rnnfast.Sequential(rnnfast.Tanh(), np.tanh),  # type: ignore[arg-type]
            r"^layers\[1\]: expected a layer, .* got ufunc$",
        ),
        (
            lambda: rnnfast.Residual(rnnfast.Module()),
            "^layer: expected .*got Module without `call`",
        ),
        (lambda: rnnfast.Sequential([rnnfast.Tanh()]), r"^layers\[0\]: .* got list$"),  # type: ignore[list-item]
        (lambda: rnnfast.Sequential().append(None), "^layer: .* got NoneType$"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_layer_is_refused(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


def test_lengths_that_nothing_takes_are_refused() -> None:
    x = reals(4, 2, 3)
    model = rnnfast.Sequential(rnnfast.Sequential(rnnfast.Tanh()), rnnfast.Linear(3, 3))
    with pytest.raises(ValueError, match="lengths: expected None, as no layer of the model"):
        model(x, lengths=[4, 4])
    with pytest.raises(ValueError, match="lengths: expected None, as the layer does not"):
        rnnfast.Residual(model)(x, lengths=[4, 4])
    with pytest.raises(ValueError, match=r"lengths: expected values in \[0, seq_len\] = \[0, 4\]"):
        model.append(rnnfast.Last())(x, lengths=[5, 4])
    with pytest.raises(ValueError, match=r"layer\(x\): expected shape of x = \(4, 2, 3\), got"):
        rnnfast.Residual(rnnfast.Linear(3, 4))(x)


def test_a_model_cannot_hold_itself() -> None:
    model = rnnfast.Sequential(rnnfast.Tanh())
    with pytest.raises(ValueError, match="expected a module that does not contain the"):
        model.append(rnnfast.Residual(model))
