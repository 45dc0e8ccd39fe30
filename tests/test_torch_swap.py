"""`accelerate` and `restore`."""

from __future__ import annotations

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

import rnnfast.torch as fast  # noqa: E402
from torch_cases import assert_near, gradients  # noqa: E402


class Mine(nn.LSTM):
    """Somebody's own layer."""


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
        self.cell = nn.LSTMCell(4, 4)

    def forward(self, x: Any) -> Any:
        y, _ = self.encoder(x)
        y, _ = self.shared(y)
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

    report = fast.accelerate(model)
    assert report.swapped == {
        "encoder.1": "rnnfast.torch.GRU",
        "shared": "rnnfast.torch.LSTM",
        "decoder": "rnnfast.torch.RNN",
    }
    assert set(report.left) == {"projected", "mine", "small", "cell"}
    assert "proj_size" in report.left["projected"]
    assert "Mine is not a class of torch.nn" in report.left["mine"]
    assert "torch.float16" in report.left["small"]
    assert "single steps" in report.left["cell"]
    assert "shared: now rnnfast.torch.LSTM" in str(report).splitlines()
    assert model.shared is model.alias is shared
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    got = model(x)
    assert_near(got, expected)
    assert len(calls) == 2
    assert type(got.grad_fn).__name__ != type(expected.grad_fn).__name__  # another path
    assert_near(gradients(got, list(model.shared.parameters())),
                gradients(expected, list(model.shared.parameters())))  # fmt: skip

    model(x).sum().backward()
    optimizer.step()  # still steps the same parameters
    assert not torch.equal(model(x), got)
    assert fast.accelerate(model).swapped == {}

    changed = model(x)
    other = copy.deepcopy(model)
    assert fast.restore(model).swapped == {
        "encoder.1": "torch.nn.GRU",
        "shared": "torch.nn.LSTM",
        "decoder": "torch.nn.RNN",
    }
    assert [type(m) for m in (model.encoder[1], model.shared, model.decoder)] == [
        nn.GRU, nn.LSTM, nn.RNN,
    ]  # fmt: skip
    assert_near(model(x), changed)
    assert type(other.shared) is fast.LSTM


def test_a_layer_itself_and_layers_that_were_always_ours() -> None:
    layer = nn.LSTM(3, 4)
    assert fast.accelerate(layer).swapped == {"": "rnnfast.torch.LSTM"}
    assert isinstance(layer, fast.LSTM)
    assert "the model: now torch.nn.LSTM" in str(fast.restore(layer))
    assert type(layer) is nn.LSTM
    model = nn.ModuleList([fast.GRU(3, 4), fast.Recurrent("nas", 3, 4)])
    report = fast.restore(model)
    assert report.swapped == {"0": "torch.nn.GRU"}
    assert report.left == {"1": "torch.nn has no class for Recurrent"}
    assert str(fast.accelerate(nn.Linear(2, 2))) == "no recurrent layers"


def test_parametrized_layers() -> None:
    torch.manual_seed(1)
    layer = nn.GRU(3, 4).double()
    torch.nn.utils.parametrizations.weight_norm(layer, "weight_ih_l0")
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    expected = layer(x)
    assert fast.accelerate(layer).swapped == {"": "rnnfast.torch.GRU"}
    assert isinstance(layer, fast.GRU)
    assert_near(layer(x), expected)
    fast.restore(layer)
    assert isinstance(layer, nn.GRU)
    assert_near(layer(x), expected)


def test_a_forward_of_its_own_stays() -> None:
    layer = nn.GRU(3, 4)
    layer.forward = lambda x: x
    assert fast.accelerate(layer).left == {"": "it has a forward of its own"}
    assert type(layer) is nn.GRU
