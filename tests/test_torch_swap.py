"""`accelerate` and `restore`."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

import rnnfast.torch as fast  # noqa: E402
from torch_cases import assert_near, flat, gradients  # noqa: E402


class Mine(nn.LSTM):
    """A layer defined by a user."""


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 6), nn.GRU(6, 6, bidirectional=True))
        self.shared = nn.LSTM(12, 5, 2, batch_first=False)
        self.alias = self.shared
        self.decoder = nn.RNN(5, 5, nonlinearity="relu")
        self.projected = nn.LSTM(4, 4, proj_size=2)
        self.mine = Mine(4, 4)
        self.small = nn.GRU(4, 4)
        self.cells = nn.ModuleList(
            [nn.LSTMCell(5, 5), nn.GRUCell(5, 5), nn.RNNCell(5, 5, nonlinearity="relu")]
        )

    def forward(self, x: Any) -> Any:
        y, _ = self.encoder(x)
        y, _ = self.shared(y)
        for cell in self.cells:
            state = cell(y[0], cell(y[1]))
            y = y + (state[0] if isinstance(state, tuple) else state)
        return self.decoder(y)[0]


def test_a_model_there_and_back() -> None:
    torch.manual_seed(0)
    model = Model().double()
    model.small.half()
    x = torch.randn(7, 3, 4, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    calls = []
    model.shared.register_forward_hook(lambda *_: calls.append(1))
    shared, parameters = model.shared, list(model.parameters())
    expected = model(x)

    assert fast.report(model).left["shared"] == "not accelerated yet"
    assert fast.accelerate(model) is model
    report = fast.report(model)
    assert report.fast == {
        "encoder.1": "rnnfast.torch.GRU",
        "shared": "rnnfast.torch.LSTM",
        "decoder": "rnnfast.torch.RNN",
        "projected": "rnnfast.torch.LSTM",
        "cells.0": "rnnfast.torch.LSTMCell",
        "cells.1": "rnnfast.torch.GRUCell",
        "cells.2": "rnnfast.torch.RNNCell",
    }
    assert set(report.left) == {"mine", "small"}
    assert "Mine is not a class of torch.nn" in report.left["mine"]
    assert "torch.float16" in report.left["small"]
    assert "shared: rnnfast.torch.LSTM" in str(report).splitlines()
    assert model.shared is model.alias is shared
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    got = model(x)
    assert_near(got, expected)
    assert len(calls) == 2
    assert type(got.grad_fn).__name__ != type(expected.grad_fn).__name__  # different paths
    swapped = [*model.shared.parameters(), *model.cells.parameters()]
    assert_near(gradients(got, swapped), gradients(expected, swapped))

    model(x).sum().backward()
    optimizer.step()  # the optimiser still updates the same parameters
    assert not torch.equal(model(x), got)

    changed = model(x)
    other = copy.deepcopy(model)
    assert fast.restore(model) is model
    assert fast.report(model).fast == {}
    assert [type(m) for m in (model.encoder[1], model.shared, model.decoder, *model.cells)] == [
        nn.GRU, nn.LSTM, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell,
    ]  # fmt: skip
    assert not any("_kept" in vars(cell) for cell in model.cells)
    assert_near(model(x), changed)
    assert type(other.shared) is fast.LSTM


def test_a_layer_itself_and_layers_that_were_always_ours() -> None:
    layer = nn.LSTM(3, 4)
    assert fast.report(fast.accelerate(layer)).fast == {"": "rnnfast.torch.LSTM"}
    assert isinstance(layer, fast.LSTM)
    assert "the model: left to PyTorch: not accelerated yet" in str(
        fast.report(fast.restore(layer))
    )
    assert type(layer) is nn.LSTM
    model = nn.ModuleList([fast.GRU(3, 4), fast.Recurrent("nas", 3, 4)])
    report = fast.report(fast.restore(model))
    assert report.fast == {"1": "rnnfast.torch.Recurrent"}
    assert report.left == {"0": "not accelerated yet"}
    assert type(model[0]) is nn.GRU
    assert str(fast.report(nn.Linear(2, 2))) == "no recurrent layers"


def test_parametrized_layers() -> None:
    torch.manual_seed(1)
    layer = nn.GRU(3, 4).double()
    torch.nn.utils.parametrizations.weight_norm(layer, "weight_ih_l0")
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    expected = layer(x)
    assert fast.report(fast.accelerate(layer)).fast == {"": "rnnfast.torch.GRU"}
    assert isinstance(layer, fast.GRU)
    assert_near(layer(x), expected)
    fast.restore(layer)
    assert isinstance(layer, nn.GRU)
    assert_near(layer(x), expected)


def test_a_forward_of_its_own_stays() -> None:
    layer = nn.GRU(3, 4)
    layer.forward = lambda x: x
    with pytest.warns(UserWarning, match="the model is left to PyTorch: it has its own forward"):
        fast.accelerate(layer)
    assert fast.report(layer).left == {"": "it has its own forward"}
    assert type(layer) is nn.GRU


def test_a_second_call_says_already() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.GRU(3, 4))
    fast.accelerate(model)
    before = str(model)
    with pytest.warns(UserWarning, match=r"changed nothing: 1 is already rnnfast\.torch\.GRU$"):
        assert fast.accelerate(model) is model
    assert str(model) == before
    with pytest.warns(UserWarning, match="changed nothing: the model has no recurrent layers"):
        fast.accelerate(nn.Linear(2, 2))


def test_printing_a_model_shows_who_runs_its_layers() -> None:
    model = nn.Sequential(nn.GRU(3, 4, 2), fast.Recurrent("nas", 4, 5))
    torch.nn.utils.parametrizations.weight_norm(model[0], "weight_ih_l0")
    assert "rnnfast" not in str(model[0])
    fast.accelerate(model)
    assert "(0): rnnfast ParametrizedGRU(" in str(model)
    assert "(1): rnnfast Recurrent('nas', 4, 5)" in str(model)
    fast.restore(model)
    assert "rnnfast" not in str(model[0])


def test_the_report_says_what_comes_before_and_after() -> None:
    text = str(fast.report(fast.accelerate(nn.GRU(3, 4))))
    assert "quantisation" in text
    assert "Opacus" in text
    assert "rnnfast.torch.restore(model)" in text
    assert "rnnfast.torch.restore" not in str(fast.report(nn.GRU(3, 4)))


class Summary(nn.Module):
    """A model to export to ONNX: layers of several cells, and a readout."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x, state = layer(x)
        return x, state


@pytest.mark.filterwarnings("ignore")  # both exporters warn about themselves
@pytest.mark.parametrize("dynamo", [False, True])
def test_accelerated_models_go_to_onnx(dynamo: bool, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    if dynamo:
        pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    file = tmp_path / "model.onnx"
    x = torch.randn(5, 2, 3)
    models = [
        Summary(nn.LSTM(3, 4, 2), nn.GRU(4, 4, bidirectional=True), nn.RNN(8, 4)),
        nn.GRU(3, 4, batch_first=True),
    ]
    for model in models:
        fast.accelerate(model.eval())
        torch.onnx.export(model, (x,), str(file), dynamo=dynamo)
        session = onnxruntime.InferenceSession(str(file))
        got = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        for one, other in zip(got, flat(model(x)), strict=True):
            torch.testing.assert_close(torch.from_numpy(one), other.detach())
    nas = Summary(fast.Recurrent("nas", 3, 4)).eval()
    with pytest.raises(Exception, match=r"expected a cell that ONNX has .* got 'nas'"):
        torch.onnx.export(nas, (x,), str(file), dynamo=dynamo)


@pytest.mark.filterwarnings("ignore")  # the exporter warns about itself
@pytest.mark.parametrize(
    ("cell", "batch_first"),
    [
        *(("lstm", True), ("gru", False), ("rnn_tanh", True), ("rnn_relu", False)),
        *(("peephole_lstm", True), ("gru_reset_before", False)),
    ],
)
def test_exported_operators_take_any_size_and_states(
    cell: str, batch_first: bool, tmp_path: Path
) -> None:
    """The newer exporter writes torch.nn's layers for the sizes of the sample alone."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    import onnx

    layer = fast.Recurrent(cell, 3, 4, 2, bidirectional=True, batch_first=batch_first).eval()
    count = 2 if "lstm" in cell else 1

    class WithStates(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Any, h: Any, c: Any) -> Any:
            y, state = self.layer(x, (h, c) if count == 2 else h)
            return 2 * y, state

    def inputs(T: int, B: int) -> tuple[Any, ...]:
        x = torch.randn(B, T, 3) if batch_first else torch.randn(T, B, 3)
        return x, torch.randn(4, B, 4), torch.randn(4, B, 4)

    T, B = torch.export.Dim("T", min=1, max=99), torch.export.Dim("B", min=1, max=99)
    file = tmp_path / "model.onnx"
    torch.onnx.export(
        WithStates().eval(),
        inputs(5, 2),
        str(file),
        dynamo=True,
        dynamic_shapes=({0: B, 1: T} if batch_first else {0: T, 1: B}, {1: B}, {1: B}),
    )
    operators = [node.op_type for node in onnx.load(file).graph.node]
    assert sum(name in ("LSTM", "GRU", "RNN") for name in operators) == 2
    session = onnxruntime.InferenceSession(str(file))
    names = [value.name for value in session.get_inputs()]
    for sizes in ((1, 1), (9, 4), (5, 2)):
        given = inputs(*sizes)
        y, state = layer(given[0], given[1:] if count == 2 else given[1])
        got = session.run(None, dict(zip(names, (v.numpy() for v in given), strict=False)))
        for one, other in zip(got, flat((2 * y, state)), strict=True):
            torch.testing.assert_close(torch.from_numpy(one), other.detach())


SAVE = """
import torch, rnnfast.torch
model = rnnfast.torch.LSTM(3, 4).eval()
x = torch.randn(5, 2, 3)
torch.export.save(torch.export.export(model, (x,)), "exported.pt2")
torch.jit.save(torch.jit.trace(model, x), "traced.pt")
"""
LOAD = """
import sys, torch
if "with" in sys.argv:
    import rnnfast.torch
torch.export.load("exported.pt2").module()(torch.randn(5, 2, 3))
torch.jit.load("traced.pt")(torch.randn(5, 2, 3))
"""


def test_saved_graphs_name_what_they_need(tmp_path: Path) -> None:
    def run(code: str, *arguments: str) -> Any:
        command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    saved = run(SAVE)
    assert saved.returncode == 0, saved.stderr
    loaded = run(LOAD, "with")
    assert loaded.returncode == 0, loaded.stderr
    without = run(LOAD)
    assert without.returncode == 1
    assert "torch.ops.rnnfast.forward.needs_rnnfast_torch" in without.stderr
    traced = run(LOAD.replace("torch.export.load", "#"))
    assert "Unknown builtin op: rnnfast::forward" in traced.stderr
