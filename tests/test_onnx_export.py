"""`rnnfast.onnx.export`: onnxruntime computes what layers and language models compute."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

import onnx

import cases
import onnx_models
import rnnfast
import rnnfast.onnx
from cases import Case
from layer_cases import learning
from rnnfast import functional, reference
from rnnfast._engine.known import COMPILED
from rnnfast._engine.onnx_layout import OPERATORS
from rnnfast.training import CharLM, CharLMConfig, Vocabulary

STATES = ("h", "c")


def run_exported(model: Any, case: Case, *, batch_first: bool = False) -> dict[str, np.ndarray]:
    """Return onnxruntime's results on the case's data, time first."""
    d = cases.make_data(case)
    feeds = {"x": d.x.swapaxes(0, 1) if batch_first else d.x}
    feeds |= {f"{s}0": value for s, value in zip(STATES, d.state, strict=False)}
    if d.lengths is not None:
        feeds["lengths"] = d.lengths.astype(np.int32)
    outputs = ["y", *(f"{s}n" for s in STATES[: len(d.state)])]
    y, *final = onnx_models.run_onnxruntime(model, feeds, outputs).values()
    results = {"y": y.swapaxes(0, 1) if batch_first else y}
    return results | {f"state[{k}]": s for k, s in enumerate(final)}


def check(model: Any, case: Case, *, batch_first: bool = False) -> None:
    results = run_exported(model, case, batch_first=batch_first)
    expected = cases.run_engine(case)
    expected = {name: expected[name] for name in results}
    errors = {name: 2 * error for name, error in cases.plain_errors(case).items()}
    cases.assert_close(results, expected, errors, case)  # both sides have errors


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize(
    "case",
    [
        Case(cell, T=6, B=4, I=5, H=hidden, L=layers, D=directions, bias=bias)
        for cell, (layers, hidden, bias), directions in itertools.product(
            OPERATORS, ((1, 17, True), (1, 3, False), (3, 8, True)), (1, 2)
        )
    ],
    ids=str,
)
def test_onnxruntime_computes_the_layer(case: Case, lengths: bool) -> None:
    """Lengths, some of them 0, are given or not; layers with biases are batch-first."""
    case = replace(case, lengths=lengths)
    layer = cases.make_layer(case, batch_first=case.bias).eval()
    model = rnnfast.onnx.to_model(layer, lengths=lengths)
    check(model, case, batch_first=case.bias)
    again = rnnfast.onnx.to_layer(*rnnfast.onnx.load(model))
    cases.assert_identical(again.state_dict(), layer.state_dict())


@pytest.mark.parametrize("cell", OPERATORS)
def test_one_graph_for_all_sizes_of_batch_and_time(cell: str) -> None:
    layer = rnnfast.Recurrent(cell, 5, 9, 2, bidirectional=True, batch_first=True, seed=3).eval()
    session = onnx_models.session(rnnfast.onnx.to_model(layer))
    rng = np.random.default_rng(4)
    states = functional.cells()[cell].states
    for T, B in ((1, 1), (13, 2), (2, 7)):
        x = rng.standard_normal((B, T, 5)).astype(np.float32)
        zeros = np.zeros((4, B, 9), np.float32)
        feeds = {"x": x} | {f"{s}0": zeros for s in STATES[:states]}
        y, *final = session.run(None, feeds)
        assert y.shape == (B, T, 18)
        expected, state = layer(x)
        np.testing.assert_allclose(y, expected, rtol=0, atol=2e-6)
        state = state if states > 1 else (state,)
        for got, values in zip(final, state, strict=True):
            np.testing.assert_allclose(got, values, rtol=0, atol=2e-6)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("cell", OPERATORS)
def test_a_learned_state_is_the_default_of_the_graphs_inputs(
    cell: str, lengths: bool, layers: int
) -> None:
    case = Case(cell, T=6, B=4, I=5, H=9, L=layers, D=2, lengths=lengths)
    layer = learning(case, batch_first=lengths).eval()
    model = rnnfast.onnx.to_model(layer, lengths=lengths)
    check(model, case, batch_first=lengths)  # with initial states given
    session = onnx_models.session(model)
    for batch in (1, 7):
        x = np.random.default_rng(batch).standard_normal((6, batch, 5)).astype(np.float32)
        x = x.swapaxes(0, 1) if lengths else x
        ends = np.arange(batch, dtype=np.int32) % 7 if lengths else None
        y, *final = session.run(None, {"x": x} | ({"lengths": ends} if lengths else {}))
        expected, state = layer(x, None, ends)
        np.testing.assert_allclose(y, expected, rtol=0, atol=2e-6)
        for got, values in zip(final, state if len(final) > 1 else (state,), strict=True):
            np.testing.assert_allclose(got, values, rtol=0, atol=2e-6)
    again = rnnfast.onnx.to_layer(*rnnfast.onnx.load(model))
    cases.assert_identical(again.state_dict(), layer.state_dict())


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("embedding_size", [0, 6])
def test_onnxruntime_computes_the_language_model(
    cell: str, embedding_size: int, tmp_path: Path
) -> None:
    config = CharLMConfig(cell, 17, 2, embedding_size)
    model = CharLM(Vocabulary("\n abcdé☃"), config, seed=5).eval()
    rnnfast.onnx.export(model, tmp_path / "model.onnx")
    loaded = onnx.load(tmp_path / "model.onnx")
    assert {p.key: p.value for p in loaded.metadata_props} == {"vocabulary": "\n abcdé☃"}
    rng = np.random.default_rng(6)
    x = rng.integers(0, 8, (9, 3))
    states = functional.cells()[cell].states
    initial = tuple(rng.standard_normal((2, 3, 17)).astype(np.float32) for _ in range(states))
    logits, state = model(x, initial if states > 1 else initial[0])
    names = ["logits", *(f"{s}n" for s in STATES[:states])]
    results = onnx_models.run_onnxruntime(
        loaded, {"x": x} | dict(zip(("h0", "c0"), initial, strict=False)), names
    )

    def in_numpy(dtype: type) -> list[np.ndarray]:
        w = model.state_dict()
        rows = np.eye(8)[x] if embedding_size == 0 else w["embedding.weight"][x]
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weights = [[*(w[f"recurrent.{kind}_l{k}"] for kind in kinds), None] for k in range(2)]
        network = reference.Network(reference.CELLS[cell], rows, weights, initial, dtype=dtype)
        head = w["head.weight"].astype(dtype), w["head.bias"].astype(dtype)
        return [network.y @ head[0].T + head[1], *network.state]

    exact = dict(zip(names, in_numpy(np.float64), strict=True))
    plain = dict(zip(names, in_numpy(np.float32), strict=True))
    errors = {name: cases.worst(plain[name], exact[name]) for name in names}
    task = cases.Task("float32", 17)
    cases.assert_close(results, exact, {name: 2 * e for name, e in errors.items()}, task)
    ours = dict(zip(names, (logits, *(state if states > 1 else (state,))), strict=True))
    cases.assert_close(ours, exact, errors, task)


def test_dropout_and_training_mode_are_left_out() -> None:
    case = Case("gru", T=6, B=4, L=2)
    layer = cases.make_layer(case, dropout=0.9)
    check(rnnfast.onnx.to_model(layer), case)


def test_types_that_onnxruntime_lacks_are_asked_for() -> None:
    case = Case("lstm", T=6, B=4, dtype="float64")
    wide = cases.make_layer(case)
    rounding = cases.make_layer(replace(case, dtype="float32", precision="bfloat16"))
    for layer, words in (
        (wide, "a float64 model with precision 'full'"),
        (rounding, "a float32 model with precision 'bfloat16'"),
    ):
        with pytest.raises(TypeError, match=f"dtype: expected 'float32', .* for {words}, got"):
            rnnfast.onnx.to_model(layer)
    rounded = rnnfast.onnx.to_model(wide, dtype="float32")
    check(rounded, replace(case, dtype="float32"))
    kept = rnnfast.onnx.to_model(wide, dtype=np.float64)
    again = rnnfast.onnx.to_layer(*rnnfast.onnx.load(kept))
    cases.assert_identical(again.state_dict(), wide.state_dict())
    with pytest.raises(TypeError, match="dtype: expected float32 or float64, got float16"):
        rnnfast.onnx.to_model(wide, dtype=np.float16)


@pytest.mark.parametrize("cell", sorted(set(COMPILED) - OPERATORS.keys()))
def test_cells_that_onnx_lacks(cell: str, tmp_path: Path) -> None:
    expected = f"model: expected a cell that ONNX has, one of rnn_tanh, .*, got '{cell}'"
    with pytest.raises(ValueError, match=expected):
        rnnfast.onnx.export(rnnfast.Recurrent(cell, 3, 4), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_zoneout_is_refused() -> None:
    layer = rnnfast.LSTM(3, 4, zoneout=(0.0, 0.1), input_dropout=0.5)
    with pytest.raises(
        ValueError, match=r"model: expected a layer without zoneout, .*\(0\.0, 0\.1\)"
    ):
        rnnfast.onnx.to_model(layer)
    layer.zoneout = (0.0, 0.0)
    rnnfast.onnx.to_model(layer)


def test_other_models_and_lengths_of_a_language_model() -> None:
    with pytest.raises(TypeError, match=r"model: expected rnnfast\.Recurrent or .*, got Linear"):
        rnnfast.onnx.to_model(rnnfast.Linear(2, 3))
    model = CharLM(Vocabulary("ab"), CharLMConfig(hidden_size=3))
    with pytest.raises(ValueError, match="lengths: expected False for a language model, got True"):
        rnnfast.onnx.to_model(model, lengths=True)


def test_a_failed_export_leaves_the_file_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed export leaves no file beside it, and refuses a target that is not a regular file."""
    path = tmp_path / "layer.onnx"
    rnnfast.onnx.export(rnnfast.GRU(3, 4, seed=1), path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    other = rnnfast.GRU(3, 4, seed=2)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            rnnfast.onnx.export(other, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="it is a character device, not a regular file"):
        rnnfast.onnx.export(rnnfast.GRU(3, 4), "/dev/null")
