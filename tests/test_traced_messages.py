"""Steps that are not possible, and damaged descriptions: every message names what is wrong."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import traced_cases
from rnnfast.reference import CELLS, Cell
from rnnfast.reference.tape import exp, maximum, normalize, sigmoid, tanh, where
from rnnfast.traced import CellError, cell_of
from rnnfast.traced import compile as compile_cell

KEPT: list[Any] = []


def torch_tanh() -> Callable[[Any], Any]:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    function: Callable[[Any], Any] = torch.tanh
    return function


def of_another_step(v: Any) -> Any:
    """Return a value from tracing the step for another cell."""
    KEPT.append(v)
    return KEPT[0]


STEPS: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "if": (lambda x, _h: x if x else 0, r"write where\(a > b, this, that\)"),
    "if of a comparison": (lambda x, h: x if x > h else h, r"write where\(a > b, this, that\)"),
    "and": (lambda x, h: x > 0 and h > 0, r"in place of if, and, or, not, max"),
    "not": (lambda x, _h: not x, r"write where"),
    "max": (lambda x, h: max(x, h), r"maximum\(a, b\)"),
    "chained": (lambda x, h: where(0 < x < 1, x, h), r"chained comparisons"),
    "==": (lambda x, h: where(x == h, x, h), r"a == b: .*two comparisons"),
    "!=": (lambda x, h: where(x != h, x, h), r"a != b: .*two comparisons"),
    "np function": (
        lambda x, _h: np.tanh(x),
        r"np.tanh: values of a step.* rnnfast.cells.tanh\(v\)",
    ),
    "np comparison": (lambda x, h: np.equal(x, h), r"np.equal: values of a step"),
    "np array": (lambda x, _h: np.asarray(x), r"a function of NumPy: values of a step"),
    "np function of arrays": (lambda x, h: np.where(x > h, x, h), r"np.where: values|comparison"),
    "np of parts": (lambda x, h: np.concatenate([x, h]), r"np.concatenate: values of a step"),
    "beside an array": (lambda x, _h: np.ones(3) * x, r"as the other operand, got an array"),
    "an array beside": (lambda x, _h: x * np.ones(3), r"\*: expected a value .* or a number, got"),
    "torch function": (lambda x, _h: torch_tanh()(x), r"torch.tanh: values of a step"),
    "math function": (lambda x, _h: math.tanh(x), r"in place of those of math"),
    "float": (lambda x, _h: float(x), r"expected a number, got a value of the step"),
    "int": (lambda x, _h: int(x), r"expected a number, got a value"),
    "round": (lambda x, _h: round(x), r"expected a number, got a value"),
    "index": (lambda x, _h: [1, 2][x], r"expected a number, got a value"),
    "item": (lambda x, _h: x[0], r"a single unit, .* recurrent\(v\) and normalize\(v\)"),
    "iteration": (lambda x, _h: sum(x), r"those of a single unit"),
    "length": (lambda x, _h: len(x), r"those of a single unit"),
    "@": (lambda x, h: x @ h, r"a @ b: .*recurrent\(v, block\)"),
    "%": (lambda x, _h: x % 2, r"%, // and divmod"),
    "power of values": (lambda x, h: x**h, r"v \*\* c: expected a number c .*exp\(c \* log"),
    "power to a value": (lambda x, _h: 2.0**x, r"2.0 \*\* v: .*write exp\(c \* v\)"),
    "large power": (lambda x, _h: x**65, r"between -64 and 64, got 65"),
    "text": (lambda x, _h: x + "1", r"\+: expected a value of the step or a number, got '1'"),
    "bool": (lambda x, _h: x * True, r"\*: expected a value of the step or a number, got True"),
    "infinite": (lambda x, _h: x - math.inf, r"-: expected a finite number, got inf"),
    "division by 0": (lambda x, _h: x / 0, r"arithmetic on constants: .*division by zero"),
    "constants": (lambda x, _h: x * exp(0 * x + 1000), r"arithmetic on constants: .*range"),
    "comparison as value": (lambda x, h: (x > h) * x, r"where\(condition, 1.0, 0 \* a\)"),
    "comparison on the right": (lambda x, h: x * (x > h), r"where\(condition, 1.0, 0 \* a\)"),
    "both comparisons": (lambda x, h: (x > 0) & (h > 0), r"nest where"),
    "where of numbers": (
        lambda x, h: where(x > h, 1.0, 0.0),
        r"where: expected a or b to be a value",
    ),
    "maximum of text": (lambda x, _h: maximum(x, "a"), r"maximum: expected a value"),
    "norm of a constant": (lambda x, _h: normalize(0 * x), r"normalize: .*got a constant"),
    "eps": (lambda x, _h: normalize(x, eps=0.0), r"normalize: expected 0 < eps < 1, got 0.0"),
    "value of another step": (
        lambda x, h: of_another_step(x) + h,
        r"\+: expected a value of this step",
    ),
}


@pytest.mark.parametrize("what", STEPS)
def test_what_a_step_cannot_do_names_its_line(what: str) -> None:
    expression, message = STEPS[what]
    KEPT.clear()
    compile_cell(Cell("kept", step=lambda x, w, s, _c: (of_another_step(x[0]) + w(s[0])[0],)))

    def step(x: Any, recurrent: Any, state: Any, _channel: Any) -> tuple[Any, ...]:
        return (expression(x[0], state[0]) + recurrent(state[0])[0],)

    cell = Cell(what, step=step)
    with pytest.raises(CellError, match=message) as caught:
        compile_cell(cell)
    place = re.match(r"(.*), line (\d+): ", str(caught.value))
    assert place is not None
    assert Path(place[1]) == Path(__file__)
    line = Path(__file__).read_text(encoding="utf-8").splitlines()[int(place[2]) - 1]
    assert "lambda" in line


def test_values_have_no_attributes() -> None:
    cell = Cell("of methods", step=lambda x, *_: (x[0].tanh(),))
    with pytest.raises(AttributeError, match=r"tanh: a value of a step has no .*rnnfast\.cells"):
        compile_cell(cell)


def of(new: Callable[[Any, Any, Any, Any], Any], **shape: Any) -> Cell:
    return Cell("wrong", step=new, **shape)


CELLS_OF_ERRORS: dict[str, tuple[Cell, str]] = {
    "a list": (of(lambda x, *_: [x[0]]), r"expected a tuple of the 1 new states, got a list"),
    "too few": (of(lambda x, *_: (x[0],), states=2), r"the 2 new states, got 1 values"),
    "a number": (
        of(lambda x, *_: (x[0], 1.0), states=2),
        r"new state 1: expected a value.*got 1.0",
    ),
    "a comparison": (of(lambda x, *_: (x[0] > 1,)), r"new state 0: expected a value"),
    "a constant": (of(lambda x, *_: (0 * x[0],)), r"new state 0 is the constant 0.0"),
    "no such block": (of(lambda _x, w, s, _c: (w(s[0], 1)[0],)), r"0 <= block < 1, got 1"),
    "a block that is text": (of(lambda _x, w, s, _c: (w(s[0], "r")[0],)), r"recurrent|'<='"),
    "a block twice": (
        of(lambda x, w, s, _c: (x[0] + w(s[0])[0] + w(tanh(s[0]), 0)[0],)),
        r"row block 0 of weight_hh is used twice, .*keep the result in a variable",
    ),
    "of a number": (of(lambda x, w, _s, _c: (x[0] + w(2.0)[0],)), r"operand, got 2.0.*bias_hh"),
    "of the input": (
        of(lambda x, w, _s, _c: (x[0] + w(x.input)[0],), reads_input=True),
        r"recurrent: expected an operand other than x.input.*x\[0\], x\[1\]",
    ),
    "input unannounced": (of(lambda x, w, s, _c: (x.input + w(s[0])[0],)), r"reads_input=True"),
    "input unused": (
        of(lambda x, w, s, _c: (x[0] + w(s[0])[0],), reads_input=True),
        r"do not depend on x.input, which reads_input=True declares",
    ),
    "x unused": (
        of(lambda x, w, s, _c: (x[0] + w(s[0])[0],), gates=2, recurrent_gates=1),
        r"do not depend on x\[1\] \(of 2 gates\); use it or leave it out",
    ),
    "block unused": (
        of(lambda x, w, s, _c: (x[0] + w(s[0])[0],), recurrent_gates=2),
        r"do not depend on row block 1 of weight_hh \(of 2 recurrent_gates\)",
    ),
    "channel unused": (
        of(lambda x, w, s, _c: (x[0] + w(s[0])[0],), params=1),
        r"do not depend on channel\[0\] \(of 1 params\)",
    ),
}


@pytest.mark.parametrize("what", CELLS_OF_ERRORS)
def test_what_a_cell_cannot_be(what: str) -> None:
    cell, message = CELLS_OF_ERRORS[what]
    with pytest.raises((ValueError, AttributeError), match=message):
        compile_cell(cell)


def chain(stages: int) -> Cell:
    def step(x: Any, recurrent: Any, state: Any, _channel: Any) -> tuple[Any, ...]:
        (h,) = state
        for k in range(stages):
            (a,) = recurrent(h, k)
            h = tanh(a)
        return (h + x[0],)

    return Cell("chain", step=step, recurrent_gates=stages)


def wide(name: str, **shape: int) -> Cell:
    def step(x: Any, recurrent: Any, state: Any, channel: Any) -> tuple[Any, ...]:
        h = state[0] + x[0]
        for a in [*x[1:], *recurrent(state[0]), *channel]:
            h = h * (1 + a) if name != "slots" else h * sigmoid(a) + tanh(a)
        return (h, *state[1:])

    return Cell(name, step=step, **shape)


def of_constants(count: int) -> Cell:
    def step(x: Any, recurrent: Any, state: Any, _channel: Any) -> tuple[Any, ...]:
        h = recurrent(state[0])[0] + x[0]
        for k in range(count):
            h = tanh(h * (k + 2))
        return (h,)

    return Cell("of constants", step=step)


def of_many_temporaries(count: int) -> Cell:
    def step(x: Any, recurrent: Any, state: Any, _channel: Any) -> tuple[Any, ...]:
        h = recurrent(state[0])[0] + x[0]
        parts = [h]
        for _ in range(count):
            parts.append(tanh(parts[-1]))
        total = parts[-1]
        for part in parts:  # the oldest first, so that all others have to wait
            total = sigmoid(total * part)
        return (total,)

    return Cell("of many temporaries", step=step)


def long(count: int) -> Cell:
    """Return nodes shared again and again, so that there are too many paths to walk them all."""

    def step(x: Any, recurrent: Any, state: Any, _channel: Any) -> tuple[Any, ...]:
        h = recurrent(state[0])[0] + x[0]
        for _ in range(count):
            h = 0.9 * h + sigmoid(h)
        return (h,)

    return Cell("long", step=step)


TOO_LARGE: dict[str, tuple[Cell, str]] = {
    "stages": (chain(17), r"at most 16 stages, the limit of the engine, got 17"),
    "gates": (wide("gates", gates=17, recurrent_gates=16), r"at most 32 gates, .*got 3"),
    "states": (wide("states", states=9), r"at most 8 states, .*got 9"),
    "params": (wide("params", params=33), r"at most 32 params, .*got 33"),
    "constants": (of_constants(70), r"at most 64 constants, .*got 7"),
    "long": (long(500), r"at most 48 temporaries, .*got"),
    "temporaries": (of_many_temporaries(50), r"at most 48 temporaries, .*got"),
}


@pytest.mark.parametrize("what", TOO_LARGE)
def test_what_the_engine_has_no_room_for(what: str) -> None:
    cell, message = TOO_LARGE[what]
    with pytest.raises(CellError, match=message):
        compile_cell(cell)


def test_the_largest_chain_of_stages_is_right() -> None:
    traced_cases.assert_as_reference(chain(16), T=2)


GRU: dict[str, Any] = compile_cell(CELLS["gru"]).graph
DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no dictionary": (lambda _d: [1], r"expected a dictionary, got a list"),
    "no nodes": (lambda d: d.pop("nodes"), r"expected the keys"),
    "more": (lambda d: d.update(code="x"), r"expected the keys"),
    "another format": (lambda d: d.update(format=2), r"format: expected 1, got 2"),
    "no name": (lambda d: d.update(name=""), r"name: expected a string"),
    "states": (lambda d: d.update(states=True), r"states: expected an integer"),
    "many gates": (lambda d: d.update(gates=10**9), r"gates: expected an integer in \[1, 33\)"),
    "reads_input": (lambda d: d.update(reads_input=1), r"reads_input: expected true or false"),
    "empty": (lambda d: d.update(nodes=[]), r"nodes: expected a list of 1 to 4096"),
    "many nodes": (lambda d: d.update(nodes=[["x", 0]] * 5000), r"nodes: expected a list of 1"),
    "results": (lambda d: d.update(results=[1, 2]), r"results: expected a list of 1 node numbers"),
    "result": (lambda d: d.update(results=[999]), r"results: expected an integer"),
    "constant result": (
        lambda d: d.update(nodes=[["const", 1]], results=[0]),
        r"values of the step, got node 0",
    ),
    "no operation": (lambda d: d["nodes"].append(["system", 0]), r"an operation .* got 'system'"),
    "no list": (lambda d: d["nodes"].append("tanh"), r"expected a list of an operation"),
    "the input": (lambda d: d["nodes"].append(["input"]), r"that this cell can have, got 'input'"),
    "the mask": (
        lambda d: d["nodes"].extend([["mask"], ["tanh", len(d["nodes"])]]),
        r"the mask of the candidate .* got tanh",
    ),
    "only masks": (
        lambda d: d["nodes"].extend([["mask"], ["mul", len(d["nodes"]), len(d["nodes"])]]),
        r"the mask of the candidate .* got mul",
    ),
    "mask of a constant": (
        lambda d: d["nodes"].extend(
            [["const", 2], ["mask"], ["mul", len(d["nodes"]), len(d["nodes"]) + 1]]
        ),
        r"x.candidate: expected a value of the step, got 2.0",
    ),
    "mask as a result": (
        lambda d: d.update(nodes=[["mask"]], results=[0]),
        r"values of the step, got node 0",
    ),
    "arity": (lambda d: d["nodes"].append(["add", 0]), r"expected 2 numbers after 'add', got 1"),
    "cycle": (lambda d: d["nodes"].append(["tanh", len(d["nodes"])]), r"input: expected an int"),
    "negative": (lambda d: d["nodes"].append(["tanh", -1]), r"input: expected an integer in \[0"),
    "no item": (lambda d: d["nodes"].append(["x", 3]), r"expected an integer in \[0, 3\), got 3"),
    "nan": (lambda d: d["nodes"].append(["const", math.nan]), r"expected a number .*got nan"),
    "huge": (lambda d: d["nodes"].append(["const", 10**400]), r"expected a number of at most"),
    "exponent": (lambda d: d["nodes"].append(["power", 0, 99.0]), r"number of at most 64.0"),
    "eps": (lambda d: d["nodes"].append(["norm", 0, 0.0]), r"expected eps > 0"),
    "condition": (
        lambda d: d["nodes"].append(["select", 0, 1, 2]),
        r"inputs that select can have, got node 0",
    ),
    "constants": (
        lambda d: d["nodes"].extend([["const", 1], ["tanh", len(d["nodes"])]]),
        r"expected tanh to have an input that is not constant",
    ),
    "used twice": (
        lambda d: d["nodes"].append(["product", 0, 0]),
        r"row block 0 of weight_hh is used twice",
    ),
    "unused": (lambda d: d.update(gates=4), r"do not depend on x\[3\]"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_description_is_refused(what: str) -> None:
    change, message = DAMAGES[what]
    damaged = copy.deepcopy(GRU)
    new = change(damaged)
    with pytest.raises(CellError, match=message):
        compile_cell(cell_of(new if what == "no dictionary" else damaged))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_description_with_one_thing_changed_is_read_or_refused(data: st.DataObject) -> None:
    """Any content of a file gives a cell or a CellError."""
    damaged = json.loads(json.dumps(GRU))
    junk = st.none() | st.booleans() | st.integers(-2, 40) | st.floats() | st.text(max_size=3)
    value = data.draw(junk | st.lists(junk, max_size=4))
    node = data.draw(st.integers(0, len(GRU["nodes"]) - 1))
    if data.draw(st.booleans()):
        damaged["nodes"][node][data.draw(st.integers(0, len(GRU["nodes"][node]) - 1))] = value
    else:
        damaged[data.draw(st.sampled_from(sorted(GRU)))] = value
    with contextlib.suppress(CellError):
        compile_cell(cell_of(damaged))
