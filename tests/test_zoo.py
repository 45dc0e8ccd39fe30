"""The zoo's cells against PyTorch and central differences, and the page that documents them."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import tolerances
import zoo_cases
from rnnfast.cells import ZOO, recurrent_highway
from rnnfast.reference import CELLS, Cell
from rnnfast.reference.tape import tanh
from zoo_cases import KINDS, ZooData

ROOT = Path(__file__).parent.parent
HIGHWAYS = [recurrent_highway(d, coupled=c) for c in (True, False) for d in range(1, 11)]
EVERY = {**ZOO, **{cell.name: cell for cell in HIGHWAYS}}

every_cell = pytest.mark.parametrize("cell", EVERY.values(), ids=EVERY)


def worst(got: NDArray, expected: NDArray) -> float:
    """Return the largest error, relative to the largest value or to 1."""
    return float(np.abs(got - expected).max(initial=0) / max(1.0, np.abs(expected).max(initial=0)))


def torch_results(cell: Cell, data: ZooData) -> dict[str, NDArray]:
    """Return y, the final states and all gradients, computed by autograd through `zoo_in_torch`."""
    import torch
    from torch.nn.functional import linear

    import zoo_in_torch

    leaves = {k: torch.tensor(v, requires_grad=True) for k, v in data.inputs.items()}
    H = data.dy.shape[-1]

    def layers(matrix: str, bias: str) -> list[Any]:
        rows = leaves[matrix].split(H) if matrix in leaves else []
        shifts = leaves[bias].split(H) if bias in leaves else []
        return [partial(linear, weight=w, bias=b) for w, b in zip(rows, shifts, strict=True)]

    W, R = layers("dweight_ih", "dbias_ih"), layers("dweight_hh", "dbias_hh")
    p = leaves["dweight_channel"].unbind() if "dweight_channel" in leaves else ()
    state = tuple(leaves[f"dstate[{k}]"][0] for k in range(cell.states))
    outputs = []
    for x in leaves["dx"]:
        state = zoo_in_torch.STEPS[cell.name](x, state, W, R, p)
        outputs.append(state[0])
    y = torch.stack(outputs)
    pairs = zip((y, *state), (data.dy, *(d[0] for d in data.dstate)), strict=True)
    sum((value * torch.tensor(gradient)).sum() for value, gradient in pairs).backward()

    results = {"y": y} | {f"state[{k}]": s[None] for k, s in enumerate(state)}
    results |= {k: torch.zeros_like(v) if v.grad is None else v.grad for k, v in leaves.items()}
    return {name: tensor.detach().numpy() for name, tensor in results.items()}


@every_cell
@pytest.mark.parametrize(("T", "B", "I", "H"), [(5, 3, 4, 7), (1, 1, 1, 1), (3, 2, 17, 5)])
def test_cell_is_its_equations_in_torch(cell: Cell, T: int, B: int, I: int, H: int) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    data = zoo_cases.make_data(cell, T, B, I, H)
    expected, got = torch_results(cell, data), zoo_cases.reference_results(cell, data)
    assert got.keys() == expected.keys()
    for name, values in expected.items():
        assert worst(got[name], values) <= tolerances.TORCH_RELATIVE_FLOAT64, name


@every_cell
def test_cell_runs_on_tensors(cell: Cell) -> None:
    """Second derivatives run the cells step by step in PyTorch operations."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from rnnfast.torch import stepwise

    data = zoo_cases.make_data(cell, 4, 2, 3, 5)
    x = torch.tensor(data.x, requires_grad=True)
    weights = *(torch.tensor(w) for w in data.weights), None
    state = tuple(torch.tensor(s[0]) for s in data.state)
    no_noise = stepwise._CellNoise()
    over_time, final = stepwise._run(
        cell, x, weights, state, state, stepwise._Spans(None, None), False, no_noise, None
    )
    (over_time[0] * torch.tensor(data.dy)).sum().backward()
    network = zoo_cases.run_reference(cell, data)
    gradients = network.backward(data.dy)
    bound = tolerances.TORCH_RELATIVE_FLOAT64
    assert worst(over_time[0].detach().numpy(), network.y) <= bound
    assert worst(x.grad.numpy(), gradients.dx) <= bound
    for got, expected in zip(final, network.state, strict=True):
        assert worst(got.detach().numpy(), expected[0]) <= bound


@every_cell
def test_gradients_by_central_differences(cell: Cell) -> None:
    data = zoo_cases.make_data(cell, 2, 2, 3, 4)
    gradients, step = zoo_cases.reference_results(cell, data), tolerances.CENTRAL_DIFFERENCE_STEP

    def objective() -> float:
        network = zoo_cases.run_reference(cell, data)
        pairs = zip((network.y, *network.state), (data.dy, *data.dstate), strict=True)
        return sum(float((values * gradient).sum()) for values, gradient in pairs)

    rng = np.random.default_rng(0)
    for name, values in data.inputs.items():
        direction = rng.standard_normal(values.shape)
        here = values.copy()
        values += step * direction
        above = objective()
        values[...] = here - step * direction
        difference = (above - objective()) / (2 * step)
        values[...] = here
        slope = float((gradients[name] * direction).sum())
        size = max(1.0, float(np.abs(gradients[name] * direction).sum()))
        assert abs(slope - difference) <= tolerances.CENTRAL_DIFFERENCE * size, name


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn_tanh", "rnn_relu"])
def test_cell_is_the_layer_of_torch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    kind, _, function = name.partition("_")
    options = {"nonlinearity": function} if function else {}
    data = zoo_cases.make_data(ZOO[name], 5, 3, 4, 7)
    layer = getattr(torch.nn, kind.upper())(4, 7, dtype=torch.float64, **options)
    layer.load_state_dict(
        {f"{k}_l0": torch.tensor(w) for k, w in zip(KINDS, data.weights, strict=True) if w.size}
    )
    x = torch.tensor(data.x, requires_grad=True)
    state = tuple(torch.tensor(s) for s in data.state)
    y, _ = layer(x, state if len(state) > 1 else state[0])
    (y * torch.tensor(data.dy)).sum().backward()
    network = zoo_cases.run_reference(ZOO[name], data)
    gradients = network.backward(data.dy)
    assert worst(network.y, y.detach().numpy()) <= tolerances.TORCH_RELATIVE_FLOAT64
    assert worst(gradients.dx, x.grad.numpy()) <= tolerances.TORCH_RELATIVE_FLOAT64
    for kind, gradient in zip(KINDS, gradients.dweights[0][: len(KINDS)], strict=True):
        if gradient is not None:
            expected = getattr(layer, f"{kind}_l0").grad.numpy()
            assert worst(gradient, expected) <= tolerances.TORCH_RELATIVE_FLOAT64, kind


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("highway_layer", {"activation": tanh}),
        ("janet", {"beta": 0.5}),
        ("scrn", {"alpha": 0.5}),
        ("cornn", {"dt": 0.2}),
        ("cornn", {"gamma": 1.0}),
        ("cornn", {"epsilon": 1.0}),
        ("unicornn", {"dt": 0.5}),
        ("unicornn", {"alpha": 3.0}),
        ("lem", {"dt": 0.5}),
        ("cfc", {"elapsed": 2.0}),
        ("cfc_backbone", {"elapsed": 2.0}),
    ],
)
def test_options_change_the_step(name: str, options: dict[str, Any]) -> None:
    cell, data = ZOO[name], zoo_cases.make_data(ZOO[name], 2, 2, 3, 4)
    changed = replace(cell, step=partial(cell.step, **options))
    difference = zoo_cases.run_reference(changed, data).y - zoo_cases.run_reference(cell, data).y
    assert np.abs(difference).max() > 1e-3


def test_slstm_starts_from_zeros_and_survives_large_gates() -> None:
    """Its exponentials are of differences, so no gate overflows in either pass."""
    cell = ZOO["slstm"]
    data = zoo_cases.make_data(cell, 4, 2, 3, 4)
    zeros = tuple(np.zeros_like(s) for s in data.state)
    for scale in (1.0, 1e4):
        scaled = data._replace(x=scale * data.x, state=zeros)
        results = zoo_cases.reference_results(cell, scaled)
        assert all(np.isfinite(values).all() for values in results.values())
        assert np.abs(results["y"]).max() <= 1  # a weighted mean of tanh values


def test_slstm_outputs_do_not_depend_on_its_stabiliser() -> None:
    cell = ZOO["slstm"]
    data = zoo_cases.make_data(cell, 4, 2, 3, 4)
    h, c, n, m = data.state
    shifted = data._replace(state=(h, c * np.exp(-2), n * np.exp(-2), m + 2))
    got, expected = (zoo_cases.run_reference(cell, d).y for d in (shifted, data))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("depth", [0, 11])
def test_depth_of_a_highway_is_bounded(depth: int) -> None:
    with pytest.raises(ValueError, match=f"depth: expected 1 to 10 layers .* got {depth}"):
        recurrent_highway(depth)


def test_zoo_has_the_compiled_cells() -> None:
    assert {name: ZOO[name] for name in CELLS} == CELLS
    assert all(name == cell.name for name, cell in ZOO.items())


def test_page_of_the_zoo_lists_every_cell() -> None:
    page = (ROOT / "docs" / "cells.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (.*) \|$", page, re.M)
    told = {name: (*map(int, numbers), "I = H" in notes) for name, *numbers, notes in rows}
    assert told == {
        name: (c.states, c.gates, c.recurrent_blocks, c.params, c.reads_input)
        for name, c in ZOO.items()
    }
