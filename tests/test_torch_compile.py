"""The operators of `rnnfast.torch` under `torch.compile`, `torch.export` and PyTorch's checks."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import rnnfast.torch as fast  # noqa: E402
from rnnfast.torch import ops  # noqa: E402
from rnnfast.torch.network import Options, constant_in_graphs  # noqa: E402
from torch_cases import CELLS, assert_near, flat, gradients  # noqa: E402

I, H = 5, 8

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:.*force disabled:UserWarning"
)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compare(layer: Any, compiled: Any, x: Any, *args: Any, **kwargs: Any) -> None:
    """Check that compiled and plain calls give the same bits, forward and backward."""
    x = x.requires_grad_()
    wanted = [x, *flat(args), *layer.parameters()]
    expected, got = layer(x, *args, **kwargs), compiled(x, *args, **kwargs)
    for one, other in zip(flat(got), flat(expected), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(gradients(got, wanted), gradients(expected, wanted), strict=True):
        assert torch.equal(one, other)
    with torch.no_grad():
        for one, other in zip(flat(compiled(x, *args, **kwargs)), flat(expected), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("cell", CELLS)
def test_fullgraph(cell: str) -> None:
    """The second of the batch sizes makes Dynamo treat the size as a symbol."""
    layer = fast.Recurrent(cell, I, H, 2, bidirectional=True)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for batch in (3, 4, 6):
        compare(layer, compiled, torch.randn(7, batch, I))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # Dynamo reads it
def test_packed_sequences_stay_outside_of_graphs() -> None:
    layer = torch.nn.ModuleDict({"rnn": fast.LSTM(I, H, 2), "readout": torch.nn.Linear(H, 3)})

    def run(x: Any, scale: Any) -> Any:
        y, state = layer["rnn"](x)
        return layer["readout"](y.data * scale), state

    def packed(*lengths: int) -> Any:
        x = torch.randn(len(lengths), max(lengths), I)
        pack = torch.nn.utils.rnn.pack_padded_sequence
        return pack(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)

    compiled = torch.compile(run, backend="aot_eager")
    scale = torch.ones((), requires_grad=True)
    for x in (packed(4, 6), packed(2, 5, 3), packed(1, 1, 7, 2)):
        expected, got = run(x, scale), compiled(x, scale)
        wanted = [scale, *layer.parameters()]
        for one, other in zip(flat(got), flat(expected), strict=True):
            assert torch.equal(one, other)
        for one, other in zip(gradients(got, wanted), gradients(expected, wanted), strict=True):
            assert torch.equal(one, other)


def test_dynamo_is_imported_only_to_compile() -> None:
    """Its import takes longer than all others of the package."""
    script = """
        import sys
        import torch

        assert "torch._dynamo" not in sys.modules, "torch imports it"
        import rnnfast.torch as fast

        assert "torch._dynamo" not in sys.modules, "the import of rnnfast.torch"
        layer, cell, x = fast.LSTM(5, 8), fast.GRUCell(5, 8), torch.ones(3, 2, 5)
        y, _ = layer(x)
        (y.sum() + cell(x[0]).sum()).backward()
        pack = torch.nn.utils.rnn.pack_sequence([x[:, 0], x[:2, 1]])
        packed, _ = layer(pack)
        assert "torch._dynamo" not in sys.modules, "eager calls"

        compiled, _ = torch.compile(layer, backend="aot_eager")(pack)
        assert torch.equal(compiled.data, packed.data)
        assert torch.equal(layer(pack)[0].data, packed.data)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=120)


def test_constants_are_marked_as_torch_marks_them() -> None:
    def function() -> int:
        return 0

    marked = dict(vars(constant_in_graphs(function)))
    vars(function).clear()
    assert marked == vars(torch.compiler.assume_constant_result(function)) != {}


@pytest.mark.parametrize("layer_type", ["LSTM", "GRU", "RNN"])
def test_drop_ins_inside_a_model(layer_type: str) -> None:
    layer = getattr(fast, layer_type)(I, H, batch_first=True)
    state = torch.randn(1, 3, H, requires_grad=True)
    hx = (state, torch.randn(1, 3, H, requires_grad=True)) if layer_type == "LSTM" else state
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    compare(layer, compiled, torch.randn(3, 7, I), hx)
    compare(layer, compiled, torch.randn(7, I))
    compare(layer, compiled, torch.randn(3, 7, I), return_all_states=True)


def test_inductor_and_autocast_and_dropout() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(I, I), fast.GRU(I, H, 2, dropout=0.5))
    compiled = torch.compile(model, fullgraph=True)
    x = torch.randn(7, 3, I)
    y, _ = compiled(x)
    assert y.shape == (7, 3, H)
    y.sum().backward()
    model.eval()
    expected, got = model(x), compiled(x)
    assert_near(got, expected)
    wanted = list(model.parameters())
    assert_near(gradients(got, wanted), gradients(expected, wanted))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(compiled(x)[0], model(x)[0], rtol=0.02, atol=0.02)


def test_export_has_the_operator() -> None:
    layer = fast.LSTM(I, H).eval()
    x = torch.randn(7, 3, I)
    with torch.no_grad():
        exported = torch.export.export(layer, (x,))
        assert ops.OPERATORS["forward"] in [node.target for node in exported.graph.nodes]
        assert torch.equal(exported.module()(x)[0], layer(x)[0])


@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm", "peephole_lstm"])
@pytest.mark.parametrize("episodes", [False, True])
def test_operators_pass_torch_s_own_checks(cell: str, episodes: bool) -> None:
    """With episodes, lengths differ, there is a context, and the states have a row for resets."""
    layer = fast.Recurrent(cell, I, H, 2, dtype=torch.float64)
    options = Options(cell, 2, False, True, 0.5, "full")
    network = (
        torch.randn(7, 3, I, dtype=torch.float64, requires_grad=True),
        [w.detach().requires_grad_() for w in flat(layer.all_weights)],
        [torch.randn(2, 3 + episodes, H).double().requires_grad_()] * options.states,
        torch.tensor([7, 4, 0]) if episodes else None,
        torch.rand(7, 3) < 0.3 if episodes else None,
        torch.tensor(11),
        [torch.randn(3, layer.weight_ih_l0.shape[0]).double().requires_grad_()] * 2 * episodes,
    )
    forward, backward, states = ops.OPERATORS.values()
    # Two calls are not compared, because the reserve has bytes that nobody writes or reads.
    checks = ("test_schema", "test_faketensor", "test_autograd_registration")
    torch.library.opcheck(forward, (*network, *options, True), test_utils=checks)
    y, final, reserve = forward(*network, *options, True)
    kept = [reserve, torch.randn_like(y), [None] * len(final), True]
    torch.library.opcheck(backward, (*network, *options, *kept), test_utils=checks[:2])
    torch.library.opcheck(states, (*network, *options, reserve), test_utils=checks)


@pytest.mark.parametrize("name", ["forward", "backward", "states"])
def test_operators_have_other_names_when_a_schema_changes(name: str) -> None:
    """PyTorch's disk cache looks up a graph by `forward` alone, whatever operators it contains."""
    overload = ops.overload_of(ops._SCHEMAS)
    assert torch.ops.rnnfast.forward.overloads() == [overload]
    assert ops.OPERATORS[name].name() == f"rnnfast::{name}.{overload}"
    schema = ops._SCHEMAS[name].replace(")", ", bool more)", 1)
    assert ops.overload_of(ops._SCHEMAS | {name: schema}) != overload
