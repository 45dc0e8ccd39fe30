"""The non-recurrent layers agree with PyTorch's in values, gradients and parameters."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import cases  # noqa: E402
import rnnfast  # noqa: E402

nn = torch.nn
pytestmark = pytest.mark.usefixtures("one_thread", "torch_on_one_thread")
Results = dict[str, np.ndarray]
DTYPES = ("float32", "float64")


@pytest.fixture
def torch_on_one_thread() -> Iterator[None]:
    """Run PyTorch on one thread: small models gain nothing from a second one on a busy CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def reals(*shape: int, seed: int = 0) -> np.ndarray:
    """Return values that float32 holds exactly, so that both types see the same data."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype("float32")


def results_of_torch(theirs: Any, x: np.ndarray, dtype: str) -> Results:
    """Return y, dx and the parameters' gradients for the gradient of y that `reals` gives."""
    theirs = theirs.to(getattr(torch, dtype))
    theirs.zero_grad()
    given = torch.tensor(x.astype(dtype), requires_grad=True)
    y = theirs(given)
    y.backward(torch.tensor(reals(*y.shape, seed=1).astype(dtype)))
    found = {"y": y.detach(), "dx": given.grad}
    found |= {f"d{name}": p.grad for name, p in theirs.named_parameters()}
    return {name: value.numpy().copy() for name, value in found.items()}


def results_of_ours(ours: Any, x: np.ndarray, dtype: str, **lengths: Any) -> Results:
    ours.zero_grad()
    y = ours(x.astype(dtype), **lengths)
    dx = ours.backward(reals(*y.shape, seed=1).astype(dtype))
    return {"y": y, "dx": dx} | {f"d{p.name}": p.grad for p in ours.parameters()}


def compare(make: Callable[[str], Any], theirs: Any, x: np.ndarray, dtype: str) -> Results:
    """Compare our results with PyTorch's in float64, within the error of PyTorch's in float32."""
    ours = make(dtype)
    theirs.load_state_dict({n: torch.tensor(v) for n, v in make("float32").state_dict().items()})
    ours.load_state_dict({n: v.numpy() for n, v in theirs.state_dict().items()})
    single, expected = (results_of_torch(theirs, x, of) for of in ("float32", "float64"))
    errors = {name: cases.worst(single[name], expected[name]) for name in expected}
    longest = max(size for values in (x, *expected.values()) for size in values.shape)
    got = results_of_ours(ours, x, dtype)
    cases.assert_close(got, expected, errors, cases.Task(dtype, longest))
    return got


ACTIVATIONS = {
    "tanh": (rnnfast.Tanh, nn.Tanh),
    "sigmoid": (rnnfast.Sigmoid, nn.Sigmoid),
    "relu": (rnnfast.ReLU, nn.ReLU),
    "silu": (rnnfast.SiLU, nn.SiLU),
    "gelu": (rnnfast.GELU, nn.GELU),
    "gelu_tanh": (
        lambda: rnnfast.GELU(approximate="tanh"),
        lambda: nn.GELU(approximate="tanh"),
    ),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activations(kind: str, dtype: str) -> None:
    ours, theirs = ACTIVATIONS[kind]
    assert ours().kind == kind
    x = np.concatenate([reals(3, 7, 31), 6 * reals(3, 7, 31, seed=2)], 1)
    x[0, 0, :3] = 0, 30, -30
    compare(lambda _: ours(), theirs(), x, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(3, 1), (5, 3, 17), (64,), (40, 3, 101), (2, 600)])
def test_layer_norm(shape: tuple[int, ...], bias: bool, dtype: str) -> None:
    def make(dtype: str) -> Any:
        layer = rnnfast.LayerNorm(shape[-1], bias=bias, dtype=dtype)
        layer.weight[...] = 1 + reals(shape[-1], seed=3)
        if layer.bias is not None:
            layer.bias[...] = reals(shape[-1], seed=4)
        return layer

    theirs = nn.LayerNorm(shape[-1], bias=bias)
    compare(make, theirs, 3 + 2 * reals(*shape), dtype)


class TimeMajor(nn.Conv1d):
    """PyTorch's convolution over (T, B, C), with zeros before the first step."""

    def __init__(self, *sizes: int, before: int, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.before = before

    def forward(self, x: Any) -> Any:
        x = nn.functional.pad(x.permute(1, 2, 0), (self.before, 0))
        return super().forward(x).permute(2, 0, 1)


SHAPES = [(11, 1, 1, 1), (13, 3, 5, 7), (40, 9, 17, 33), (60, 1, 8, 70), (7, 2, 130, 3)]
GEOMETRIES = [
    *(
        {"stride": s, "padding": p, "dilation": d}
        for s, p, d in itertools.product((1, 2, 3), (0, 2), (1, 2))
    ),
    {"stride": 4, "dilation": 2, "padding": 5},
    {"stride": 4, "dilation": 6, "padding": 9},
    *({"padding": p, "dilation": d} for p in ("same", "causal") for d in (1, 3)),
    {"padding": "causal", "stride": 2},
]


def compare_convolutions(sizes: tuple[int, ...], x: np.ndarray, dtype: str, **options: Any) -> None:
    def make(dtype: str) -> Any:
        return rnnfast.Conv1d(*sizes, **options, dtype=dtype, seed=1)

    before = 0
    theirs = dict(options)
    if options["padding"] == "causal":
        before, theirs["padding"] = options.get("dilation", 1) * (sizes[2] - 1), 0
    compare(make, TimeMajor(*sizes, before=before, **theirs), x, dtype)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")  # PyTorch's
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_convolution(kernel: int, geometry: dict[str, Any], dtype: str) -> None:
    for T, B, inputs, outputs in SHAPES:
        sizes = inputs, outputs, kernel
        compare_convolutions(sizes, reals(T, B, inputs), dtype, bias=B != 2, **geometry)


def test_initial_values_of_a_convolution_are_of_the_distribution_of_torch() -> None:
    layer, bound = rnnfast.Conv1d(16, 64, 5, seed=1), (16 * 5) ** -0.5
    theirs = nn.Conv1d(16, 64, 5)
    for name, p in layer.state_dict().items():
        other = theirs.state_dict()[name]
        assert p.shape == tuple(other.shape)
        assert bound * 0.9 < np.abs(p).max() <= bound
        assert other.abs().max() <= bound


class GRU(nn.GRU):
    """A GRU that passes on only y."""

    def forward(self, x: Any) -> Any:
        return super().forward(x)[0]


class Steps(nn.Module):
    """A module that does what our pooling does to (T, B, C) if all sequences have full length."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Any) -> Any:
        return {"Last": lambda: x[-1], "MeanPool": lambda: x.mean(0), "MaxPool": lambda: x.amax(0)}[
            self.kind
        ]()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["Last", "MeanPool", "MaxPool"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 3, 17), (30, 5, 65)])
def test_pooling(shape: tuple[int, ...], kind: str, dtype: str) -> None:
    compare(lambda _: getattr(rnnfast, kind)(), Steps(kind), reals(*shape), dtype)


MERGED = {
    "sum": torch.add,
    "mean": lambda a, b: (a + b) / 2,
    "product": torch.mul,
    "max": torch.maximum,
}


class Merged(nn.Module):
    """A module that merges both halves of the last axis."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Any) -> Any:
        return MERGED[self.how](*x.chunk(2, -1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", MERGED)
@pytest.mark.parametrize("shape", [(2,), (0, 3, 4), (7, 3, 34), (1, 5, 2, 6)])
def test_merged_directions(shape: tuple[int, ...], how: str, dtype: str) -> None:
    x = reals(*shape)
    x[..., 0] = x[..., x.shape[-1] // 2]  # equal values, which share the gradient of the maximum
    compare(lambda _: rnnfast.MergeDirections(how), Merged(how), x, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", MERGED)
def test_a_model_whose_directions_are_merged(how: str, dtype: str) -> None:
    def make(dtype: str) -> Any:
        return rnnfast.Sequential(
            rnnfast.GRU(3, 5, bidirectional=True, dtype=dtype, seed=1),
            rnnfast.MergeDirections(how),
            rnnfast.GRU(5, 4, bidirectional=True, dtype=dtype, seed=2),
            rnnfast.MergeDirections(how),
        )

    theirs = nn.Sequential(
        GRU(3, 5, bidirectional=True), Merged(how), GRU(5, 4, bidirectional=True), Merged(how)
    )
    compare(make, theirs, reals(6, 3, 3), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pooling", ["Last", "MeanPool", "MaxPool"])
def test_a_model_of_many_layers_is_that_of_torch(pooling: str, dtype: str) -> None:
    def make(dtype: str) -> Any:
        return rnnfast.Sequential(
            rnnfast.Linear(5, 9, dtype=dtype, seed=1),
            rnnfast.GELU(),
            rnnfast.LayerNorm(9, dtype=dtype),
            rnnfast.GRU(9, 17, 2, dtype=dtype, seed=2),
            rnnfast.Dropout(0.0),
            getattr(rnnfast, pooling)(),
            rnnfast.Linear(17, 3, dtype=dtype, seed=3),
            rnnfast.Tanh(),
        )

    theirs = nn.Sequential(
        nn.Linear(5, 9),
        nn.GELU(),
        nn.LayerNorm(9),
        GRU(9, 17, 2),
        nn.Dropout(0.0),
        Steps(pooling),
        nn.Linear(17, 3),
        nn.Tanh(),
    )
    assert list(make("float32").state_dict()) == list(theirs.state_dict())
    compare(make, theirs, reals(11, 3, 5), dtype)
