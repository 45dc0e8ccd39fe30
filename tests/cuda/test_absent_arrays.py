"""Absent arrays: optional ones count as zeros, and missing required ones are refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rnnfast import functional
from rnnfast._engine.backends import get as engine
from rnnfast.cuda._engine import Engine
from rnnfast.reference import CELLS, Network

T, B, I, H = 3, 2, 4, 5


def weights_of(cell: str, seed: int) -> list[NDArray[np.float32] | None]:
    """Return weight_ih, weight_hh, no biases, and weight_channel."""
    rng, c = np.random.default_rng(seed), CELLS[cell]
    shapes = [(c.gates * H, I), (c.gates * H, H), None, None, (c.params, H) if c.params else None]
    return [None if s is None else 0.4 * rng.standard_normal(s).astype("f4") for s in shapes]


@pytest.mark.parametrize("kernel", ["grid", "gemm"])
@pytest.mark.parametrize("given", ["dy", "dstate", "nothing"])
def test_what_is_left_out_counts_as_zeros(device: str, given: str, kernel: str) -> None:
    backend = engine(device)
    assert isinstance(backend, Engine)
    weights, rng = weights_of("lstm", 1), np.random.default_rng(2)
    x = rng.standard_normal((T, B, I)).astype("f4")
    dy, d = rng.standard_normal((T, B, H)).astype("f4"), rng.standard_normal((1, B, H)).astype("f4")
    zeros = [np.zeros((1, B, H))] * 2
    reference = Network(CELLS["lstm"], x, [tuple(weights)], zeros)
    expected = reference.backward(
        dy if given == "dy" else 0 * dy, [d, d] if given == "dstate" else zeros
    )
    backend.kernel = kernel
    try:
        y, _, reserve = functional.forward(
            "lstm",
            backend.asarray(x),
            [functional.Weights(*(None if w is None else backend.asarray(w) for w in weights))],
            training=True,
        )
        assert reserve is not None
        dstate = (backend.asarray(d), backend.asarray(d)) if given == "dstate" else None
        gradient = backend.asarray(dy) if given == "dy" else None
        dx, _, dweights = functional.backward(reserve, gradient, dstate)
    finally:
        backend.kernel = None
    assert dweights is not None
    np.testing.assert_allclose(backend.to_host(y), reference.y, atol=1e-5)
    np.testing.assert_allclose(backend.to_host(dx), expected.dx, atol=1e-5)
    for got, want in zip(dweights[0], expected.dweights[0], strict=True):
        assert (got is None) == (want is None)
        if got is not None:
            np.testing.assert_allclose(backend.to_host(got), want, atol=1e-5)


def call(backend: Any, cell: str, **changes: Any) -> Any:
    """Call the extension with arrays of zeros and some changed arguments."""
    number = backend.extension.find_cell(cell)
    array = backend.pointer(backend.zeros(4096))
    arguments = {
        "cell": number, "steps": T, "batch": B, "input_size": I, "hidden_size": H, "layers": 1,
        "directions": 1, "training": True, "products": "full", "kernel": None, "dropout": 0.0,
        "seed": 0, "x": array, "indices": 0, "lengths": 0, "weights": [[array] * 5],
        "initial": [0] * (CELLS[cell].states if cell in CELLS else 1),
    }  # fmt: skip
    return backend.extension.network_call(**(arguments | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": 0}, "x, indices: expected the address of exactly one of them"),
        ({"indices": 8}, "x, indices: expected the address of exactly one of them"),
        ({"weights": [[0, 8, 0, 0, 8]]}, "weights: expected the address of weight_ih, got null"),
        ({"weights": [[8, 0, 0, 0, 8]]}, "weights: expected the address of weight_hh, got null"),
        ({"weights": [[8, 8, 0, 0, 0]]}, "peephole_lstm has parameters; expected the address of"),
        ({"weights": []}, "weights: expected one entry per layer and direction"),
        ({"initial": [0]}, "initial: expected one array per state"),
    ],
)
def test_calls_name_what_is_not_there(device: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        call(engine(device), "peephole_lstm", **changes)


def test_numbers_of_cells_are_checked(device: str) -> None:
    with pytest.raises(RuntimeError, match=r"cell: expected a number in \[0, \d+\), got -1"):
        call(engine(device), "no cell")


@pytest.mark.parametrize("name", ["y", "final", "reserve", "workspace"])
def test_forward_names_what_it_cannot_write(device: str, name: str) -> None:
    backend = engine(device)
    arguments = {"y": 8, "final": [8, 8], "reserve": 8, "workspace": 8, "stream": 0}
    absent = [8, 0] if name == "final" else 0
    with pytest.raises(RuntimeError, match=f"^{name}: expected the address of an array, got null"):
        call(backend, "lstm").forward(**(arguments | {name: absent}))


@pytest.mark.parametrize("name", ["dinitial", "reserve", "workspace", "dweights"])
def test_backward_names_what_it_cannot_write(device: str, name: str) -> None:
    backend = engine(device)
    arguments = {
        "dy": 0, "dfinal": [0, 0], "dx": 0, "dinitial": [8, 8], "dweights": [[8] * 5],
        "reserve": 8, "workspace": 8, "stream": 0,
    }  # fmt: skip
    absent = {"dinitial": [8, 0], "dweights": [[0] * 5]}.get(name, 0)
    with pytest.raises(RuntimeError, match=f"^{name}: expected the address of .*, got null"):
        call(backend, "lstm").backward(**(arguments | {name: absent}))


def test_gradients_need_a_call_that_trained(device: str) -> None:
    arguments = {
        "dy": 0, "dfinal": [0, 0], "dx": 0, "dinitial": [8, 8], "dweights": [[8] * 5],
        "reserve": 8, "workspace": 8, "stream": 0,
    }  # fmt: skip
    with pytest.raises(RuntimeError, match="backward: expected a training call"):
        call(engine(device), "lstm", training=False).backward(**arguments)


def test_a_kernel_that_is_not_there_is_refused(device: str) -> None:
    backend = engine(device)
    array = backend.pointer(backend.zeros(1 << 16))
    asked = call(backend, "nas", kernel="gemm", training=False)
    if asked.missing(backward=False) is None:
        pytest.skip("the module has all kernels of this cell by now")
    with pytest.raises(RuntimeError, match="cell nas: kernel gemm has not been loaded"):
        asked.forward(y=array, final=[array] * 2, reserve=0, workspace=array, stream=0)
    with pytest.raises(RuntimeError, match="cell nas: expected 3 functions of kernel gemm, got 1"):
        backend.extension.load(
            cell=backend.cell("nas"), kernel="gemm", backward=False, paired=False, functions=[array]
        )
