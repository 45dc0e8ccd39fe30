"""A published model, silero-vad: its trained LSTM, loaded from PyTorch and from ONNX.

The package contains the model as TorchScript, as ONNX (once with two sampling rates in the branches
of an `If`, once as a plain graph), and an older training of it as safetensors. The tests read these
files without importing the package, since it imports PyTorch.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import cases
import rnnfast
from rnnfast import reference

SPEC = importlib.util.find_spec("silero_vad")
if SPEC is None or SPEC.origin is None:
    pytest.skip("silero-vad is not installed", allow_module_level=True)
DATA = Path(SPEC.origin).parent / "data"
PREFIXES = {"16k": "_model.decoder.rnn", "8k": "_model_8k.decoder.rnn"}


def near(
    layer: rnnfast.Recurrent, x: np.ndarray, state: tuple[np.ndarray, ...], peer: list[np.ndarray]
) -> None:
    """Check the layer's y, h and c against float64 NumPy and a peer, which has errors as well."""
    y, final = layer(x, state)
    names = ("y", "h", "c")
    results = dict(zip(names, (y, *final), strict=True))

    def in_numpy(dtype: type) -> dict[str, np.ndarray]:
        weights = [layer.state_dict()[p.name] for p in layer.parameters()]
        cell = reference.CELLS["lstm"]
        network = reference.Network(cell, x, [(*weights, None)], state, dtype=dtype)
        return dict(zip(names, (network.y, *network.state), strict=True))

    exact, plain = in_numpy(np.float64), in_numpy(np.float32)
    errors = {name: cases.worst(plain[name], exact[name]) for name in names}
    task = cases.Task("float32", layer.hidden_size)
    cases.assert_close(results, exact, errors, task)
    doubled = {name: 2 * error for name, error in errors.items()}
    cases.assert_close(results, dict(zip(names, peer, strict=True)), doubled, task)


def random_state(batch: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(1)
    return tuple((0.5 * rng.standard_normal((1, batch, 128))).astype(np.float32) for _ in "hc")


def sound(seconds: float) -> np.ndarray:
    """Return a sound with pitch, formants and pauses, at 16,000 values per second."""
    rng = np.random.default_rng(2)
    t = np.arange(int(16000 * seconds)) / 16000
    voice = sum(np.sin(2 * np.pi * 140 * k * t + k) / k for k in range(1, 25))
    loudness = np.clip(np.sin(2 * np.pi * 1.5 * t), 0, 1)
    return (0.1 * loudness * voice + 0.003 * rng.standard_normal(t.size)).astype(np.float32)


def framed(values: np.ndarray) -> np.ndarray:
    """Return the model's input: frames of 512 values, each after the last 64 of the one before."""
    frames = values[: values.size // 512 * 512].reshape(-1, 512)
    before = np.concatenate([np.zeros((1, 64), np.float32), frames[:-1, -64:]])
    return np.concatenate([before, frames], axis=1)


@pytest.fixture
def onnx_door() -> Any:
    pytest.importorskip("onnx", reason="onnx is not installed")
    return importlib.import_module("rnnfast.onnx")


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def jit_state_dict(torch: Any) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        state_dict: dict[str, Any] = torch.jit.load(DATA / "silero_vad.jit").state_dict()
    return {name: w for name, w in state_dict.items() if ".decoder.rnn." in name}


def test_onnx_on_what_the_model_itself_feeds_it(onnx_door: Any) -> None:
    """onnxruntime runs the whole model on sound; its LSTM's own input and output are compared."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    import onnx

    model = onnx.load(DATA / "silero_vad_16k_sequence.onnx")
    (operator,) = (node for node in model.graph.node if node.op_type == "LSTM")
    watched = [operator.input[0], *operator.output]
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(n) for n in watched if n not in known
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    state = random_state(1)
    feeds = {"input": framed(sound(4.0)), "h": state[0], "c": state[1]}
    x, y, h, c = session.run(watched, feeds)
    assert x.shape == (125, 1, 128)
    assert np.abs(x).max() > 0.1
    (node,) = onnx_door.load(model)
    layer = onnx_door.to_layer(node)
    near(layer, x, state, [y[:, 0], h, c])
    ours = node(x, initial_h=state[0], initial_c=state[1])
    np.testing.assert_array_equal(ours[0][:, 0], layer(x, state)[0])


@pytest.mark.parametrize("path", sorted(DATA.glob("*.onnx")), ids=lambda path: path.stem)
def test_whole_models_run_as_in_onnxruntime(onnx_door: Any, path: Path) -> None:
    """The state of one call is the input of the next one, for each rate that the file has."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    theirs = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    ours = onnx_door.Session(path)
    names = [given.name for given in theirs.get_inputs()]
    assert {given.name for given in ours.inputs} == set(names)
    frames = framed(sound(2.0))
    for rate in (
        (16000, 8000) if path.stem in ("silero_vad", "silero_vad_op18_ifless") else (16000,)
    ):
        if "h" in names:
            calls, states = [frames, frames[:7]], dict(zip("hc", random_state(1), strict=True))
        else:
            width = 576 if rate == 16000 else 288
            calls, states = (
                list(frames[:, None, :width]),
                {"state": np.zeros((2, 1, 128), np.float32)},
            )
        for x in calls:
            feeds = {"input": x, **states} | ({"sr": np.array(rate)} if "sr" in names else {})
            expected = theirs.run(None, feeds)
            got = ours.run(None, feeds)
            for a, b in zip(got, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
            states = dict(zip(states, expected[1:], strict=True))


def test_onnx_and_torchscript_give_the_same_weights(onnx_door: Any, torch: Any) -> None:
    """The large model's branches have operators for 8 kHz and 16 kHz, each of them twice."""
    nodes = onnx_door.load(DATA / "silero_vad.onnx")
    rates = ["8k" if "else_branch" in node.name else "16k" for node in nodes]
    assert sorted(rates) == ["16k", "16k", "8k", "8k"]
    theirs = jit_state_dict(torch)
    for rate, node in zip(rates, nodes, strict=True):
        layer = rnnfast.LSTM(128, 128)
        rnnfast.load_torch_state_dict(layer, theirs, prefix=PREFIXES[rate])
        cases.assert_identical(onnx_door.to_layer(node).state_dict(), layer.state_dict())
    for place, rate in (("then", "16k"), ("else", "8k")):
        branch = f"{place}_branch of If node 'If_0'"
        chosen = [r for r, n in zip(rates, nodes, strict=True) if branch in n.branches]
        assert chosen == [rate, rate]
    with pytest.raises(ValueError, match="choose operators of the same branch"):
        onnx_door.to_layer(*nodes)


@pytest.mark.parametrize("source", ["safetensors", *PREFIXES])
def test_pytorch_computes_the_same(torch: Any, source: str) -> None:
    if source == "safetensors":
        theirs, prefix = load_file(DATA / "silero_vad_16k.safetensors"), "lstm_cell"
    else:
        theirs, prefix = jit_state_dict(torch), PREFIXES[source]
    layer = rnnfast.LSTM(128, 128).eval()
    rnnfast.load_torch_state_dict(layer, theirs, prefix)
    module = torch.nn.LSTM(128, 128)
    module.load_state_dict(rnnfast.to_torch_state_dict(layer))
    x = np.maximum(np.random.default_rng(3).standard_normal((40, 5, 128)), 0).astype(np.float32)
    state = random_state(5)
    with torch.inference_mode():
        y, final = module(torch.from_numpy(x), tuple(map(torch.from_numpy, state)))
    near(layer, x, state, [y.numpy(), *(s.numpy() for s in final)])
