"""`Cell`: what it refuses, and networks of cells whose two weight matrices differ in row blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import tolerances
from rnnfast.reference import Cell, Network, round_to_bfloat16
from rnnfast.reference.cell import Inputs, Product, States, Values
from rnnfast.reference.tape import Var, relu, tanh

T, B, H = 3, 2, 4


def step(x: Inputs, recurrent: Product, state: Values, channel: Values) -> States:
    """Use three x parts, one of them on its own, one h part, the input itself and a parameter."""
    (h,), (p,) = state, channel
    (product,) = recurrent(h)
    return (tanh(x[0] + product) * x[1] + tanh(x.input + p * x[2]),)


def independent(x: Inputs, _recurrent: Product, state: Values, channel: Values) -> States:
    """Take a step without recurrent products: h' = relu(x + u h)."""
    (h,), (u,) = state, channel
    return (relu(x[0] + u * h),)


READER = Cell("reader", step, gates=3, recurrent_gates=1, params=1, reads_input=True)
INDEPENDENT = Cell("independent", independent, params=1, recurrent_gates=0)


def network(
    cell: Cell, inputs: int = H, bias: bool = True, **options: Any
) -> tuple[Network, list[NDArray]]:
    """Return a network of two layers and its variables: x, the state, then the weights."""
    rng = np.random.default_rng(1)
    rows, recurrent_rows = cell.gates * H, cell.recurrent_blocks * H

    def layer(inputs: int) -> list[NDArray | None]:
        shapes = [(rows, inputs), (recurrent_rows, H), (rows,), (recurrent_rows,), (cell.params, H)]
        arrays = [0.5 * rng.standard_normal(shape) for shape in shapes]
        return arrays if bias else [*arrays[:2], None, None, arrays[4]]

    weights = [layer(inputs), layer(H)]
    x, state = rng.standard_normal((T, B, inputs)), rng.standard_normal((2, B, H))
    given = [x, state, *(w for layer in weights for w in layer if w is not None)]
    return Network(cell, x, weights, [state], **options), given


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("cell", "inputs"), [(READER, H), (INDEPENDENT, 3)])
def test_gradients_where_matrices_have_different_rows(cell: Cell, inputs: int, bias: bool) -> None:
    whole, given = network(cell, inputs, bias)
    dy = np.random.default_rng(2).standard_normal(whole.y.shape)
    dx, dstate, dweights = whole.backward(dy)
    gradients = [dx, *dstate, *(g for layer in dweights for g in layer if g is not None)]
    assert [g.shape for g in gradients] == [v.shape for v in given]

    def objective() -> float:
        layers = iter(given[2:])
        weights = [
            tuple(next(layers) if bias or k not in (2, 3) else None for k in range(5))
            for _ in range(2)
        ]
        return float((Network(cell, given[0], weights, [given[1]]).y * dy).sum())

    size = tolerances.CENTRAL_DIFFERENCE_STEP
    for values, gradient in zip(given, gradients, strict=True):
        for i in np.ndindex(values.shape):
            here = values[i]
            values[i] = here + size
            above = objective()
            values[i] = here - size
            difference = (above - objective()) / (2 * size)
            values[i] = here
            assert abs(gradient[i] - difference) <= tolerances.CENTRAL_DIFFERENCE


def test_gradient_of_the_input_itself_is_rounded_as_that_of_a_gate() -> None:
    def copies(x: Inputs, _recurrent: Product, _state: Values, _channel: Values) -> States:
        return (x.input + 0.0 * x[0],)

    cell = Cell("copies", copies, recurrent_gates=0, reads_input=True)
    x = np.full((1, 1, 1), 1 / 3)
    weights = [(np.zeros((1, 1)), np.zeros((0, 1)), None, None, None)]
    rounded = Network(cell, x, weights, rounding=round_to_bfloat16)
    assert rounded.y == 1 / 3
    assert rounded.backward(x).dx == round_to_bfloat16(x)
    assert Network(cell, x, weights).backward(x).dx == 1 / 3


def test_torch_computes_the_same_step_by_step() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from rnnfast.torch import stepwise

    for cell, inputs in ((READER, H), (INDEPENDENT, 3)):
        whole, given = network(cell, inputs)
        x, state, *weights = (torch.tensor(v) for v in given)
        first, second = (*weights[:5], None), (*weights[5:], None)
        no_noise = stepwise._CellNoise()
        whole_spans = stepwise._Spans(None, None)
        y, last = stepwise._run(
            cell, x, first, (state[0],), (state[0],), whole_spans, False, no_noise, None
        )
        y, last = stepwise._run(
            cell, y[0], second, (state[1],), (state[1],), whole_spans, False, no_noise, None
        )
        np.testing.assert_allclose(y[0].numpy(), whole.y, rtol=0, atol=1e-14)
        np.testing.assert_allclose(last[0].numpy(), whole.state[0][1], rtol=0, atol=1e-14)


def test_what_a_cell_has_by_default() -> None:
    cell = Cell("c", independent)
    assert (cell.states, cell.gates, cell.params, cell.recurrent_blocks) == (1, 1, 0, 1)
    assert replace(cell, gates=3).recurrent_blocks == 3
    assert replace(cell, gates=3, recurrent_gates=0).recurrent_blocks == 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"name": ""}, ValueError, r"name: expected a non-empty string, got ''"),
        ({"step": None}, TypeError, r"step: expected a function .*, got None"),
        ({"states": 0}, ValueError, r"states: expected at least 1, got 0"),
        ({"gates": 0}, ValueError, r"gates: expected at least 1, got 0"),
        ({"gates": 2.0}, TypeError, r"gates: expected an integer, got 2.0"),
        ({"params": -1}, ValueError, r"params: expected at least 0, got -1"),
        ({"params": True}, TypeError, r"params: expected an integer, got True"),
        ({"recurrent_gates": -1}, ValueError, r"recurrent_gates: expected at least 0, got -1"),
        ({"recurrent_gates": "1"}, TypeError, r"recurrent_gates: expected an integer, got '1'"),
        ({"reads_input": 1}, TypeError, r"reads_input: expected True or False, got 1"),
    ],
)
def test_wrong_numbers_are_named(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        replace(READER, **change)


def returns(result: Callable[[Var], Any]) -> Cell:
    return Cell("wrong", lambda x, *_: result(x[0]))


def test_a_step_must_return_its_states() -> None:
    for wrong, what in ((lambda v: (v, v), "2 values"), (lambda v: [v], "a list")):
        with pytest.raises(
            ValueError, match=f"'wrong': expected a tuple of the 1 new .* got {what}"
        ):
            network(returns(wrong))


def test_a_step_must_not_read_what_its_cell_does_not_have() -> None:
    with pytest.raises(
        AttributeError, match=r"x\.input: expected Cell\(\.\.\., reads_input=True\)"
    ):
        network(replace(READER, reads_input=False))
    absent = Cell("absent", lambda x, recurrent, state, _: (x[0] + recurrent(state[0], 1)[0],))
    with pytest.raises(ValueError, match=r"recurrent: expected row blocks .* < 1, got 1"):
        network(absent)


def test_weights_must_fit_the_cell() -> None:
    with pytest.raises(ValueError, match=r"input_size = hidden_size = 4, as .* 'reader' .* got 3"):
        network(READER, inputs=3)
    x, none = np.zeros((T, B, 3)), (None, None, None)
    with pytest.raises(
        ValueError, match=r"weight_ih: expected 1 row blocks of 4 .* 4 rows in total, got 8"
    ):
        Network(INDEPENDENT, x, [(np.zeros((8, 3)), np.zeros((0, 4)), *none)])
    with pytest.raises(ValueError, match=r"weight_hh: expected 0 row blocks of 4 .* 0 rows in"):
        Network(INDEPENDENT, x, [(np.zeros((4, 3)), np.zeros((4, 4)), *none)])
