"""The public interface of the package: signatures, lazily loaded parts, and repr."""

from __future__ import annotations

import inspect
import pydoc
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import rnnfast
from layer_cases import NAMED

# PyTorch's layers take these by position; only RNN has nonlinearity, in the fourth place.
POSITIONAL = ["input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout"]
POSITIONAL += ["bidirectional"]
KEYWORDS = ["recompute", "learn_state", "context_size", "zoneout", "input_dropout"]
KEYWORDS += ["recurrent_dropout", "dtype", "precision", "seed", "device"]


@pytest.mark.parametrize("kind", [rnnfast.RNN, rnnfast.LSTM, rnnfast.PeepholeLSTM, rnnfast.GRU])
def test_help_shows_the_arguments_of_a_layer(kind: Any) -> None:
    parameters = inspect.signature(kind).parameters
    lstm = ["proj_size", "candidate_dropout"]
    gru = ["reset_after", "candidate_dropout"]
    own = {rnnfast.RNN: ["nonlinearity"], rnnfast.GRU: gru}.get(kind, lstm)
    assert set(parameters) == {*POSITIONAL, *own, *KEYWORDS}
    by_position = [n for n, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [n for n in by_position if n != "nonlinearity"] == POSITIONAL
    general = inspect.signature(rnnfast.Recurrent).parameters
    for name in (*POSITIONAL, *KEYWORDS):
        assert parameters[name].default == general[name].default, name
    for name in general:
        described = name in parameters
        assert (f"\n    {name}: " in str(kind.__doc__)) == described, name


@pytest.mark.parametrize("cell", NAMED)
def test_a_layer_takes_arguments_in_the_order_of_torch(cell: str) -> None:
    kind, options = NAMED[cell]
    place = {"RNN": [options.get("nonlinearity", "tanh")]}.get(kind.__name__, [])
    reset = {n: v for n, v in options.items() if n == "reset_after"}
    layer = kind(3, 5, 2, *place, False, True, 0.25, True, seed=1, **reset)
    assert layer.cell == cell
    assert (layer.bias, layer.batch_first) == (False, True)
    assert (layer.dropout, layer.bidirectional) == (0.25, True)
    assert not any(name.startswith("bias") for name in layer.state_dict())


@pytest.mark.parametrize("name", ["bias", "batch_first", "bidirectional"])
def test_a_number_in_the_place_of_a_flag_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name}: expected True or False, got 0.5"):
        rnnfast.LSTM(3, 5, 2, **{name: 0.5})


@pytest.mark.parametrize(
    "make",
    [
        lambda: rnnfast.Recurrent("nas", 3, 5, dropout=0.5),
        lambda: rnnfast.RNN(3, 5, dropout=0.5),
        lambda: rnnfast.LSTM(3, 5, dropout=0.5),
        lambda: rnnfast.PeepholeLSTM(3, 5, dropout=0.5),
        lambda: rnnfast.GRU(3, 5, dropout=0.5),
    ],
)
def test_dropout_warns_where_it_has_no_effect(make: Any) -> None:
    with pytest.warns(
        UserWarning, match=r"no effect with num_layers = 1, as .* layers, got 0.5"
    ) as w:
        make()
    assert w[0].filename == __file__  # the warning points to the user's line
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rnnfast.LSTM(3, 5, 2, dropout=0.5)


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_parts_of_the_package_load_themselves_on_use() -> None:
    run(
        "import sys, rnnfast\n"
        "others = ('torch', 'onnx', 'rnnfast.training', 'rnnfast.decoding', 'safetensors')\n"
        "assert not [name for name in others if name in sys.modules]\n"
        "assert 'training' in dir(rnnfast)\n"
        "assert not [name for name in others if name in sys.modules]\n"
        "rnnfast.training.CharLM\n"
    )
    with pytest.raises(AttributeError, match="module 'rnnfast' has no attribute 'trainer'"):
        _ = rnnfast.trainer


@pytest.mark.parametrize(
    ("part", "attribute"), [("torch", "GRU"), ("onnx", "export"), ("sklearn", "Forecaster")]
)
def test_doors_to_other_libraries_load_themselves_on_use(part: str, attribute: str) -> None:
    pytest.importorskip(part, reason=f"{part} is not installed")
    assert part in dir(rnnfast)
    run(f"import rnnfast; rnnfast.{part}.{attribute}")


def test_a_missing_library_is_named_on_use_and_not_listed() -> None:
    run(
        "import importlib.util, sys\n"
        "there = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'onnx' else there(name)\n"
        "import rnnfast\n"
        "assert 'onnx' not in dir(rnnfast)\n"
        "try:\n"
        "    rnnfast.onnx\n"
        "except ImportError as error:\n"
        "    assert 'needs the package onnx' in str(error)\n"
        "else:\n"
        "    raise AssertionError\n"
    )


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: rnnfast.GRU(3, 4, num_layers=2), "GRU(3, 4, num_layers=2)"),
        (lambda: rnnfast.GRU(3, 4, reset_after=False), "GRU(3, 4, reset_after=False)"),
        (lambda: rnnfast.RNN(3, 4, 1, "relu", False), "RNN(3, 4, bias=False, nonlinearity='relu')"),
        (lambda: rnnfast.PeepholeLSTM(3, 4), "PeepholeLSTM(3, 4)"),
        (
            lambda: rnnfast.LSTM(3, 4, 2, True, True, 0.5, True, recompute=8),
            "LSTM(3, 4, num_layers=2, batch_first=True, dropout=0.5, bidirectional=True, "
            "recompute=8)",
        ),
        (lambda: rnnfast.Recurrent("nas", 3, 4), "Recurrent('nas', 3, 4)"),
        (lambda: rnnfast.GRU(3, 4, precision="bfloat16"), "GRU(3, 4, precision='bfloat16')"),
        (lambda: rnnfast.GRU(3, 4, dtype="float64"), "GRU(3, 4, dtype='float64')"),
        (lambda: rnnfast.GRU(3, 4, learn_state=True), "GRU(3, 4, learn_state=True)"),
        (lambda: rnnfast.Linear(3, 4), "Linear(3, 4)"),
        (lambda: rnnfast.Linear(3, 4, bias=False), "Linear(3, 4, bias=False)"),
        (lambda: rnnfast.Embedding(30, 4), "Embedding(30, 4)"),
        (lambda: rnnfast.Module(), "Module()"),
        (
            lambda: rnnfast.GRU(3, 4).weight_ih_l0,
            "Parameter(weight_ih_l0, shape=(12, 3), dtype=float32)",
        ),
        (
            lambda: rnnfast.Adam(rnnfast.Linear(3, 400), lr=0.01),
            "Adam(2 parameters of 1,600 values, lr=0.01, weight_decay=0.0, steps=0, eps=1e-08, "
            "betas=(0.9, 0.999))",
        ),
        (
            lambda: rnnfast.SGD(rnnfast.Linear(3, 4), momentum=0.9),
            "SGD(2 parameters of 16 values, lr=0.001, weight_decay=0.0, steps=0, momentum=0.9, "
            "nesterov=False)",
        ),
        (
            lambda: rnnfast.StepDecay(rnnfast.SGD(rnnfast.Linear(3, 4)), 5),
            "StepDecay(every=5, factor=0.1, base_lr=0.001, steps=0)",
        ),
        (
            lambda: rnnfast.ReduceOnPlateau(rnnfast.SGD(rnnfast.Linear(3, 4))),
            "ReduceOnPlateau(factor=0.1, patience=10, threshold=0.0001, min_lr=0.0, best=inf, "
            "bad_steps=0)",
        ),
    ],
)
def test_what_is_printed_tells_what_it_is(make: Any, expected: str) -> None:
    printed = re.sub(", device='?[a-z]+'?", "", repr(make()))  # the tests may choose another device
    assert printed == expected


def test_a_model_prints_its_layers_below_each_other() -> None:
    class Encoder(rnnfast.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [rnnfast.GRU(3, 4), rnnfast.GRU(4, 4)]

    class Model(rnnfast.Module):
        def __init__(self) -> None:
            super().__init__()
            self.size = 4
            self.encoder = Encoder()
            self.head = rnnfast.Linear(4, 2)

        def extra_repr(self) -> str:
            return f"size={self.size}"

    printed = re.sub(", device='?[a-z]+'?", "", repr(Model()))
    assert printed == (
        "Model(\n"
        "  size=4\n"
        "  (encoder): Encoder(\n"
        "    (layers.0): GRU(3, 4)\n"
        "    (layers.1): GRU(4, 4)\n"
        "  )\n"
        "  (head): Linear(4, 2)\n"
        ")"
    )


@pytest.mark.parametrize("layer", [rnnfast.RNN, rnnfast.LSTM, rnnfast.PeepholeLSTM, rnnfast.GRU])
def test_help_of_a_layer_explains_its_arguments_and_the_rule_of_training(layer: type) -> None:
    text = pydoc.plain(pydoc.render_doc(layer))
    assert inspect.getdoc(layer).splitlines()[0] in text
    for name in inspect.signature(layer).parameters:
        assert len(re.findall(rf"^ \|      {name}: ", text, re.MULTILINE)) == 1, name
    assert "x, the initial state and the parameters must not change" in text
    assert "write `y = y + x`, not" in text
    assert " object>" not in text
    assert "cell:" not in text


def test_public_names_are_those_of_the_list() -> None:
    """A difference is a change that users see; `tools/check_api.py --write` accepts it."""
    for package in ("torch", "sklearn", "pandas"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    script = Path(__file__).resolve().parents[1] / "tools" / "check_api.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
