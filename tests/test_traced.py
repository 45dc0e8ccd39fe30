"""Traced cells: their programs compute what the reference does, and keep few values."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

import traced_cases
from rnnfast.cells import ZOO
from rnnfast.reference import CELLS, Cell
from rnnfast.reference.tape import sigmoid, softplus, tanh
from rnnfast.traced import TracedCell, cell_of
from rnnfast.traced import compile as compile_cell

EVERY_CELL = ZOO | traced_cases.OTHERS
SLOTS = {  # the slots in src/cpp/cells
    "rnn_tanh": 1,
    "rnn_relu": 1,
    "lstm": 4,
    "peephole_lstm": 4,
    "gru": 4,
    "gru_reset_before": 3,
    "mut3": 3,
    "nas": 9,
}


@pytest.mark.parametrize("name", EVERY_CELL)
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (5, 3, 2, 7), (3, 2, 9, 17)], ids=str)
def test_programs_compute_what_the_reference_does(
    name: str, sizes: tuple[int, int, int, int]
) -> None:
    T, B, I, H = sizes
    traced_cases.assert_as_reference(EVERY_CELL[name], T=T, B=B, I=I, H=H)


@pytest.mark.parametrize("name", CELLS)
def test_no_more_is_kept_than_by_the_compiled_cell(name: str) -> None:
    assert compile_cell(CELLS[name]).slots <= SLOTS[name]


def written(traced: TracedCell) -> set[int]:
    """Return the slots that forward programs write."""
    return {i[2] for stage in traced.stages for i in stage.forward if i[1] == "slot"}


def slots_read(program: Iterable[Any]) -> set[int]:
    """Return the slots that instructions read."""
    return {k for i in program for kind, k in zip(i[3::2], i[4::2], strict=True) if kind == "slot"}


def read_backward(traced: TracedCell) -> set[int]:
    """Return the slots that backward programs read."""
    return slots_read(i for stage in traced.stages for i in stage.backward)


@pytest.mark.parametrize("name", EVERY_CELL)
def test_all_slots_that_are_written_are_read(name: str) -> None:
    traced = compile_cell(EVERY_CELL[name])
    later = [i for stage in traced.stages[1:] for i in stage.forward]
    norms = {norm.slot for norm in traced.norms}
    assert written(traced) <= read_backward(traced) | norms | slots_read(later)


def test_a_tanh_network_keeps_nothing() -> None:
    """The new state, which is kept anyway, is all that its derivative needs."""
    traced = compile_cell(CELLS["rnn_tanh"])
    assert not written(traced)
    assert not read_backward(traced)


def test_an_lstm_computes_tanh_of_c_again() -> None:
    (stage,) = compile_cell(CELLS["lstm"]).stages
    assert [i[0] for i in stage.backward].count("tanh") == 1
    assert ("tanh", "next", 1) in [(i[0], i[3], i[4]) for i in stage.backward]


def test_the_gru_is_four_gates_and_one_product() -> None:
    """Both parts of n are used; gates are ordered so that the product's gates are adjacent."""
    traced = compile_cell(CELLS["gru"])
    assert traced.x_rows == (2, 0, 1, -1)
    assert traced.h_rows == (-1, 0, 1, 2)
    ((product,),) = (stage.products for stage in traced.stages)
    assert product == (True, 0, 1, 3)


def test_sums_of_products_are_fused_as_by_compilers() -> None:
    """f * c + i * g is fma(i, g, f * c), and n + z * (h - n) is fma(z, h - n, n)."""
    (lstm,), (gru,) = compile_cell(CELLS["lstm"]).stages, compile_cell(CELLS["gru"]).stages
    assert [i[0] for i in lstm.forward].count("fma") == 1
    assert ("fma", "next", 1, "slot", 0, "slot", 2) in [i[:7] for i in lstm.forward]
    assert ("fma", "next", 0) in [i[:3] for i in gru.forward]


def test_terms_of_sums_meet_in_one_gate() -> None:
    """x and W h form one gate if they are used only in one sum, in whatever order."""
    traced = compile_cell(traced_cases.OTHERS["sums"])
    assert traced.gates == 4
    assert sorted(traced.x_rows) == sorted(traced.h_rows) == [0, 1, 2, 3]


def test_the_input_itself_is_the_last_gate_with_an_inputs_part() -> None:
    traced = compile_cell(traced_cases.OTHERS["of_the_input"])
    assert traced.x_rows == (0, 1, -2, -1)
    assert traced.h_rows == (-1, 0, -1, 1)


def test_a_stage_may_have_no_products() -> None:
    """A value of the input alone has a stage before that of its product."""

    def step(x: Any, recurrent: Any, state: Any, _channel: Any) -> tuple[Any, ...]:
        (a,) = recurrent(tanh(x[0]) * state[0], 0)
        return (a * sigmoid(x[0]),)

    cell = Cell("of the input", step=step)
    traced = compile_cell(cell)
    assert [len(stage.products) for stage in traced.stages] == [0, 1]
    traced_cases.assert_as_reference(cell)


def test_an_opening_value_is_made_where_the_first_stage_multiplies_it() -> None:
    traced = compile_cell(traced_cases.OTHERS["other_state"])
    assert traced.opening is not None
    assert traced.opening_values == 1
    assert traced.opening[0] == (("copy", "made", 0, "state", 1),)
    assert compile_cell(CELLS["mut3"]).opening is None  # stage 0 computes tanh(h) for stage 1


def test_the_operand_of_a_norm_is_kept() -> None:
    traced = compile_cell(traced_cases.OTHERS["normalized"])
    assert len({norm.slot for norm in traced.norms}) == 5
    assert {norm[1:] for norm in traced.norms} == {(1e-5, 0, 1), (1e-5, 1, 2)}


def test_options_of_a_step_are_part_of_the_cell() -> None:
    step = partial(CELLS["gru"].step, activations=(sigmoid, softplus))
    cell = replace(CELLS["gru"], step=step)
    assert compile_cell(cell) != compile_cell(CELLS["gru"])
    traced_cases.assert_as_reference(cell)


def test_a_cell_is_traced_once() -> None:
    calls = []

    def step(x: Any, recurrent: Any, state: Any, _channel: Any) -> tuple[Any, ...]:
        calls.append(1)
        return (x[0] + recurrent(state[0])[0],)

    cell = Cell("counted", step=step)
    assert compile_cell(cell) is compile_cell(cell)
    assert len(calls) == 1
    assert compile_cell(replace(cell)) == compile_cell(cell)
    assert len(calls) == 2


@pytest.mark.parametrize("name", EVERY_CELL)
def test_a_graph_that_went_through_json_gives_the_same_programs(name: str) -> None:
    traced = compile_cell(EVERY_CELL[name])
    cell = cell_of(json.loads(json.dumps(traced.graph)))
    assert (cell.name, cell.states, cell.gates) == (name, traced.states, EVERY_CELL[name].gates)
    assert compile_cell(cell) == replace(traced, marked=None)
    if traced.marked:
        cell = cell_of(json.loads(json.dumps(traced.marked)))
        for drops in (False, True):
            again = compile_cell(cell, drops_candidate=drops)
            assert again == compile_cell(EVERY_CELL[name], drops_candidate=drops)
    traced_cases.assert_as_reference(cell)


def test_the_same_equations_give_the_same_programs_however_written() -> None:
    """Unused and repeated computations leave no trace."""

    def step(x: Any, recurrent: Any, state: Any, _channel: Any) -> tuple[Any, ...]:
        (h,) = state
        _unused = tanh(h) * 7
        h_r, h_z, h_n = recurrent(h)
        r, z = sigmoid(h_r + x[0]), sigmoid(x[1] + h_z)
        n = x.candidate(tanh(x[2] * 1 + r * h_n + 0))
        return (x.candidate(tanh(x[2] + sigmoid(x[0] + h_r) * h_n)) + z * (h - n),)

    assert compile_cell(replace(CELLS["gru"], step=step)) == compile_cell(CELLS["gru"])


def test_a_deep_cell_does_not_compute_everything_again_in_each_stage() -> None:
    """A value that many stages need is kept, even if it could be computed from other kept ones."""
    deep = compile_cell(ZOO["recurrent_highway_10"])
    assert max(len(stage.forward) for stage in deep.stages) <= 10
    assert deep.slots <= 25  # the functions of twenty gates, and half of the values between them
