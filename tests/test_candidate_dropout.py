"""Dropout of the candidate: `candidate_dropout`, and `x.candidate(v)` in the steps of cells."""

from __future__ import annotations

import copy
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cases
import noise_cases as noise
import rnnfast
from cases import Case
from philox import philox
from rnnfast import functional, traced
from rnnfast._engine import known
from rnnfast._engine.known import has_candidate
from rnnfast.cells import ZOO, sigmoid, tanh
from rnnfast.reference import CELLS
from sequence_cases import DTYPES

PAGE = (Path(__file__).parent.parent / "docs" / "cells.md").read_text(encoding="utf-8")
(SENTENCE,) = re.findall(r"without a candidate:(.*?)\.\n", PAGE, re.S)
WITHOUT = re.findall(r"`(\w+)`", SENTENCE)
WITH = [name for name in ZOO if has_candidate(name)]
COMPILED = [name for name in CELLS if has_candidate(name)]
# Cells of the zoo: one that reads the input itself, one with norms and parameters, one without
# recurrent products, and one with many states.
SOME = [*COMPILED, "mut1", "layer_norm_lstm", "brc", "slstm"]
P: dict[str, Any] = {"candidate_dropout": 0.3}
ALL: dict[str, Any] = {**noise.KINDS["all"], **P}


def mixer(name: str = "mixer", *, marks: str = "n") -> rnnfast.Cell:
    """Return a cell with a candidate n, in which n or its argument is marked as the candidate."""

    def step(x: Any, recurrent: Any, state: Any, _channel: Any) -> Any:
        (h,) = state
        h_z, h_n = recurrent(h)
        z, a = sigmoid(x[0] + h_z), x[1] + h_n
        n = tanh(x.candidate(a)) if marks == "argument" else tanh(a)
        return (z * h + (1 - z) * (x.candidate(n) if marks == "n" else n),)

    return rnnfast.Cell(name, step, gates=2)


def test_the_page_lists_every_cell_without_a_candidate() -> None:
    assert sorted(WITHOUT) == sorted(name for name in ZOO if not has_candidate(name))


@pytest.mark.parametrize("cell", WITHOUT)
def test_the_cells_that_the_page_names_have_no_candidate(cell: str) -> None:
    assert not has_candidate(cell)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", noise.SIZES)
@pytest.mark.parametrize("cell", SOME)
def test_results_are_those_of_the_reference(cell: str, size: str, dtype: str) -> None:
    case = noise.made(cell, dtype=dtype, **noise.SIZES[size])
    noise.assert_as_reference(case, **P)


@pytest.mark.parametrize("cell", [name for name in WITH if name not in SOME])
def test_every_cell_of_the_zoo(cell: str) -> None:
    noise.assert_as_reference(noise.made(cell, T=4, B=3, H=9), **ALL)


@pytest.mark.parametrize("cell", SOME)
def test_beside_all_other_noise(cell: str) -> None:
    case = noise.made(cell, T=5, B=4, H=9, L=3, D=2, lengths=True)
    options = {"seed": 5, **ALL}
    core = noise.reserve_of(case, dropout=0.3, **options)
    masks = noise.masks_of(case, **options)
    masks["masks"] = [core.dropout_mask(layer) for layer in range(case.L - 1)]
    results = cases.run_engine(case, dropout=0.3, **options)
    plain = cases.plain_errors(case, **masks)
    cases.assert_close(results, cases.run_reference(case, **masks), plain, case)


@pytest.mark.parametrize("cell", SOME)
def test_in_bfloat16(cell: str) -> None:
    case = noise.made(cell, T=5, B=6, I=5, H=19, precision="bfloat16")
    noise.assert_as_reference(case, **P)


def test_of_indices() -> None:
    for size in ({"T": 6, "B": 5}, {"T": 4, "B": 1}):
        case = Case("lstm", **size, I=11, H=17, L=2, indices=True, lengths=True)
        noise.assert_as_reference(case, **P)


@pytest.mark.parametrize("cell", ["lstm", "janet", "mut1"])
def test_dropout_of_the_whole_candidate(cell: str) -> None:
    noise.assert_as_reference(noise.made(cell, T=5, B=3, H=17), candidate_dropout=1.0)
    noise.assert_as_reference(noise.made(cell, T=5, B=3, H=17), candidate_dropout=1)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru_reset_before", "brc"])
def test_threads_and_recomputation_leave_the_bits(cell: str, lengths: bool) -> None:
    for size in ({"T": 700, "B": 3, "H": 18}, {"T": 30, "B": 70, "H": 70}):
        case = Case(cell, **size, D=2, lengths=lengths)
        for options in ({"seed": 3, **P}, {"seed": 3, **ALL}):
            rnnfast.set_num_threads(1)
            kept = cases.run_engine(case, **options)
            for threads, recompute in ((2, False), (1, True), (3, 200)):
                rnnfast.set_num_threads(threads)
                cases.assert_identical(cases.run_engine(case, recompute=recompute, **options), kept)


@pytest.mark.parametrize("cell", ["lstm", "gru", "janet"])
def test_a_sequence_has_the_same_bits_in_any_batch(cell: str) -> None:
    d = cases.make_data(Case(cell, T=9, B=11, H=21, L=2, D=2))
    options = {"num_layers": 2, "bidirectional": True, "training": True, "seed": 9, **P}

    def outputs(batch: int, lengths: Any = None) -> np.ndarray:
        x, state = d.x[:, :batch], [s[:, :batch] for s in d.state]
        return functional.forward(cell, x, cases.weights_of(d), state, lengths=lengths, **options)[
            0
        ]

    full = outputs(11)
    for batch in (1, 2, 7):
        np.testing.assert_array_equal(outputs(batch), full[:, :batch])
    np.testing.assert_array_equal(outputs(3, [4, 9, 6])[:, 1], full[:, 1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_masks_are_words_of_philox(dtype: str) -> None:
    """The counter is (unit / 4, sequence, step, 16 * (layer and direction) + 13)."""
    case = Case("gru", T=3, B=4, H=35, L=2, D=2, dtype=dtype)
    seed, p = 0x1234567890ABCDEF, 0.3
    masks = noise.masks_of(case, seed, candidate_dropout=p)["candidate_masks"]
    grid = np.meshgrid(np.arange(case.T), np.arange(case.B), np.arange(9), indexing="ij")
    step, sequence, block = (axis.astype(np.uint64) for axis in grid)
    for k in range(case.L * case.D):
        counter = np.stack([block, sequence, step, np.full_like(step, 16 * k + 13)], -1)
        words = philox(counter, (seed & 0xFFFFFFFF, seed >> 32))
        kept = words.reshape(case.T, case.B, -1)[..., : case.H] >= int(p * 2**32)
        np.testing.assert_array_equal(masks[k], kept * np.array(1 / (1 - p), dtype))


def test_masks_have_the_expectation_one_and_differ_from_step_to_step() -> None:
    p, case = 0.25, Case("gru", T=40, B=30, H=64)
    (mask,) = noise.masks_of(case, 7, candidate_dropout=p)["candidate_masks"]
    deviation = np.sqrt(p / (1 - p) / mask.size)
    assert abs(mask.mean() - 1) < 5 * deviation
    same = (mask[1:] == mask[:-1]).mean()
    expected = p**2 + (1 - p) ** 2
    assert abs(same - expected) < 5 * np.sqrt(expected * (1 - expected) / mask.size)


def test_masks_tell_where_there_are_none() -> None:
    core = noise.reserve_of(Case("lstm"), 1)
    assert (core.candidate_mask(0) == 1).all()
    with pytest.raises(ValueError, match="cell: expected 0 to 0, got 1"):
        core.candidate_mask(1)


@pytest.mark.parametrize("cell", SOME)
def test_evaluation_and_zeros_are_the_plain_cell(cell: str) -> None:
    case = noise.made(cell, T=4, B=3, H=17, L=2)
    for a, b in zip(noise.final_of(case, **P), noise.final_of(case), strict=True):
        np.testing.assert_array_equal(a, b)
    plain = cases.run_engine(case)
    for zero in (0, 0.0):
        cases.assert_identical(cases.run_engine(case, candidate_dropout=zero), plain)


def test_what_is_kept() -> None:
    """The mask adds one value per unit and step to what the equations keep without it."""
    case = Case("lstm", T=8, B=4, I=16, H=64)  # whole tiles and cache lines
    nbytes = noise.reserve_of(case, 1).nbytes
    assert noise.reserve_of(case, 1, **P).nbytes == nbytes + 4 * case.T * case.B * case.H


WRONG: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("lstm", {"candidate_dropout": 1.5}, ValueError, r"expected a number in \[0, 1\], got 1.5"),
    ("lstm", {"candidate_dropout": "0.5"}, TypeError, "expected a number, got str"),
    ("lstm", {"candidate_dropout": (0.5,)}, TypeError, "expected a number, got tuple"),
    (
        "rnn_tanh",
        {"candidate_dropout": 0.5},
        ValueError,
        r"expected 0 for cell 'rnn_tanh', whose step does not mark .*x.candidate\(v\), got 0.5",
    ),
    ("lem", {"candidate_dropout": 0.5}, ValueError, "expected 0 for cell 'lem'"),
]


@pytest.mark.parametrize(("cell", "options", "error", "message"), WRONG)
@pytest.mark.parametrize("training", [False, True])
def test_what_is_wrong_is_named(
    cell: str, options: dict[str, Any], error: type[Exception], message: str, training: bool
) -> None:
    message = f"candidate_dropout: {message}"
    d = cases.make_data(Case(cell))
    with pytest.raises(error, match=message):
        functional.forward(cell, d.x, cases.weights_of(d), training=training, **options)
    with pytest.raises(error, match=message):
        rnnfast.Recurrent(cell, 4, 8, **options)
    layer: Any = rnnfast.Recurrent(cell, 4, 8)
    layer.candidate_dropout = options["candidate_dropout"]
    with pytest.raises(error, match=message):
        layer.train(training)(d.x)


def test_layers_take_it_and_say_so() -> None:
    x = np.ones((5, 2, 4), np.float32)
    for kind in (rnnfast.LSTM, rnnfast.PeepholeLSTM, rnnfast.GRU):
        layer: Any = kind(4, 8, seed=1, **P)
        plain: Any = kind(4, 8, seed=1)
        assert repr(layer) == f"{kind.__name__}(4, 8, candidate_dropout=0.3)"
        assert layer.cell == plain.cell
        for name, value in plain.state_dict().items():
            np.testing.assert_array_equal(layer.state_dict()[name], value)
        first, second = layer.call(x), layer.call(x)
        assert not np.array_equal(first.y, second.y)
        np.testing.assert_array_equal(kind(4, 8, seed=1, **P)(x)[0], first.y)
        stream = layer.stream(batch=2)
        expected = plain.eval()(x)[0]
        np.testing.assert_array_equal(np.stack([stream(step) for step in x]), expected)
        np.testing.assert_array_equal(layer.eval()(x)[0], expected)


@pytest.mark.parametrize("cell", ["gru", "janet", mixer()], ids=["gru", "janet", "mixer"])
def test_copies_and_pickles_keep_it(cell: Any) -> None:
    layer: Any = rnnfast.Recurrent(cell, 4, 8, seed=1, **P)
    twins = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    x = np.ones((5, 2, 4), np.float32)
    y, _ = layer(x)
    dx, _ = layer.backward(np.ones_like(y))
    for twin in twins:
        assert twin.candidate_dropout == 0.3
        np.testing.assert_array_equal(twin(x)[0], y)
        np.testing.assert_array_equal(twin.backward(np.ones_like(y))[0], dx)


def test_forms_of_cells_are_not_among_the_cells() -> None:
    noise.reserve_of(Case("gru"), 1, **P)
    assert not any(name.endswith("@candidate_dropout") for name in functional.cells())


# Cells written by users.


def test_a_cell_of_ones_own() -> None:
    name = known.name_of(mixer())
    noise.assert_as_reference(Case(name, T=5, B=4, H=19, L=2), **ALL)


def test_equations_whose_candidates_differ_are_different_cells() -> None:
    names = [known.name_of(mixer(marks=marks)) for marks in ("n", "argument", "nothing")]
    assert len(set(names)) == 3
    assert [has_candidate(name) for name in names] == [True, True, False]
    case = Case(names[0], T=4)
    d = cases.make_data(case)
    ys = [
        functional.forward(mixer(marks=marks), d.x, cases.weights_of(d), training=True, **P)[0]
        for marks in ("n", "argument")
    ]
    assert not np.array_equal(*ys)
    assert rnnfast.register(mixer(), "mixer with a candidate") == "mixer with a candidate"
    with pytest.raises(ValueError, match="name: expected a name that is not taken by a cell"):
        rnnfast.register(mixer(marks="argument"), "mixer with a candidate")


def test_files_without_marks_are_of_the_zoo() -> None:
    """Files from releases that did not know candidates have no marks."""
    graph = known.graph_of("mgu")
    assert graph is not None
    assert ["mask"] not in graph["nodes"]
    assert known.name_of_graph(graph) == "mgu"
    own = known.graph_of(known.name_of(replace(mixer(), name="other")))
    assert own is not None
    assert ["mask"] in own["nodes"]
    assert has_candidate(known.name_of_graph(own))


def test_a_candidate_is_a_value() -> None:
    def step(x: Any, _recurrent: Any, state: Any, _channel: Any) -> Any:
        return (x.candidate(0.5) * x[0] + state[0],)

    with pytest.raises(traced.CellError, match=r"line \d+: x.candidate: expected a value .*0.5"):
        rnnfast.register(rnnfast.Cell("constant", step, recurrent_gates=0))
