"""A case: a network, its sizes and options, and the data, reference values and checks it implies.

Everything follows from the case itself: the seed of its data is derived from its name. Sizes are
odd on purpose, so that the tests reach every tail of every vector and tile.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import rnnfast
import tolerances
from rnnfast._engine.known import cell_named
from rnnfast.reference import Network, round_to_bfloat16, round_to_int8
from rnnfast.reference.rounding import Rounding

HIDDEN_SIZES = (1, 3, 8, 17, 64, 101)
KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_channel", "weight_hr")
NO_GRADIENTS = None, (), ()  # in place of those of x, the states and the weights
_SCALES = {"bias_ih": 0.5, "bias_hh": 0.5, "weight_channel": 0.2}  # matrices have other scales


@dataclass(frozen=True)
class Case:
    """A network and its input: the sizes T, B, I, H, L and D, and the size P of a projection."""

    cell: str
    T: int = 5
    B: int = 3
    I: int = 4
    H: int = 8
    L: int = 1
    D: int = 1
    dtype: str = "float32"
    lengths: bool = False
    bias: bool = True
    indices: bool = False
    precision: str = "full"
    P: int = 0

    def __str__(self) -> str:
        sizes = "-".join(f"{name}{getattr(self, name)}" for name in "TBIHLD")
        flags = [name for name in ("lengths", "indices") if getattr(self, name)]
        flags += [self.precision] if self.precision != "full" else []
        flags += [f"P{self.P}"] if self.P else []
        return "-".join([self.cell, self.dtype, sizes, *flags, *([] if self.bias else ["nobias"])])

    @property
    def network(self) -> dict[str, Any]:
        """Return the arguments that make the network, without its cell and dtype."""
        return {
            "input_size": self.I,
            "hidden_size": self.H,
            "num_layers": self.L,
            "bias": self.bias,
            "bidirectional": self.D == 2,
            "proj_size": self.P,
            "precision": self.precision,
        }

    @property
    def options(self) -> dict[str, object]:
        """Return the keyword arguments of `rnnfast.functional.forward` that the case stands for."""
        return {
            "num_layers": self.L,
            "bidirectional": self.D == 2,
            "precision": self.precision,
        }

    @property
    def state_shapes(self) -> list[tuple[int, int, int]]:
        """Return the shape of each state."""
        widths = [self.P or self.H] + [self.H] * (cell_named(self.cell).states - 1)
        return [(self.L * self.D, self.B, width) for width in widths]

    @property
    def rounding(self) -> Rounding | None:
        """Return the function with which the products of the reference round."""
        return {"bfloat16": round_to_bfloat16, "int8": round_to_int8}.get(self.precision)

    @property
    def trains(self) -> bool:
        """Return whether the case has a backward pass; if not, its results are those of forward."""
        return self.precision != "int8"

    @property
    def longest_sum(self) -> int:
        """Return the number of terms of the longest sum that any result is made of."""
        sizes = (size for shape in weight_shapes(self, 0) if shape for size in shape)
        return max(*sizes, self.D * self.H, self.T * self.B)


class Task(NamedTuple):
    """What `assert_close` needs to know about a computation that is not a case."""

    dtype: str
    longest_sum: int  # number of terms of the longest sum that any result is made of


class Data(NamedTuple):
    """The arrays of a case, with reals in its dtype."""

    x: NDArray
    weights: list[tuple[NDArray | None, ...]]
    state: tuple[NDArray, ...]
    lengths: NDArray | None
    dy: NDArray
    dstate: tuple[NDArray, ...]


def weight_shapes(case: Case, layer: int) -> list[tuple[int, ...] | None]:
    """Return the shapes of the weights of `KINDS`, with None for those that are absent."""
    cell, H, R = cell_named(case.cell), case.H, case.P or case.H
    rows, recurrent_rows = cell.gates * H, cell.recurrent_blocks * H
    return [
        (rows, case.D * R if layer else case.I),
        (recurrent_rows, R),
        (rows,) if case.bias else None,
        (recurrent_rows,) if case.bias else None,
        (cell.params, H) if cell.params else None,
        (case.P, H) if case.P else None,
    ]


def possible(cell: str, state: tuple[NDArray, ...]) -> tuple[NDArray, ...]:
    """Return states that the cell can have: n of the sLSTM is a sum of positive numbers."""
    if cell == "slstm":
        h, c, n, m = state
        return h, c, 1 + np.abs(n), m
    return state


@functools.lru_cache(maxsize=64)
def make_data(case: Case) -> Data:
    """Return the data of a case, which must not be changed."""
    name = str(replace(case, dtype="float32", precision="full"))
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    T, B = case.T, case.B

    def reals(shape: tuple[int, ...], scale: float = 1.0) -> NDArray:
        return (scale * rng.standard_normal(shape)).astype(case.dtype)

    weights = [
        tuple(
            None
            if shape is None
            else reals(shape, _SCALES.get(kind, 0.7 * max(1, shape[-1]) ** -0.5))
            for kind, shape in zip(KINDS, weight_shapes(case, layer), strict=True)
        )
        for layer in range(case.L)
        for _ in range(case.D)
    ]
    x = rng.integers(0, case.I, (T, B)) if case.indices else reals((T, B, case.I))
    state = possible(case.cell, tuple(reals(shape, 0.5) for shape in case.state_shapes))
    lengths = None
    if case.lengths:
        lengths = rng.integers(0, T + 1, B)
        lengths[:2] = [T, 0][:B]  # so that both extremes are always tested
        lengths = rng.permutation(lengths)
    dy = reals((T, B, case.D * (case.P or case.H)))
    dstate = tuple(reals(shape) for shape in case.state_shapes)
    return Data(x, weights, state, lengths, dy, dstate)


def named(
    y: NDArray,
    state: Sequence[NDArray],
    dx: NDArray | None,
    dstate: Sequence[NDArray],
    dweights: Sequence[Sequence[NDArray | None]],
    directions: int,
) -> dict[str, NDArray]:
    """Return all results of a forward and backward pass under the names that messages use."""
    results = {"y": y} | ({} if dx is None else {"dx": dx})
    results |= {f"state[{k}]": s for k, s in enumerate(state)}
    results |= {f"dstate[{k}]": s for k, s in enumerate(dstate)}
    for k, gradients in enumerate(dweights):
        suffix = f"_l{k // directions}" + ("_reverse" if k % directions else "")
        for kind, gradient in zip(KINDS, gradients, strict=False):  # weight_hr's may be missing
            if gradient is not None:
                results[f"d{kind}{suffix}"] = gradient
    return results


def reference_network(
    case: Case,
    dtype: str = "float64",
    *,
    data: Data | None = None,
    rounding: Rounding | None = None,
    **options: Any,
) -> tuple[Network, dict[str, NDArray]]:
    """Return the NumPy reference on the case's data, computed in dtype, and its results.

    Products round as the case says, or with `rounding`.
    """
    d = data or make_data(case)
    network = Network(
        cell_named(case.cell),
        d.x,
        d.weights,
        d.state,
        lengths=d.lengths,
        bidirectional=case.D == 2,
        dtype=dtype,
        rounding=rounding or case.rounding,
        **options,
    )
    gradients = network.backward(d.dy, d.dstate) if case.trains else NO_GRADIENTS
    return network, named(network.y, network.state, *gradients, case.D)


def run_reference(
    case: Case,
    dtype: str = "float64",
    *,
    data: Data | None = None,
    masks: Sequence[NDArray] | None = None,
    rounding: Rounding | None = None,
    **noise: Any,
) -> dict[str, NDArray]:
    """Return the results of `reference_network`; `noise` contains masks inside the steps."""
    return reference_network(
        case, dtype, data=data, rounding=rounding, dropout_masks=masks, **noise
    )[1]


def weights_of(data: Data) -> list[Any]:
    """Return the weights on the device under test, the CPU unless conftest.py chooses another."""
    from rnnfast import functional
    from rnnfast._engine import backends

    backend = backends.get(None)
    return [
        functional.Weights(*(None if w is None else backend.asarray(w) for w in layer))
        for layer in data.weights
    ]


def forward(
    case: Case, data: Data | None = None, **options: object
) -> tuple[NDArray, tuple[NDArray, ...], Any]:
    """Run the engine's forward pass on the case's data or, where given, on other data."""
    from rnnfast import functional

    d = data or make_data(case)
    return functional.forward(
        case.cell,
        d.x,
        weights_of(d),
        d.state,
        lengths=d.lengths,
        **case.options,
        **options,
    )


def run_engine(case: Case, *, data: Data | None = None, **options: object) -> dict[str, NDArray]:
    """Return the results of `rnnfast.functional` on the case's data."""
    from rnnfast import functional

    d = data or make_data(case)
    y, state, reserve = forward(case, d, training=case.trains, **options)
    if not case.trains:
        return named(y, state, *NO_GRADIENTS, case.D)
    gradients = functional.backward(reserve, d.dy, d.dstate, need_dx=not case.indices)
    return named(y, state, *gradients, case.D)


def new_layer(case: Case, **options: Any) -> rnnfast.Recurrent:
    """Return the case's layer with random weights."""
    return rnnfast.Recurrent(case.cell, **case.network, dtype=case.dtype, **options)


def make_layer(case: Case, **options: Any) -> rnnfast.Recurrent:
    """Return the case's layer with the case's weights."""
    layer = new_layer(case, **options)
    arrays = {}
    for k, weights in enumerate(make_data(case).weights):
        suffix = f"_l{k // case.D}" + ("_reverse" if k % case.D else "")
        for kind, w in zip(KINDS, weights, strict=True):
            if w is not None:
                arrays[kind + suffix] = w
    layer.load_state_dict(arrays)
    return layer


def plain_errors(
    case: Case, *, masks: Sequence[NDArray] | None = None, **noise: Any
) -> dict[str, float]:
    """Return the largest error of each result of float32 NumPy, or of dithered runs in bfloat16."""
    single = replace(case, dtype="float32")
    return largest_errors(single, functools.partial(run_reference, single, masks=masks, **noise))


def largest_errors(case: Case, run: Callable[..., dict[str, NDArray]]) -> dict[str, float]:
    """Return the largest error of each result of `run(dtype, rounding=...)` in float32."""
    exact = run("float64")
    roundings = [None] if case.rounding is None else tolerances.dithered(case.rounding)
    runs = [run("float32", rounding=rounding) for rounding in roundings]
    return {name: max(worst(run[name], exact[name]) for run in runs) for name in exact}


def worst(got: NDArray, expected: NDArray) -> float:
    """Return the largest absolute difference, which is infinite where only one side is NaN."""
    difference = np.abs(got.astype(np.float64) - expected)
    difference[np.isnan(got) != np.isnan(expected)] = np.inf
    return float(difference.max(initial=0.0))


def assert_close(
    got: Mapping[str, NDArray],
    expected: Mapping[str, NDArray],
    plain: Mapping[str, float],
    case: Case | Task,
) -> None:
    """Check types, shapes and values of all results; the message lists every one that is off."""
    dtype = np.dtype(case.dtype)
    assert list(got) == list(expected)
    wrong = []
    for name, values in expected.items():
        assert got[name].dtype == dtype, f"{name}: dtype {got[name].dtype}"
        assert got[name].shape == values.shape, f"{name}: {got[name].shape} != {values.shape}"
        error = worst(got[name], values)
        allowed = tolerances.bound(values, plain[name], case.longest_sum, dtype)
        if not error <= allowed:
            wrong.append(f"{name}: error {error:.3g} > {allowed:.3g} (plain {plain[name]:.3g})")
    assert not wrong, "\n".join(wrong)


def assert_identical(got: Mapping[str, NDArray], expected: Mapping[str, NDArray]) -> None:
    """Check that all results are the same, bit for bit."""
    assert list(got) == list(expected)
    different = [name for name in expected if got[name].tobytes() != expected[name].tobytes()]
    assert not different, different


def select(data: Data, members: NDArray, steps: int, *, lengths: bool) -> Data:
    """Select the data of some sequences of a batch, cut after a number of steps."""
    return Data(
        np.ascontiguousarray(data.x[:steps, members]),
        data.weights,
        tuple(np.ascontiguousarray(s[:, members]) for s in data.state),
        data.lengths[members] if lengths and data.lengths is not None else None,
        np.ascontiguousarray(data.dy[:steps, members]),
        tuple(np.ascontiguousarray(s[:, members]) for s in data.dstate),
    )


def of_sequences(results: dict[str, NDArray]) -> dict[str, NDArray]:
    """Return the results that belong to single sequences, with the batch first."""
    names = [name for name in results if name in ("y", "dx") or "state" in name]
    return {name: results[name].swapaxes(0, 1) for name in names}
