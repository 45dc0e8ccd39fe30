"""Python cells on the engine: the zoo, and twins of the compiled cells, against the reference.

The engine's promises for every cell hold for these, too: the bits are the same for any number of
threads and in any batch, with and without recomputation, in training and evaluation, in one call
and step by step.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import cases
import rnnfast
from cases import Case, of_sequences, select
from rnnfast import functional
from rnnfast._engine.known import COMPILED, cell_named
from rnnfast.cells import ZOO

TRACED = [name for name in ZOO if name not in COMPILED]
DEEP = {
    "atr": "parts of gates that are seen apart",
    "lem": "products of two states in two stages",
    "lstm_fgr": "values of the step before, many products",
    "recurrent_highway_5": "five stages",
    "layer_norm_gru": "norms over the units",
    "brc": "no products, parameters of each unit",
    "mut1": "the input itself",
    "slstm": "four states",
}


def case_of(cell: str, **options: Any) -> Case:
    """Return a case that suits a cell: if it reads its input, I is the size of the state."""
    if cell_named(cell).reads_input:
        options |= {"I": options["H"], "D": 1}
    return Case(cell, **options)


def broad(cell: str) -> list[Case]:
    """Return a few cases of many features: layers, directions, lengths, few rows, rounding."""
    return [
        case_of(cell, T=5, B=3, I=5, H=9, L=2, D=2, lengths=True),
        case_of(cell, T=3, B=1, I=6, H=17, dtype="float64"),
        case_of(cell, T=4, B=9, I=3, H=10, precision="bfloat16", indices=True),
    ]


def deep(cell: str) -> list[Case]:
    """Return cases with sizes and options that `broad` does not have."""
    return [
        case_of(cell, T=9, B=1, I=7, H=70),
        case_of(cell, T=7, B=2, I=3, H=33, L=2, indices=True),
        case_of(cell, T=6, B=17, I=20, H=21, bias=False),
        case_of(cell, T=30, B=4, I=4, H=3, D=2, lengths=True, dtype="float64"),
        case_of(cell, T=2, B=40, I=9, H=34, L=2, D=2, precision="bfloat16"),
        case_of(cell, T=1, B=1, I=1, H=1),
    ]


def assert_as_reference(case: Case) -> None:
    got = cases.run_engine(case)
    cases.assert_close(got, cases.run_reference(case), cases.plain_errors(case), case)


@pytest.mark.parametrize("cell", TRACED)
def test_every_cell_of_the_zoo_is_that_of_the_reference(cell: str) -> None:
    for case in broad(cell):
        assert_as_reference(case)


@pytest.mark.parametrize("cell", DEEP)
def test_sizes_and_options(cell: str) -> None:
    for case in deep(cell):
        assert_as_reference(case)


@functools.cache
def twin(cell: str) -> str:
    """Register a compiled cell's equations as a Python cell, and return its name."""
    return rnnfast.register(ZOO[cell], f"twin of {cell}")


@pytest.mark.parametrize("cell", COMPILED)
def test_the_equations_of_a_compiled_cell_give_its_results(cell: str) -> None:
    for case in (*broad(twin(cell)), *deep(twin(cell))[:3]):
        assert_as_reference(case)


SAME_BITS = {
    "rnn_tanh": ("y", "state", "d"),
    "rnn_relu": ("y", "state", "d"),
    "gru": ("y", "state"),
    "gru_reset_before": ("y", "state"),
}
"""Results in which the compiled cell adds and multiplies in the order of its equations."""


@pytest.mark.parametrize("cell", SAME_BITS)
def test_the_equations_of_a_compiled_cell_give_its_bits_where_the_order_is_the_same(
    cell: str,
) -> None:
    for case in (*broad(cell), *deep(cell)):
        compiled = cases.run_engine(case)
        traced = cases.run_engine(replace(case, cell=twin(cell)), data=cases.make_data(case))
        chosen = [name for name in compiled if name.startswith(SAME_BITS[cell])]
        cases.assert_identical(
            {name: traced[name] for name in chosen}, {name: compiled[name] for name in chosen}
        )


def large(cell: str) -> list[Case]:
    """Return cases of several chunks that threads share by sequences and by hidden units."""
    return [
        case_of(cell, T=12, B=61, I=33, H=40, L=2, lengths=True),
        case_of(cell, T=150, B=5, I=18, H=35, D=2),
        case_of(cell, T=25, B=1, I=30, H=150),
        case_of(cell, T=12, B=30, I=5, H=34, precision="bfloat16", lengths=True),
    ]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("cell", DEEP)
def test_same_bits_for_any_number_of_threads_and_recomputed(cell: str) -> None:
    for case in large(cell):
        options = {"dropout": 0.2, "seed": 5}
        rnnfast.set_num_threads(1)
        alone = cases.run_engine(case, **options)
        for threads, recompute in ((2, False), (2, True), (1, 1)):
            rnnfast.set_num_threads(threads)
            again = cases.run_engine(case, recompute=recompute, **options)
            cases.assert_identical(again, alone)


@pytest.mark.parametrize("cell", DEEP)
def test_same_bits_alone_and_in_any_batch(cell: str) -> None:
    for case in large(cell)[:2]:
        d = cases.make_data(case)
        whole = of_sequences(cases.run_engine(case))
        for members in (np.array([2]), np.array([1, 4, 3])):
            steps = case.T if d.lengths is None else int(d.lengths[members].max())
            part = cases.run_engine(case, data=select(d, members, steps, lengths=True))
            for name, values in of_sequences(part).items():
                cut = slice(None) if "state" in name else slice(steps)
                expected = whole[name][members][:, cut]
                assert values.tobytes() == np.ascontiguousarray(expected).tobytes(), name


@pytest.mark.parametrize("cell", [*DEEP, "minimal_rnn", "cornn", "t_lstm", "scrn"])
def test_evaluation_and_streams_have_the_bits_of_training(cell: str) -> None:
    for case in (
        case_of(cell, T=6, B=1, I=5, H=19, L=2),
        case_of(cell, T=4, B=11, I=5, H=8, dtype="float64"),
        case_of(cell, T=4, B=3, I=5, H=18, precision="bfloat16", indices=True),
    ):
        d = cases.make_data(case)
        layer = cases.make_layer(case)
        given = d.state if len(d.state) > 1 else d.state[0]
        y, final = layer(d.x, given)
        packed, packed_final = layer.eval()(d.x, given)
        assert packed.tobytes() == y.tobytes()
        np.testing.assert_array_equal(packed_final, final)
        stream = layer.stream(case.B, given)
        steps = np.stack([stream(x) for x in d.x])
        assert steps.tobytes() == y.tobytes()
        np.testing.assert_array_equal(stream.state, final)


def test_an_input_of_another_size_than_the_state_is_refused_where_a_step_reads_it() -> None:
    wrong = r"input_size: expected hidden_size = 8, as a step of the cell 'mut1' reads .* got 4"
    shapes = functional.cells()[rnnfast.Recurrent("mut1", 8, 8).cell].shapes(4, 8)
    weights = [functional.Weights(**{n: np.zeros(s, np.float32) for n, s in shapes.items()})]
    x = np.zeros((3, 2, 4), np.float32)
    for call in (
        lambda: rnnfast.Recurrent("mut1", 4, 8),
        lambda: functional.forward("mut1", x, weights),
        lambda: functional.pack("mut1", weights),
    ):
        with pytest.raises(ValueError, match=wrong):
            call()
    with pytest.raises(ValueError, match="bidirectional: expected False with num_layers = 2"):
        rnnfast.Recurrent("mut1", 8, 8, 2, bidirectional=True)
