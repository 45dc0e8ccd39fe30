"""The flow of gradients against the reference's tape, finite differences and closed forms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import rnnfast
import tolerances
import zoo_cases
from rnnfast import init
from rnnfast.cells import ZOO
from rnnfast.inspection import GradientFlow
from rnnfast.inspection.single_steps import SingleSteps
from rnnfast.reference import Cell, Network

T, B, I, H = 4, 2, 3, 4
RELATIVE = 1e-10  # of float64 sums of a few terms: the error of a small norm is relative to others


def flow_of(cell: Cell) -> tuple[GradientFlow, zoo_cases.ZooData]:
    """Return the flow of `zoo_cases.make_data` through a layer, and the data."""
    data = zoo_cases.make_data(cell, T, B, I, H)
    layer: rnnfast.Recurrent = rnnfast.Recurrent(cell, data.x.shape[2], H, dtype="float64")
    named = zip(zoo_cases.KINDS, data.weights, strict=True)
    layer.load_state_dict({f"{kind}_l0": w for kind, w in named if hasattr(layer, f"{kind}_l0")})
    start, dstate = (s[0] if cell.states == 1 else s for s in (data.state, data.dstate))
    return rnnfast.gradient_flow(layer, data.x, data.dy, start, dstate=dstate, sequence=1), data


def weights_of(cell: Cell, data: zoo_cases.ZooData) -> list[Any]:
    *matrices, channel = data.weights
    return [*matrices, channel if cell.params else None]


def states_after(
    cell: Cell, weights: Any, x: NDArray, state: Sequence[NDArray], n: int
) -> tuple[NDArray, ...]:
    return Network(cell, x[:n], [weights], state).state if n else tuple(state)


def gradients_of_rows(
    cell: Cell, weights: Any, x: NDArray, state: Any, dy: NDArray, dstate: Any
) -> list[list[NDArray]]:
    """Return the gradients (B, H) of the states after n steps, for every n, by the tape.

    The steps after the nth start from its states, so that their initial states' gradients are
    those wanted, except for what h contributes as an output.
    """
    rows = []
    for n in range(len(x) + 1):
        middle = states_after(cell, weights, x, state, n)
        if n < len(x):
            gradients = Network(cell, x[n:], [weights], middle).backward(dy[n:], dstate).dstate
        else:
            gradients = tuple(dstate)
        of_states = [g[0].copy() for g in gradients]
        if n:
            of_states[0] += dy[n - 1]
        rows.append(of_states)
    return rows


def log_norms(rows: list[list[NDArray]]) -> list[NDArray]:
    """Return the logarithms of the norms, (T + 1, B) for each state."""
    with np.errstate(divide="ignore"):
        return [np.log(np.linalg.norm(np.array(one), axis=-1)) for one in zip(*rows, strict=True)]


@pytest.mark.parametrize("cell", ZOO)
def test_the_gradient_of_every_step_is_that_of_the_tape(cell: str) -> None:
    flow, data = flow_of(ZOO[cell])
    rows = gradients_of_rows(
        ZOO[cell], weights_of(ZOO[cell], data), data.x, data.state, data.dy, data.dstate
    )
    found = flow["l0"]
    for values, expected in zip(found.log_norms.values(), log_norms(rows), strict=True):
        np.testing.assert_allclose(values, expected, rtol=RELATIVE, atol=RELATIVE)
    together = [[np.concatenate(row, axis=-1)] for row in rows]
    np.testing.assert_allclose(
        found.log_total, log_norms(together)[0], rtol=RELATIVE, atol=RELATIVE
    )


@pytest.mark.parametrize("cell", ZOO)
def test_the_gradient_is_that_of_finite_differences(cell: str) -> None:
    flow, data = flow_of(ZOO[cell])
    weights, n = weights_of(ZOO[cell], data), T // 2
    middle = states_after(ZOO[cell], weights, data.x, data.state, n)
    widths = [s.shape[-1] for s in middle]
    total, step = sum(widths), tolerances.CENTRAL_DIFFERENCE_STEP
    for b in range(B):
        point = np.concatenate([s[0, b] for s in middle])
        points = point + step * np.concatenate([np.eye(total), -np.eye(total)])
        parts = np.split(points[None], np.cumsum(widths)[:-1], axis=-1)
        x = np.repeat(data.x[n:, b : b + 1], len(points), axis=1)
        network = Network(ZOO[cell], x, [weights], parts)
        losses = (network.y * data.dy[n:, b : b + 1]).sum(axis=(0, 2))
        for s, g in zip(network.state, data.dstate, strict=True):
            losses += (s[0] * g[0, b]).sum(axis=-1)
        gradient = (losses[:total] - losses[total:]) / (2 * step)
        gradient[: widths[0]] += data.dy[n - 1, b]
        norm = float(np.exp(flow["l0"].log_total[n, b]))
        assert abs(norm - np.linalg.norm(gradient)) < tolerances.CENTRAL_DIFFERENCE * max(1, norm)


@pytest.mark.parametrize("cell", ZOO)
def test_singular_values_are_those_of_the_tapes_jacobians(cell: str) -> None:
    flow, data = flow_of(ZOO[cell])
    weights, size = weights_of(ZOO[cell], data), sum(s.shape[-1] for s in data.state)
    jacobians = []
    for n in range(T):
        middle = states_after(ZOO[cell], weights, data.x, data.state, n)
        many = [np.repeat(s[:, 1:2], size, axis=1) for s in middle]
        x = np.repeat(data.x[n : n + 1, 1:2], size, axis=1)
        unit = np.split(np.eye(size)[None], len(middle), axis=-1)
        gradients = Network(ZOO[cell], x, [weights], many).backward(None, unit).dstate
        jacobians.append(np.concatenate(gradients, axis=-1)[0])
    found, product = flow["l0"], np.eye(size)
    gains = [np.linalg.norm(j, 2) for j in jacobians]
    np.testing.assert_allclose(found.step_gain, gains, rtol=RELATIVE, atol=RELATIVE)
    assert found.log_product_gain[0] == 0
    for k, jacobian in enumerate(reversed(jacobians), 1):
        product = product @ jacobian
        np.testing.assert_allclose(
            np.exp(found.log_product_gain[k]), np.linalg.norm(product, 2), RELATIVE, RELATIVE
        )


def weights_in(layer: rnnfast.Recurrent, k: int) -> list[Any]:
    """Return the weights of one layer and direction, as the reference takes them."""
    named, directions = layer.state_dict(), 2 if layer.bidirectional else 1
    suffix = f"_l{k // directions}" + "_reverse" * (k % directions)
    return [named.get(kind + suffix) for kind in (*zoo_cases.KINDS, "weight_hr")]


@pytest.mark.parametrize("cell", ["lstm", "gru", "layer_norm_gru"])
def test_layers_directions_and_lengths(cell: str) -> None:
    """The reference takes each sequence, level and direction on its own, the reverse one turned."""
    lengths, rng = [5, 0, 3], np.random.default_rng(1)
    layer: rnnfast.Recurrent = rnnfast.Recurrent(
        cell, I, H, 2, bidirectional=True, dtype="float64", seed=2
    )
    x, dy = rng.standard_normal((5, 3, I)), rng.standard_normal((5, 3, 2 * H))
    state, dstate = rng.standard_normal((2, ZOO[cell].states, 4, 3, H))
    x[3:, 2] = np.nan  # beyond the end, never read
    given = [s[0] if len(s) == 1 else tuple(s) for s in (state, dstate)]
    flow = rnnfast.gradient_flow(layer, x, dy, given[0], lengths=lengths, dstate=given[1])
    assert list(flow) == ["l0", "l0_reverse", "l1", "l1_reverse"]
    for b, length in enumerate(lengths):
        one = slice(b, b + 1)
        for k, rows in enumerate(
            rows_of_levels(
                layer, x[:length, one], dy[:length, one], state[..., one, :], dstate[..., one, :]
            )
        ):
            norms = flow[list(flow)[k]].log_norms.values()
            for values, expected in zip(norms, log_norms(rows), strict=True):
                np.testing.assert_allclose(
                    values[: length + 1, b], expected[:, 0], RELATIVE, RELATIVE
                )
                assert np.isneginf(values[length + 1 :, b]).all()


def rows_of_levels(
    layer: rnnfast.Recurrent, x: NDArray, dy: NDArray, state: NDArray, dstate: NDArray
) -> list[list[list[NDArray]]]:
    """Return `gradients_of_rows` of each layer and direction of a bidirectional layer."""
    cell = ZOO[layer.cell]

    def network(k: int, inputs: NDArray) -> Network:
        turned = inputs[:: -1 if k % 2 else 1]
        return Network(cell, turned, [weights_in(layer, k)], state[:, k : k + 1])

    inputs = [x]
    for k in range(0, 2 * layer.num_layers, 2):
        forward, backward = (network(k + d, inputs[-1]).y for d in range(2))
        inputs.append(np.concatenate([forward, backward[::-1]], axis=-1))
    rows: dict[int, list[list[NDArray]]] = {}
    for level in reversed(range(layer.num_layers)):
        below = np.zeros_like(inputs[level])
        for k in (2 * level, 2 * level + 1):
            turn = slice(None, None, -1 if k % 2 else 1)
            part = dy[turn, :, H * (k % 2) :][..., :H]
            ends, start = (s[:, k : k + 1] for s in (dstate, state))
            weights, turned = weights_in(layer, k), inputs[level][turn]
            rows[k] = gradients_of_rows(cell, weights, turned, start, part, ends)
            dx = network(k, inputs[level]).backward(part, ends).dx
            assert dx is not None
            below += dx[turn]
        dy = below
    return [rows[k] for k in sorted(rows)]


@pytest.mark.parametrize(
    "options",
    [
        {"proj_size": 3},
        {"zoneout": (0.25, 0.5)},
        {"learn_state": True},
        {"batch_first": True},
        {"bias": False, "dropout": 0.5, "num_layers": 2, "input_dropout": 0.5},
    ],
    ids=str,
)
def test_options_of_a_layer(options: dict[str, Any]) -> None:
    """The row before the first step is the gradient of the initial state, without noise."""
    rng, plain = np.random.default_rng(3), rnnfast.LSTM(I, H, dtype="float64", seed=4, **options)
    rows = plain.num_layers
    width = options.get("proj_size", H)
    x, dy = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, width))
    start = rng.standard_normal((rows, B, width)), rng.standard_normal((rows, B, H))
    if plain.learn_state:
        for k, name in enumerate(("initial_state_0", "initial_state_1")):
            getattr(plain, name)[:] = start[k][:, 0]
            start[k][:] = start[k][:, :1]
    shares = [np.full((T, B, H), 1 - z) for z in options.get("zoneout", (0, 0))]
    network = Network(
        ZOO["lstm"],
        x,
        [weights_in(plain, k) for k in range(rows)],
        start,
        zoneout_masks=[shares] if "zoneout" in options else None,
    )
    expected = network.backward(dy).dstate
    if plain.batch_first:
        x, dy = x.swapaxes(0, 1), dy.swapaxes(0, 1)
    flow = rnnfast.gradient_flow(plain, x, dy, None if plain.learn_state else start)
    for k, layer in enumerate(flow.values()):
        for values, of_state in zip(layer.norms.values(), expected, strict=True):
            np.testing.assert_allclose(
                values[0], np.linalg.norm(of_state[k], axis=-1), RELATIVE, RELATIVE
            )


def test_indices_float32_and_calls_that_are_pending() -> None:
    """float32 parameters are taken as they are; the layer's own gradients stay as they are."""
    layer = rnnfast.GRU(5, H, learn_state=True, seed=1)
    layer.initial_state_0[:] = 0.1
    exact = rnnfast.GRU(5, H, learn_state=True, dtype="float64")
    exact.load_state_dict({n: w.astype(np.float64) for n, w in layer.state_dict().items()})
    indices, dy = np.array([[0, 4], [2, 1], [3, 3]]), np.ones((3, 2, H), np.float32)
    layer(indices)
    flow = rnnfast.gradient_flow(layer, indices, dy)["l0"]
    assert not any(p.grad.any() for p in layer.parameters())
    layer.backward(dy)
    expected = rnnfast.gradient_flow(exact, np.eye(5)[indices], dy)["l0"]
    np.testing.assert_allclose(flow.log_total, expected.log_total, RELATIVE, RELATIVE)
    np.testing.assert_allclose(flow.step_gain, expected.step_gain, RELATIVE)


def scaled_rotation(s: float) -> rnnfast.RNN:
    """Return a tanh RNN whose recurrent matrix has the singular value s alone."""
    layer = rnnfast.RNN(1, H, bias=False, dtype="float64", seed=1)
    init.orthogonal_(layer.weight_hh_l0, s, seed=1)
    return layer


@pytest.mark.parametrize("s", [0.5, 1.0, 2.0])
def test_gradients_may_leave_the_range_of_float64(s: float) -> None:
    steps = 3000  # 2**3000 is beyond float64, 2**-3000 below it
    dy = np.zeros((steps, 1, H))
    dy[-1] = 1.0
    found = rnnfast.gradient_flow(scaled_rotation(s), np.zeros((steps, 1, 1)), dy)["l0"]
    back = np.arange(steps, -1, -1)
    of_a_step = 10 * np.finfo(np.float64).eps  # a product of H terms, and s of the matrix itself
    expected = 0.5 * np.log(H) + back * np.log(s)
    np.testing.assert_allclose(found.log_norms["h"][:, 0], expected, 0, steps * of_a_step)
    np.testing.assert_allclose(found.log_product_gain, back[::-1] * np.log(s), 0, steps * of_a_step)
    np.testing.assert_allclose(found.weight_gain, [s], rtol=of_a_step)
    np.testing.assert_allclose(found.step_gain, s, rtol=of_a_step)


def test_memory_is_the_number_of_steps_to_one_eth() -> None:
    dy = np.zeros((20, 2, H))
    dy[19, 0] = dy[9, 1] = 1.0
    found = rnnfast.gradient_flow(scaled_rotation(0.8), np.zeros((20, 2, 1)), dy, lengths=[20, 10])
    assert found["l0"].memory.tolist() == [5.0, 5.0]  # 0.8**4 > 1/e > 0.8**5
    kept = rnnfast.gradient_flow(scaled_rotation(1.0), np.zeros((20, 2, 1)), dy)["l0"]
    assert kept.memory[0] == np.inf
    assert np.isnan(kept.memory[1])  # no gradient at the end


def test_an_lstm_with_open_forget_gates_carries_c() -> None:
    """The gradient of c changes by f in each step, if no other path leads through the states."""
    layer, steps, bias = rnnfast.LSTM(I, H, dtype="float64", seed=1), 500, 7.0
    init.zeros_(layer.weight_hh_l0)
    init.zeros_(layer.weight_ih_l0)
    init.zeros_(layer.bias_ih_l0)
    init.zeros_(layer.bias_hh_l0)
    init.unit_forget_bias_(layer, bias)
    flow = rnnfast.gradient_flow(
        layer, np.ones((steps, 1, I)), None, dstate=(None, np.ones((1, 1, H))), sequence=None
    )["l0"]
    f = 1 / (1 + np.exp(-bias))
    np.testing.assert_allclose(flow.norms["c"][:, 0], H**0.5 * f ** np.arange(steps, -1, -1), 1e-12)
    assert np.isneginf(flow.log_norms["h"]).all()
    assert flow.step_gain.size == flow.log_product_gain.size == 0


def test_what_steps_keep_does_not_grow_with_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    forward, back = SingleSteps.forward, SingleSteps.back
    alive = [0]

    def counted_forward(*given: Any) -> Any:
        alive.append(alive[-1] + 1)
        return forward(*given)

    def counted_back(*given: Any, **named: Any) -> Any:
        alive.append(alive[-1] - 1)
        return back(*given, **named)

    monkeypatch.setattr(SingleSteps, "forward", counted_forward)
    monkeypatch.setattr(SingleSteps, "back", counted_back)
    rnnfast.gradient_flow(rnnfast.GRU(1, H, seed=1), np.zeros((2500, 1, 1)), None, sequence=None)
    assert len(alive) == 1 + 2 * 2500
    assert max(alive) == 50


GRU = rnnfast.GRU(3, 4, seed=1)
X = np.zeros((5, 2, 3))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (rnnfast.Linear(3, 4), X, None),
            TypeError,
            r"layer: expected a recurrent layer of rnnfast, .*, got rnnfast\..*\.Linear",
        ),
        ((GRU, X[0], None), ValueError, r"x: expected shape \(seq_len, batch, input_size = 3\)"),
        ((GRU, np.full((5, 2), 3), None), IndexError, r"x: expected indices in \[0, input_size\)"),
        (
            (GRU, X, np.zeros((5, 2, 3))),
            ValueError,
            r"dy: expected shape \(seq_len, batch, num_directions\*hidden_size\) = \(5, 2, 4\), "
            r"got \(5, 2, 3\)",
        ),
        ((GRU, np.ma.array(X), None), TypeError, "x: expected an array without a mask"),
        ((GRU, X, None, (X, X)), TypeError, "state: expected one array, the states of cell 'gru'"),
        ((GRU, X * np.nan, None), ValueError, "x: expected finite numbers, got nan"),
        ((GRU, X, X[..., [0, 0, 0, 0]] + np.inf), ValueError, "dy: expected finite .*, got inf"),
        ((GRU, X, None, X[:1, :, [0] * 4] - np.inf), ValueError, "state: expected .* got -inf"),
        ((GRU, X[:, :0], None), ValueError, "sequence: expected None for a batch without any, got"),
        ((GRU, X, None, X), ValueError, r"state: expected shape .* = \(1, 2, 4\), got \(5, 2, 3\)"),
    ],
)
def test_arguments_are_checked(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        rnnfast.gradient_flow(*arguments)


def test_a_layer_that_has_diverged_is_said_to_have_done_so() -> None:
    layer = rnnfast.LSTM(3, 4, 2, bidirectional=True)
    state = layer.state_dict()
    state["weight_hh_l1_reverse"][0, 0] = np.nan
    layer.load_state_dict(state)
    with pytest.raises(ValueError, match="layer: expected finite outputs, got nan of l1_reverse: "):
        rnnfast.gradient_flow(layer, X, None)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lengths": [6, 1]}, ValueError, r"lengths: expected values in \[0, seq_len\] = \[0, 5\]"),
        ({"dstate": X}, ValueError, r"dstate: expected shape .* = \(1, 2, 4\), got \(5, 2, 3\)"),
        ({"dstate": np.full((1, 2, 4), np.nan)}, ValueError, "dstate: expected finite numbers"),
        ({"sequence": 2}, ValueError, "sequence: expected at most 1, got 2"),
        ({"sequence": 0.5}, TypeError, "sequence: expected an integer, got float"),
    ],
)
def test_options_are_checked(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        rnnfast.gradient_flow(GRU, X, None, **options)
