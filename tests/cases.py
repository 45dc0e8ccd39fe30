"""One case: a network, its sizes and options, and the data, reference values and checks it implies.

Everything follows from the case itself: the data's seed is made from its name. Sizes are odd on
purpose, so that every tail of every vector and tile is met.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import rnnfast
import tolerances
from rnnfast._engine.known import cell_named
from rnnfast.reference import Network, round_to_bfloat16
from rnnfast.reference.rounding import Rounding

HIDDEN_SIZES = (1, 3, 8, 17, 64, 101)
KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_channel", "weight_hr")
_SCALES = {"bias_ih": 0.5, "bias_hh": 0.5, "weight_channel": 0.2}  # matrices have others


@dataclass(frozen=True)
class Case:
    """A network and its input: T, B, I, H, L, D as everywhere, and the size P of a projection."""

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
    def options(self) -> dict[str, object]:
        """The keyword arguments of `rnnfast.functional.forward` that the case stands for."""
        return {
            "num_layers": self.L,
            "bidirectional": self.D == 2,
            "precision": self.precision,
        }

    @property
    def state_shapes(self) -> list[tuple[int, int, int]]:
        """The shape of each state."""
        widths = [self.P or self.H] + [self.H] * (cell_named(self.cell).states - 1)
        return [(self.L * self.D, self.B, width) for width in widths]

    @property
    def rounding(self) -> Rounding | None:
        """What the products of the reference round with."""
        return round_to_bfloat16 if self.precision == "bfloat16" else None

    @property
    def longest_sum(self) -> int:
        """Terms of the longest sum that any result is made of."""
        sizes = (size for shape in weight_shapes(self, 0) if shape for size in shape)
        return max(*sizes, self.D * self.H, self.T * self.B)


class Task(NamedTuple):
    """What `assert_close` needs to know of a computation that is not a case."""

    dtype: str
    longest_sum: int  # terms of the longest sum that any result is made of


class Data(NamedTuple):
    """The arrays of a case, reals in its dtype."""

    x: NDArray
    weights: list[tuple[NDArray | None, ...]]
    state: tuple[NDArray, ...]
    lengths: NDArray | None
    dy: NDArray
    dstate: tuple[NDArray, ...]


def weight_shapes(case: Case, layer: int) -> list[tuple[int, ...] | None]:
    """Shapes of the weights of `KINDS`; None for what is absent."""
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
    """States that a cell can have: n of the sLSTM is a sum of positive numbers."""
    if cell == "slstm":
        h, c, n, m = state
        return h, c, 1 + np.abs(n), m
    return state


@functools.lru_cache(maxsize=64)
def make_data(case: Case) -> Data:
    """Data of a case; float32 and float64 data differ only by rounding. Treat as read-only."""
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
        lengths[:2] = [T, 0][:B]  # both ends are always met
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
    """All results of a forward and backward pass under the names that messages use."""
    results = {"y": y} | ({} if dx is None else {"dx": dx})
    results |= {f"state[{k}]": s for k, s in enumerate(state)}
    results |= {f"dstate[{k}]": s for k, s in enumerate(dstate)}
    for k, gradients in enumerate(dweights):
        suffix = f"_l{k // directions}" + ("_reverse" if k % directions else "")
        for kind, gradient in zip(KINDS, gradients, strict=False):  # weight_hr's may be missing
            if gradient is not None:
                results[f"d{kind}{suffix}"] = gradient
    return results


def run_reference(
    case: Case,
    dtype: str = "float64",
    *,
    data: Data | None = None,
    masks: Sequence[NDArray] | None = None,
    rounding: Rounding | None = None,
    **noise: Any,
) -> dict[str, NDArray]:
    """Results of the NumPy reference on the case's data, computed in dtype.

    Products round as the case says, or with `rounding`; `noise` are masks inside the steps.
    """
    d = data or make_data(case)
    network = Network(
        cell_named(case.cell),
        d.x,
        d.weights,
        d.state,
        lengths=d.lengths,
        bidirectional=case.D == 2,
        dropout_masks=masks,
        dtype=dtype,
        rounding=rounding or case.rounding,
        **noise,
    )
    gradients = network.backward(d.dy, d.dstate)
    return named(network.y, network.state, *gradients, case.D)


def weights_of(data: Data) -> list[Any]:
    """The weights on the device under test, the CPU unless conftest.py says otherwise."""
    from rnnfast import functional
    from rnnfast._engine import backend

    on = backend.get(None)
    return [
        functional.Weights(*(None if w is None else on.asarray(w) for w in layer))
        for layer in data.weights
    ]


def run_engine(case: Case, *, data: Data | None = None, **options: object) -> dict[str, NDArray]:
    """Results of `rnnfast.functional` on the case's data."""
    from rnnfast import functional

    d = data or make_data(case)
    y, state, reserve = functional.forward(
        case.cell,
        d.x,
        weights_of(d),
        d.state,
        lengths=d.lengths,
        training=True,
        **case.options,
        **options,
    )
    gradients = functional.backward(reserve, d.dy, d.dstate, need_dx=not case.indices)
    return named(y, state, *gradients, case.D)


def new_layer(case: Case, **options: Any) -> rnnfast.Recurrent:
    """The case's layer with random weights."""
    return rnnfast.Recurrent(
        case.cell,
        case.I,
        case.H,
        case.L,
        bias=case.bias,
        bidirectional=case.D == 2,
        dtype=case.dtype,
        precision=case.precision,
        proj_size=case.P,
        **options,
    )


def make_layer(case: Case, **options: Any) -> rnnfast.Recurrent:
    """The case's layer with the case's weights."""
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
    """Largest error of each result of plain float32 NumPy; in bfloat16, of dithered runs."""
    single = replace(case, dtype="float32")
    exact = run_reference(single, masks=masks, **noise)
    roundings = [None] if case.rounding is None else tolerances.dithered(case.rounding)
    runs = [run_reference(single, "float32", masks=masks, rounding=r, **noise) for r in roundings]
    return {name: max(worst(run[name], exact[name]) for run in runs) for name in exact}


def worst(got: NDArray, expected: NDArray) -> float:
    """Largest absolute difference; infinite where one is NaN and the other is not."""
    difference = np.abs(got.astype(np.float64) - expected)
    difference[np.isnan(got) != np.isnan(expected)] = np.inf
    return float(difference.max(initial=0.0))


def assert_close(
    got: Mapping[str, NDArray],
    expected: Mapping[str, NDArray],
    plain: Mapping[str, float],
    case: Case | Task,
) -> None:
    """Checks types, shapes and values of all results; the message has every one that is off."""
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
    """Checks that all results are the same bit by bit."""
    assert list(got) == list(expected)
    different = [name for name in expected if got[name].tobytes() != expected[name].tobytes()]
    assert not different, different
