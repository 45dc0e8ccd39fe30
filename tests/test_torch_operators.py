"""The operators of `rnnfast.torch` on their own: what they refuse, and how much they compute."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

import rnnfast.torch as fast  # noqa: E402
from rnnfast import functional  # noqa: E402
from torch_cases import TWINS, flat, twins  # noqa: E402

T, B, I, H = 5, 3, 4, 6


def call(**changes: Any) -> dict[str, Any]:
    """Return the arguments of a training call of an LSTM, with some of them changed."""
    layer = fast.LSTM(I, H, 2)
    arguments = {
        "x": torch.randn(T, B, I),
        "weights": [w.detach() for w in flat(layer.all_weights)],
        "state": [torch.zeros(2, B, H)] * 2,
        "lengths": torch.tensor([5, 3, 0]),
        "reset": None,
        "seed": torch.tensor(1),
        "context": [],
        "cell": "lstm",
        "num_layers": 2,
        "bidirectional": False,
        "bias": True,
        "dropout": 0.5,
        "precision": "full",
        "zoneout": [],
        "input_dropout": 0.0,
        "recurrent_dropout": 0.0,
        "candidate_dropout": 0.0,
        "expects": False,
        "keep": True,
    }
    return arguments | changes


def changed(index: int, change: Callable[[Any], Any]) -> list[Any]:
    weights = call()["weights"]
    weights[index] = change(weights[index])
    return weights


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "too long": (
        {"lengths": torch.tensor([6, 1, 1])},
        ValueError,
        r"lengths: expected values in \[0, seq_len\] = \[0, 5\], got 1 to 6",
    ),
    "lengths of another batch": (
        {"lengths": torch.tensor([5, 1])},
        ValueError,
        r"lengths: expected shape \(batch,\) = \(3,\), got \(2,\)",
    ),
    "lengths of int32": (
        {"lengths": torch.tensor([5, 1, 1], dtype=torch.int32)},
        TypeError,
        r"lengths: expected a dense tensor of torch.int64 on the CPU, got one of torch.int32",
    ),
    "a negative seed": ({"seed": torch.tensor(-1)}, ValueError, r"seed: expected at least 0, got"),
    "an unknown cell": ({"cell": "lst"}, ValueError, r"cell: expected a name .*, got 'lst'"),
    "no layers": ({"num_layers": 0}, ValueError, r"num_layers: expected .* got 0"),
    "another number of layers": (
        {"num_layers": 1},
        ValueError,
        r"weights: expected 4 for each of 1 layers and directions, 4 in total, got 8",
    ),
    "no weights": ({"weights": []}, ValueError, r"weights: expected 4 for each of 2 .*, got 0"),
    "weights without biases": (
        {"bias": False},
        ValueError,
        r"weights: expected 2 for each of 2 layers and directions, 4 in total, got 8",
    ),
    "a weight's shape": (
        {"weights": changed(5, lambda w: w[:-1])},
        ValueError,
        r"weight_hh: expected shape \(4\*hidden_size, hidden_size\) = \(24, 6\), got \(23, 6\)",
    ),
    "a weight's type": (
        {"weights": changed(2, torch.Tensor.double)},
        TypeError,
        r"weights\[2\]: expected a dense tensor of torch.float32 .*, got one of torch.float64",
    ),
    "weights of half": (
        {"weights": [w.half() for w in call()["weights"]]},
        TypeError,
        r"weights\[0\]: expected torch.float32 or torch.float64, got torch.float16",
    ),
    "x of another type": (
        {"x": torch.randn(T, B, I).double()},
        TypeError,
        r"x: expected a dense tensor of torch.float32 on the CPU, got one of torch.float64",
    ),
    "x of bfloat16": (
        {"x": torch.randn(T, B, I).bfloat16()},
        TypeError,
        r"x: expected a dense tensor of torch.float32 on the CPU, got one of torch.bfloat16",
    ),
    "sparse x": (
        {"x": torch.randn(T, B, I).to_sparse()},
        NotImplementedError,
        r"'rnnfast::forward\.\w+' with arguments from the 'SparseCPU' backend",
    ),
    "x without a batch": ({"x": torch.randn(T, I)}, ValueError, r"x: expected shape \(seq_len, ba"),
    "x too wide": (
        {"x": torch.randn(T, B, I + 1)},
        ValueError,
        r"x: expected .* input_size = 4.* got .*5",
    ),
    "one state of two": (
        {"state": [torch.zeros(2, B, H)]},
        ValueError,
        r"state: expected a tuple of 2 arrays, got 1",
    ),
    "a state's shape": (
        {"state": [torch.zeros(2, B, H), torch.zeros(1, B, H)]},
        ValueError,
        r"state: expected shape \(num_layers\*num_directions, batch, hidden_size\) = \(2, 3, 6\)",
    ),
    "dropout beyond 1": ({"dropout": 1.5}, ValueError, r"dropout: expected .* got 1.5"),
    "an unknown precision": ({"precision": "half"}, ValueError, r"precision: expected .*'half'"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_wrong_argument_is_named(what: str) -> None:
    changes, error, message = REFUSED[what]
    arguments = call(**changes)
    with pytest.raises(error, match=message):
        torch.ops.rnnfast.forward(*arguments.values())
    if what != "sparse x":  # PyTorch raises its own error before it gets to gradients
        del arguments["keep"]
        right = torch.ops.rnnfast.forward(*call().values())
        with pytest.raises(error, match=message):
            torch.ops.rnnfast.backward(*arguments.values(), right[2], right[0], [None, None], True)
        with pytest.raises(error, match=message):
            torch.ops.rnnfast.states(*arguments.values(), right[2])


def test_wrong_gradients_and_reserves_are_named() -> None:
    arguments = call()
    y, final, reserve = torch.ops.rnnfast.forward(*arguments.values())
    del arguments["keep"]
    for given, error, message in [
        ((reserve, y[:-1], [None, None]), ValueError, r"dy: expected shape .* = \(5, 3, 6\), got"),
        ((reserve, y, [None]), ValueError, r"dstate: expected a tuple of 2 arrays, got 1"),
        ((reserve, y, [None, final[0][:1]]), ValueError, r"dstate: expected shape .*\(2, 3, 6\)"),
        ((reserve[:-64], y, [None, None]), ValueError, r"memory: expected \d+ bytes.* got \d+"),
        ((y, y, [None, None]), TypeError, r"reserve: expected torch.uint8, got torch.float32"),
    ]:
        with pytest.raises(error, match=message):
            torch.ops.rnnfast.backward(*arguments.values(), *given, True)


@pytest.mark.parametrize("changes", [{"x": torch.randn(T, I)}, {"cell": "lst"}, {"weights": []}])
def test_tracing_names_a_wrong_argument_too(changes: dict[str, Any]) -> None:
    arguments = call(**changes)
    fake = torch._subclasses.FakeTensorMode()
    with fake, pytest.raises(ValueError, match=r"(x|cell|weights): expected"):
        torch.ops.rnnfast.forward(
            *torch.utils._pytree.tree_map_only(torch.Tensor, fake.from_tensor, arguments).values()
        )


def test_a_layer_with_a_wrong_weight_names_it() -> None:
    layer = fast.GRU(I, H)
    layer.weight_hh_l0 = torch.nn.Parameter(torch.zeros(3 * H, H + 1))
    with pytest.raises(ValueError, match=r"weight_ih: expected shape .* = \(21, 4\), got"):
        layer(torch.randn(T, B, I))
    layer.weight_hh_l0 = torch.nn.Parameter(torch.zeros(3 * H, H, dtype=torch.float64))
    with pytest.raises(TypeError, match=r"weights\[1\]: expected a dense tensor of torch.float32"):
        layer(torch.randn(T, B, I))


def at_an_odd_address(tensor: Any) -> Any:
    """Return a tensor of the same values, in memory that the kernels cannot read in place."""
    size = tensor.element_size()
    memory = bytearray(tensor.numel() * size + 1)
    odd = torch.frombuffer(memory, dtype=tensor.dtype, offset=1).view(tensor.shape)
    return odd.copy_(tensor.detach())


def test_tensors_at_odd_addresses_give_the_same_bits() -> None:
    layer = fast.LSTM(I, H, 2, bidirectional=True)
    x, hx = torch.randn(T, B, I), (torch.randn(4, B, H), torch.randn(4, B, H))
    expected = layer(x, hx)
    wanted = list(layer.parameters())
    gradients_expected = torch.autograd.grad(expected[0].sum(), wanted)
    for parameter in wanted:
        parameter.data = at_an_odd_address(parameter)
    got = layer(at_an_odd_address(x), tuple(map(at_an_odd_address, hx)))
    for one, other in zip(flat(got), flat(expected), strict=True):
        assert torch.equal(one, other)
    gradients = torch.autograd.grad(got[0].sum(), wanted)
    for one, other in zip(gradients, gradients_expected, strict=True):
        assert torch.equal(one, other)
    layer.eval()
    fast.prepack(layer)
    with torch.no_grad():
        packed = layer(at_an_odd_address(x), tuple(map(at_an_odd_address, hx)))
    for one, other in zip(flat(packed), flat(expected), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("attribute", "value", "same"),
    [
        ("dropout", 1, 1.0),
        ("dropout", np.float32(1), 1.0),
        ("num_layers", np.int64(2), 2),
        ("bidirectional", 0, False),
    ],
)
def test_numbers_of_other_types_count_as_attributes(attribute: str, value: Any, same: Any) -> None:
    layer = fast.LSTM(I, H, 2)
    x = torch.randn(T, B, I)
    setattr(layer, attribute, same)
    expected = layer(x)[0]
    setattr(layer, attribute, value)
    assert torch.equal(layer(x)[0], expected)


@pytest.mark.parametrize(
    ("attribute", "value", "error", "message"),
    [
        ("dropout", 1.5, ValueError, r"dropout: expected a number in \[0, 1\], got 1.5"),
        ("dropout", "0.5", TypeError, "dropout: expected a number, got str"),
        ("num_layers", 2.0, TypeError, "num_layers: expected an integer, got float"),
        ("num_layers", 0, ValueError, "num_layers: expected at least 1, got 0"),
    ],
)
def test_a_wrong_attribute_of_a_layer_is_named(
    attribute: str, value: Any, error: type[Exception], message: str
) -> None:
    layer = fast.LSTM(I, H, 2)
    setattr(layer, attribute, value)
    with pytest.raises(error, match=message):
        layer(torch.randn(T, B, I))


def counted(run: Callable[[], Any]) -> tuple[int, int]:
    """Return the number of operations of a call, and of its backward."""
    counter = FlopCounterMode(display=False)
    with counter:
        loss = run()
        forward = counter.get_total_flops()
        loss.backward()
    return forward, counter.get_total_flops() - forward


@pytest.mark.parametrize("need_dx", [False, True])
@pytest.mark.parametrize("name", TWINS)
def test_operations_are_counted_as_those_of_torch_nn(name: str, need_dx: bool) -> None:
    """In float64, torch.nn's layers consist of products that PyTorch counts."""
    layers = twins(name, I, H, 2, bidirectional=True)
    states = 2 if name == "LSTM" else 1
    found = []
    for layer in layers:
        x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=need_dx)
        state = [torch.zeros(4, B, H, dtype=torch.float64, requires_grad=True)] * states
        found.append(counted(lambda: layer(x, tuple(state) if states > 1 else state[0])[0].sum()))  # noqa: B023
    assert found[0] == found[1]


@pytest.mark.parametrize("cell", ["gru_reset_before", "mut3", "peephole_lstm"])
def test_operations_of_other_cells(cell: str) -> None:
    layer = fast.Recurrent(cell, I, H)
    lengths = torch.tensor([5, 4, 2])
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.randn(T, B, I), lengths)
    forward, backward = counted(lambda: layer(packed)[0].data.sum())
    shapes = functional.cells()[cell].shapes(I, H)
    of_input, recurrent = math.prod(shapes["weight_ih"]), math.prod(shapes["weight_hh"])
    assert forward == 2 * 11 * (of_input + recurrent)
    assert backward == 2 * 11 * (of_input + 2 * recurrent)


def test_operations_are_counted_module_by_module() -> None:
    model = torch.nn.ModuleDict({"rnn": fast.GRU(I, H)})
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model["rnn"](torch.randn(T, B, I))
    assert counter.get_flop_counts()["GRU"][torch.ops.rnnfast.forward] == 2 * T * B * 3 * H * (
        I + H
    )
