"""Initial values: distributions, gates and refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rnnfast
from rnnfast import init
from rnnfast._engine import gates as _gates
from rnnfast.cells import ZOO, sigmoid, tanh


def parameter(*shape: int, name: str = "weight", dtype: str = "float64") -> rnnfast.Parameter:
    return rnnfast.Parameter(name, np.full(shape, 7, dtype), np.zeros(shape, dtype))


DRAWS: dict[str, Callable[..., Any]] = {
    "uniform": lambda p, **o: init.uniform_(p, -1, 3, **o),
    "normal": lambda p, **o: init.normal_(p, 1, 2, **o),
    "glorot": init.glorot_uniform_,
    "orthogonal": init.orthogonal_,
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_are_those_of_the_seed(name: str) -> None:
    draw = DRAWS[name]
    one, other, third = parameter(8, 6), parameter(8, 6, dtype="float32"), np.zeros((8, 6))
    assert draw(one, seed=3) is one
    assert draw(third, seed=3) is third
    np.testing.assert_array_equal(third, one.value)
    draw(other, seed=3)
    np.testing.assert_array_equal(other.value, one.value.astype("float32"))
    generator = np.random.default_rng(3)
    draw(third, seed=generator)
    np.testing.assert_array_equal(third, one.value)
    draw(third, seed=generator)  # continues the generator's sequence
    assert (third != one.value).all()
    draw(one)
    draw(third)
    assert (third != one.value).all()


def test_distributions() -> None:
    n = 100_000
    uniform = init.uniform_(np.zeros(n), -1, 3, seed=1)
    assert -1 <= uniform.min() < -0.99
    assert 2.99 < uniform.max() < 3
    # Means and deviations of n draws must be within 5 standard errors.
    assert abs(uniform.mean() - 1) < 5 * (4 / 12**0.5) / n**0.5
    normal = init.normal_(np.zeros(n), 1, 2, seed=1)
    assert abs(normal.mean() - 1) < 5 * 2 / n**0.5
    assert abs(normal.std() - 2) < 5 * 2 / (2 * n) ** 0.5
    glorot = init.glorot_uniform_(np.zeros((100, 50)), gain=2.0, seed=1)
    bound = 2 * (6 / 150) ** 0.5
    assert 0.99 * bound < np.abs(glorot).max() <= bound
    assert not init.zeros_(parameter(3)).value.any()


def test_gates_are_matrices_of_their_own() -> None:
    layer = rnnfast.LSTM(5, 8, dtype="float64", seed=1)
    weight = init.orthogonal_(layer.weight_hh_l0, gain=2.0, seed=1)
    for gate in np.split(weight.value, 4):
        np.testing.assert_allclose(gate @ gate.T, 4 * np.eye(8), atol=1e-13)
    assert abs(weight[:8] @ weight[8:16].T).max() > 0.1
    model = rnnfast.Module()
    model.rnn = layer
    named = next(p for p in model.parameters() if p.name == "rnn.weight_hh_l0")
    init.identity_(named)
    np.testing.assert_array_equal(weight.value, np.tile(np.eye(8), (4, 1)))
    inputs = init.orthogonal_(layer.weight_ih_l0, gates=4, seed=2)
    for gate in np.split(inputs.value, 4):  # columns, of which there are fewer
        np.testing.assert_allclose(gate.T @ gate, np.eye(5), atol=1e-14)
    whole = init.orthogonal_(layer.weight_ih_l0, seed=2).value
    np.testing.assert_allclose(whole.T @ whole, np.eye(5), atol=1e-14)
    glorot = init.glorot_uniform_(layer.weight_hh_l0, seed=1).value
    assert 0.9 * (6 / 16) ** 0.5 < np.abs(glorot).max() <= (6 / 16) ** 0.5
    np.testing.assert_array_equal(init.identity_(parameter(2, 3), 0.5).value, np.eye(2, 3) / 2)
    flat = init.orthogonal_(parameter(2, 3), seed=1).value
    np.testing.assert_allclose(flat @ flat.T, np.eye(2), atol=1e-14)


def test_orthogonal_matrices_are_drawn_evenly() -> None:
    """Each element of a Haar matrix has mean 0; without fixing signs, the diagonals would not."""
    draws = [init.orthogonal_(np.zeros((3, 3)), seed=seed) for seed in range(400)]
    assert np.abs(np.mean(draws, axis=0)).max() < 5 * (1 / 3) ** 0.5 / 400**0.5


# ---- forget gates

KNOWN = {
    "lstm": (1, 0, 1),
    "peephole_lstm": (1, 0, 1),
    "gru": (1, None, 1),
    "gru_reset_before": (1, None, 1),
    "mut3": (1, None, -1),
    "mgu": (0, None, -1),
    "janet": (0, None, 1),
    "lstm_cifg": (0, None, -1),
    "lstm_fgr": (1, 0, 1),
    "lstm_1997": None,
    "rnn_tanh": None,
    "slstm": None,
}


@pytest.mark.parametrize("cell", KNOWN)
def test_gates_that_are_found(cell: str) -> None:
    memory, expected = _gates.memory_of(cell), KNOWN[cell]
    if memory is None or expected is None:
        assert memory is expected
        return
    forget, write, sign = expected
    assert memory.forget.blocks[:2] == (("bias_ih", forget), ("bias_hh", forget))
    assert memory.forget.sign == sign
    assert (memory.write and memory.write.blocks[0]) == (
        None if write is None else ("bias_ih", write)
    )


@pytest.mark.parametrize("cell", [name for name in ZOO if _gates.memory_of(name)])
def test_an_open_forget_gate_keeps_a_state(cell: str) -> None:
    """For every cell with a forget gate, the engine passes on the difference of two states."""
    size = {"input_size": 4, "hidden_size": 4}
    layer = rnnfast.Recurrent(cell, **size, dtype="float64", seed=1)
    for p in layer.parameters():
        p *= 0.0  # only the biases of the gate remain
    states = np.random.default_rng(0).uniform(0.1, 0.9, (2, layer._states, 1, 1, 4))

    def differences(bias: float) -> Any:
        """Return the difference of the final states relative to that of the initial ones."""
        assert init.unit_forget_bias_(layer, bias) is layer
        finals = []
        for start in states:
            call = layer.call(np.zeros((1, 1, 4)), tuple(start) if len(start) > 1 else start[0])
            finals.append(np.reshape(call.state, start.shape))
        return (finals[1] - finals[0]) / (states[1] - states[0])

    kept = np.isclose(differences(60.0), 1, rtol=1e-9).all(axis=(1, 2, 3))
    dropped = np.isclose(differences(-60.0), 0, atol=1e-9).all(axis=(1, 2, 3))
    assert (kept & dropped).any()


def test_unit_forget_bias_of_all_layers_and_directions() -> None:
    layer = rnnfast.LSTM(3, 4, 2, bidirectional=True, seed=1)
    before = layer.state_dict()
    init.unit_forget_bias_(layer)
    for name, value in layer.state_dict().items():
        expected = before[name].copy()
        if name.startswith("bias"):
            expected[4:8] = 1 if name.startswith("bias_ih") else 0
        np.testing.assert_array_equal(value, expected, err_msg=name)


def test_chrono() -> None:
    layer = rnnfast.LSTM(3, 500, 2, dtype="float64", seed=1)
    before = layer.state_dict()
    assert init.chrono_(layer, 50, seed=2) is layer
    i, f, g, o = np.split(layer.bias_ih_l1.value, 4)
    np.testing.assert_array_equal(i, -f)
    assert not layer.bias_hh_l1.value[:1000].any()
    np.testing.assert_array_equal(np.concatenate([g, o]), before["bias_ih_l1"][1000:])
    drawn = np.exp(f)
    assert 1 <= drawn.min() < 2
    assert 48 < drawn.max() <= 49
    assert (layer.bias_ih_l0.value[:1000] != layer.bias_ih_l1.value[:1000]).all()
    gru = init.chrono_(rnnfast.GRU(3, 4, seed=1), 50, seed=2)
    first = np.log(np.random.default_rng(2).uniform(1, 49, 4)).astype("float32")
    np.testing.assert_array_equal(gru.bias_ih_l0.value[4:8], first)


def step(x: Any, recurrent: Any, state: Any, _channel: Any) -> Any:
    """Take a step in which the second gate forgets and the first one writes, as a user might."""
    h = recurrent(state[0])
    kept = state[1] * sigmoid(x[1] + h[1]) + sigmoid(x[0] - h[0]) * tanh(x[2] + h[2])
    return tanh(kept), kept


def test_a_cell_of_ones_own() -> None:
    cell = rnnfast.Cell("own_init", step, states=2, gates=3)
    layer = init.chrono_(rnnfast.Recurrent(cell, 2, 3, seed=1), 20, seed=1)
    i, f, _ = np.split(layer.bias_ih_l0.value, 3)
    np.testing.assert_array_equal(i, -f)
    assert (f >= 0).all()


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no array": (
        lambda: init.zeros_([1.0]),
        TypeError,
        "parameter: expected a Parameter or an arr",
    ),
    "integers": (
        lambda: init.zeros_(np.zeros(2, int)),
        TypeError,
        "expected an array of real numbers",
    ),
    "bounds": (lambda: init.uniform_(np.zeros(2), 1, 0), ValueError, "b: expected at least 1"),
    "infinite": (lambda: init.uniform_(np.zeros(2), 0, np.inf), ValueError, "b: expected"),
    "std": (lambda: init.normal_(np.zeros(2), 0, -1), ValueError, "std: expected at least 0"),
    "vector": (lambda: init.orthogonal_(np.zeros(2)), ValueError, "expected a non-empty matrix"),
    "empty": (
        lambda: init.glorot_uniform_(np.zeros((0, 2))),
        ValueError,
        "expected a non-empty matrix",
    ),
    "gates": (
        lambda: init.identity_(np.zeros((5, 2)), gates=2),
        ValueError,
        "gates: expected a divisor of the 5 rows, got 2",
    ),
    "seed": (lambda: init.normal_(np.zeros(2), seed=-1), ValueError, "seed: expected at least 0"),
    "no layer": (
        lambda: init.unit_forget_bias_(rnnfast.Linear(2, 2)),  # type: ignore[type-var]
        TypeError,
        "layer: expected Recurrent, got Linear",
    ),
    "no gate": (
        lambda: init.unit_forget_bias_(rnnfast.RNN(2, 2)),
        ValueError,
        "layer: expected a cell with a forget gate, got 'rnn_tanh'",
    ),
    "no bias": (
        lambda: init.chrono_(rnnfast.GRU(2, 2, bias=False), 9),
        ValueError,
        "layer: expected a layer with biases, got bias=False",
    ),
    "t_max": (
        lambda: init.chrono_(rnnfast.GRU(2, 2), 1.5),
        ValueError,
        "t_max: expected at least 2, got 1.5",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_arguments_are_refused(name: str) -> None:
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()


def test_read_only_parameters_are_refused() -> None:
    layer = rnnfast.LSTM(2, 3, seed=1, device="cpu").eval()
    layer(np.zeros((1, 1, 2), "float32"))
    calls: list[Callable[[], Any]] = [
        lambda: init.zeros_(layer.bias_ih_l0),
        lambda: init.orthogonal_(layer.weight_hh_l0),
        lambda: init.unit_forget_bias_(layer),
        lambda: init.chrono_(layer, 9),
    ]
    for call in calls:
        with pytest.raises(
            ValueError, match=r"switch to training mode first, with `layer\.train\(\)`"
        ):
            call()
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="parameter: expected an array to write into"):
        init.zeros_(frozen)
    init.unit_forget_bias_(layer.train())
