"""What runtimes make of exported models: the table of docs/onnx.md, and `portable=True`."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

import cases
import rnnfast
import rnnfast.onnx
from cases import Case
from layer_cases import learning
from onnx_runtimes import RUNTIMES
from rnnfast._engine.onnx_layout import OPERATORS
from rnnfast.onnx.portable import LOSSES
from rnnfast.training import CharLM, CharLMConfig, Vocabulary

PAGE = Path(__file__).parent.parent / "docs" / "onnx.md"
PORTABLE = [cell for cell in OPERATORS if cell not in LOSSES]


class Exported(NamedTuple):
    """A model, its inputs and the results that a runtime should return."""

    model: Any
    feeds: dict[str, np.ndarray]
    expected: list[np.ndarray]


def exported(case: Case, *, portable: bool = False, **options: Any) -> Exported:
    return of_layer(cases.make_layer(case, **options).eval(), case, portable)


def of_layer(layer: rnnfast.Recurrent, case: Case, portable: bool = False) -> Exported:
    """Export a layer. In a batch with lengths, the padding is NaN if the export is portable."""
    model = rnnfast.onnx.to_model(layer, lengths=case.lengths, portable=portable)
    d = cases.make_data(case)
    y, final = layer(time_first(layer, d.x), as_state(d.state), d.lengths)
    x, feeds = d.x.copy(), {}
    if d.lengths is not None:
        feeds["lengths"] = d.lengths.astype(np.int32)
        if portable:
            x[np.arange(case.T)[:, None] >= d.lengths] = np.nan
    feeds |= {"x": time_first(layer, x)}
    feeds |= {f"{name}0": value for name, value in zip("hc", d.state, strict=False)}
    names = [value.name for value in model.graph.input]
    return Exported(model, {name: feeds[name] for name in names}, [y, *as_tuple(final)])


def time_first(layer: rnnfast.Recurrent, x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.swapaxes(0, 1)) if layer.batch_first else x


def as_state(state: Any) -> Any:
    return state if len(state) > 1 else state[0]


def as_tuple(state: Any) -> tuple[np.ndarray, ...]:
    return state if isinstance(state, tuple) else (state,)


def from_the_learned_state(portable: bool = False) -> Exported:
    case = Case("lstm", L=2)
    layer = learning(case).eval()
    model, feeds, _ = of_layer(layer, case)
    y, final = layer(feeds["x"])
    if portable:
        model = rnnfast.onnx.to_model(layer, portable=True)
    return Exported(model, {"x": feeds["x"]}, [y, *as_tuple(final)])


def language_model(portable: bool = False) -> Exported:
    model = CharLM(Vocabulary("\n abcd"), CharLMConfig("lstm", 8, 2), seed=5).eval()
    x = np.random.default_rng(6).integers(0, 6, (9, 3))
    logits, final = model(x)
    zeros = np.zeros((2, 3, 8), np.float32)
    feeds = {"x": x, "h0": zeros, "c0": zeros}
    return Exported(rnnfast.onnx.to_model(model, portable=portable), feeds, [logits, *final])


ROWS: dict[str, list[Callable[[], Exported]]] = {
    "`lstm`, `gru`, `gru_reset_before`, `rnn_tanh` in one or both directions": [
        lambda cell=cell, D=D: exported(Case(cell, L=2, D=D), batch_first=D == 2)
        for cell, D in itertools.product(PORTABLE, (1, 2))
    ],
    "`CharLM`": [language_model],
    "`rnn_relu`": [lambda: exported(Case("rnn_relu"))],
    "`peephole_lstm`": [lambda: exported(Case("peephole_lstm"))],
    "`lengths=True`": [
        lambda cell=cell: exported(Case(cell, T=6, B=4, lengths=True)) for cell in PORTABLE
    ],
    "`learn_state=True`, from the learned state": [from_the_learned_state],
    "`learn_state=True`, from a state that is given": [
        lambda: of_layer(learning(Case("lstm", L=2)).eval(), Case("lstm", L=2))
    ],
    "any with `portable=True`": [
        *(
            lambda cell=cell, D=D, L=L: exported(
                Case(cell, T=70, B=5, L=L, D=D, lengths=True), portable=True, batch_first=L == 2
            )
            for cell, (D, L) in itertools.product(PORTABLE, ((1, 1), (2, 2)))
        ),
        lambda: exported(Case("gru", D=2), portable=True),
        lambda: from_the_learned_state(portable=True),
        lambda: language_model(portable=True),
    ],
}


def table() -> dict[tuple[str, str], str]:
    """Return the table of the page: what it says by the names of row and column."""
    lines = re.findall(r"^\|(.*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    start = next(k for k, row in enumerate(cells) if row[1:] == list(RUNTIMES))
    rows = itertools.takewhile(lambda row: len(row) == len(cells[start]), cells[start + 2 :])
    return {(row[0], c): cell for row in rows for c, cell in zip(RUNTIMES, row[1:], strict=True)}


def outcome(runtime: str, case: Exported) -> str:
    """Return whether the results of a runtime are right or wrong, or whether it refuses a model."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = RUNTIMES[runtime](case.model, case.feeds)
    except Exception:  # each runtime raises errors of its own
        return "refused"
    error = 0.0
    for got, expected in zip(results, case.expected, strict=True):
        assert got.shape == expected.shape
        error = max(error, cases.worst(got, expected))
    # Padding changes the c of an LSTM in tract, whose logistic function is never 0 or 1.
    seq_len = max(case.expected[0].shape[:2])
    allowed = 1e-5 + (1e-6 * seq_len if runtime == "tract" else 0)
    assert error < allowed or error > 1e-3, error
    return "right" if error < allowed else "wrong"


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("row", ROWS)
def test_the_table_is_true(row: str, runtime: str) -> None:
    """Runtimes may have changed where it fails: then change the table, `LOSSES` and `losses`."""
    outcomes = {outcome(runtime, make()) for make in ROWS[row]}
    assert outcomes == {table()[row, runtime]}


def test_the_table_is_complete() -> None:
    assert list(dict.fromkeys(row for row, _ in table())) == list(ROWS)
    portable = {cell for (row, _), cell in table().items() if "portable" in row}
    assert portable == {"right"}


def test_the_export_warns_of_what_is_lost(tmp_path: Path) -> None:
    """It names the runtimes; what every runtime obeys causes no warning."""
    path = tmp_path / "model.onnx"
    words = {
        "lengths": "OpenVINO, unless the sizes of time and batch are fixed, .* ignore the lengths",
        "rnn_relu": "tract computes tanh instead of Relu",
        "peephole_lstm": "OpenVINO ignores the peepholes",
        "learn_state": "OpenVINO and tract make constants of initial states",
    }
    for name, message in words.items():
        cell = name if name in LOSSES else "gru"
        layer = rnnfast.Recurrent(cell, 3, 4, learn_state=name == "learn_state")
        with pytest.warns(UserWarning, match=f"not every runtime obeys this file: {message}"):
            rnnfast.onnx.export(layer, path, lengths=name == "lengths")
        if name in LOSSES:
            with pytest.raises(
                ValueError, match=f"portable: expected a cell .* '{cell}': {message}"
            ):
                rnnfast.onnx.export(layer, path, portable=True)
        else:
            rnnfast.onnx.export(layer, path, lengths=name == "lengths", portable=True)
    rnnfast.onnx.export(rnnfast.LSTM(3, 4, bidirectional=True), path)


def test_a_portable_file_of_a_float64_layer() -> None:
    """Masks have the type of the model; rnnfast itself runs the file as exactly as the layer."""
    case = Case("lstm", T=6, B=4, L=2, D=2, dtype="float64", lengths=True)
    layer = cases.make_layer(case).eval()
    model = rnnfast.onnx.to_model(layer, lengths=True, dtype="float64", portable=True)
    d = cases.make_data(case)
    feeds = {"x": d.x, "lengths": d.lengths.astype(np.int32), "h0": d.state[0], "c0": d.state[1]}
    results = rnnfast.onnx.Session(model).run(None, feeds)
    y, final = layer(d.x, d.state, d.lengths)
    for got, expected in zip(results, (y, *final), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-14)
