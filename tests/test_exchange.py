"""Weights from and to PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import cases
import rnnfast
from rnnfast.training import CharLM, CharLMConfig, Vocabulary


def test_a_path_instead_of_weights_says_how_to_read_it(tmp_path: Path) -> None:
    layer = rnnfast.LSTM(5, 7)
    for path in ("t.pt", tmp_path / "t.safetensors"):
        with pytest.raises(
            TypeError, match=r"state_dict: .* got the path .*torch\.load\(path, weights_only=True"
        ):
            rnnfast.load_torch_state_dict(layer, path)  # type: ignore[arg-type]


def test_other_things_than_weights() -> None:
    layer = rnnfast.LSTM(5, 7)
    with pytest.raises(
        TypeError, match=r"state_dict: .*got LSTM; pass what its state_dict\(\) ret"
    ):
        rnnfast.load_torch_state_dict(layer, layer)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"state_dict: expected a dict .* got list"):
        rnnfast.load_torch_state_dict(layer, [])  # type: ignore[arg-type]


def test_bfloat16_as_safetensors_reads_it(tmp_path: Path) -> None:
    """Files load through the call that the documentation recommends, into any kind of parameter."""
    layer, head = rnnfast.LSTM(5, 7, seed=1), rnnfast.Linear(7, 3, seed=2)
    for module in (layer, head):
        rounded = {n: v.astype(ml_dtypes.bfloat16) for n, v in module.state_dict().items()}
        save_file(rounded, tmp_path / "weights.safetensors")
        theirs = load_file(tmp_path / "weights.safetensors")
        assert {value.dtype.name for value in theirs.values()} == {"bfloat16"}
        expected = {n: v.astype(np.float32) for n, v in rounded.items()}
        rnnfast.load_torch_state_dict(module, theirs)
        cases.assert_identical(module.state_dict(), expected)
        module.load_state_dict(theirs)
        cases.assert_identical(module.state_dict(), expected)


def test_state_dict_of_arrays() -> None:
    source, layer = rnnfast.LSTM(5, 7, 2, seed=1), rnnfast.LSTM(5, 7, 2, seed=2)
    whole = {f"encoder.rnn.{n}": a for n, a in source.state_dict().items()} | {"head.weight": 1}
    rnnfast.load_torch_state_dict(layer, whole, prefix="encoder.rnn")
    cases.assert_identical(layer.state_dict(), source.state_dict())


def test_state_dict_errors() -> None:
    layer = rnnfast.GRU(5, 7, seed=1).eval()
    layer(np.zeros((1, 1, 5), np.float32))  # makes its parameters read-only
    before = layer.state_dict()
    theirs = {f"rnn.{name}": a for name, a in before.items()}
    theirs["rnn.weight_hr_l0"] = theirs.pop("rnn.weight_hh_l0")
    with pytest.raises(
        ValueError,
        match=r"state_dict: missing 'rnn\.weight_hh_l0'; unexpected 'rnn\.weight_hr_l0'",
    ):
        rnnfast.load_torch_state_dict(layer, theirs, prefix="rnn")
    with pytest.raises(ValueError, match=r"state_dict: missing 'decoder\.weight_ih_l0'"):
        rnnfast.load_torch_state_dict(layer, theirs, prefix="decoder")
    with pytest.raises(
        ValueError, match=r"weight_hh_l0: expected shape .* = \(21, 7\), got \(7, 21\)"
    ):
        rnnfast.load_torch_state_dict(layer, before | {"weight_hh_l0": before["weight_hh_l0"].T})
    cases.assert_identical(layer.state_dict(), before)


class TestWithPyTorch:
    """Tensors of PyTorch's modules, and what the modules compute."""

    @pytest.fixture(autouse=True)
    def find_torch(self) -> None:
        self.torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")
        self.torch.manual_seed(0)

    def test_layers(self) -> None:
        for kind in ("RNN", "LSTM", "GRU"):
            options = {"num_layers": 2, "bidirectional": True}
            module = getattr(self.torch.nn, kind)(5, 7, **options)
            layer = getattr(rnnfast, kind)(5, 7, **options)
            rnnfast.load_torch_state_dict(layer, module.state_dict())
            x = self.torch.randn(6, 4, 5)
            expected = module(x)[0].detach().numpy()
            np.testing.assert_allclose(layer(x.numpy())[0], expected, rtol=0, atol=1e-6)
            other = getattr(self.torch.nn, kind)(5, 7, **options)
            other.load_state_dict(rnnfast.to_torch_state_dict(layer))
            assert self.torch.equal(other(x)[0], module(x)[0])

    @pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
    def test_cells(self, kind: str) -> None:
        cell = getattr(self.torch.nn, f"{kind}Cell")(5, 7)
        layer = getattr(rnnfast, kind)(5, 7)
        rnnfast.load_torch_state_dict(layer, cell.state_dict())
        x = self.torch.randn(4, 5)
        expected = cell(x)[0] if kind == "LSTM" else cell(x)
        y, _ = layer(x.numpy()[None])
        np.testing.assert_allclose(y[0], expected.detach().numpy(), rtol=0, atol=1e-6)

    def test_parameters_and_other_types(self) -> None:
        """Tensors that need a gradient load, as do those in bfloat16, float16 and float64."""
        module = self.torch.nn.GRU(5, 7)
        layer = rnnfast.GRU(5, 7)
        for dtype in (self.torch.bfloat16, self.torch.float16, self.torch.float64):
            theirs = dict(module.to(dtype).named_parameters())
            rnnfast.load_torch_state_dict(layer, theirs)
            for name, value in layer.state_dict().items():
                expected = theirs[name].detach().float().numpy()
                np.testing.assert_array_equal(value, expected)

    def test_a_whole_model(self) -> None:
        """A PyTorch model with the attributes of a language model converts in both directions."""
        nn = self.torch.nn

        class Model(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.embedding = nn.Embedding(4, 6)
                self.recurrent = nn.GRU(6, 7, 2)
                self.head = nn.Linear(7, 4)

            def forward(self, x: Any) -> Any:
                return self.head(self.recurrent(self.embedding(x))[0])

        config = CharLMConfig("gru", 7, 2, embedding_size=6)
        model, ours = Model(), CharLM(Vocabulary("abcd"), config).eval()
        rnnfast.load_torch_state_dict(ours, model.state_dict())
        x = self.torch.randint(0, 4, (6, 3))
        expected = model(x).detach().numpy()
        np.testing.assert_allclose(ours(x.numpy())[0], expected, rtol=0, atol=2e-6)
        other = nn.ModuleDict({"net": Model()})
        other.load_state_dict(rnnfast.to_torch_state_dict(ours, prefix="net"))
        assert self.torch.equal(other["net"](x), model(x))
        with pytest.raises(
            ValueError, match=r"missing 'embedding\.weight', 'recurrent\.weight_ih_l0'"
        ):
            rnnfast.load_torch_state_dict(ours, nn.GRU(6, 7, 2).state_dict())
