"""The engine refuses any definition of a cell that it cannot run."""

from __future__ import annotations

import copy
import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import traced_cases
from rnnfast import _core, functional
from rnnfast.cells import ZOO
from rnnfast.reference import Cell
from rnnfast.reference.tape import tanh
from rnnfast.traced import compile as compile_cell
from rnnfast.traced import engine

PARTS = ("name", "states", "params", "input", "recurrent", "opens", "stages", "norms", "constants")
PARTS += ("slots", "dslots", "mask", "observes")
NAMES = map("definition {}".format, range(10**9))
FORWARD, BACKWARD = 2, 3  # positions in a stage (products, values, forward, backward)


@functools.cache
def _definition_of(cell: Cell) -> dict[str, Any]:
    """Return the definition of a cell that the engine gets."""
    given: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine._core, "define", lambda *parts: given.extend(parts))
        engine.define(compile_cell(cell), "no name")
    return dict(zip(PARTS, map(listed, given), strict=True))


def listed(value: Any) -> Any:
    """Convert the tuples of a definition to lists, which can be changed."""
    return list(map(listed, value)) if isinstance(value, (list, tuple)) else value


def definition_of(cell: str) -> dict[str, Any]:
    """Return the definition of a cell of the zoo in a form that can be changed."""
    return copy.deepcopy(_definition_of(ZOO[cell])) | {"name": next(NAMES)}


def set_at(part: str, *path: int | slice, to: Any) -> Callable[[dict[str, Any]], None]:
    """Replace a part of a definition."""

    def change(definition: dict[str, Any]) -> None:
        *way, last = part, *path
        holder: Any = definition
        for key in way:
            holder = holder[key]
        holder[last] = to

    return change


def add(stage: int, program: int, *instruction: Any) -> Callable[[dict[str, Any]], None]:
    """Insert an instruction at the start of a program."""
    return lambda d: d["stages"][stage][program].insert(0, instruction)


WRONG: dict[str, tuple[str, Callable[[dict[str, Any]], Any], str]] = {
    "states": ("gru", set_at("states", to=0), "expected 1 to 8 states, got 0"),
    "many states": ("gru", set_at("states", to=9), "expected 1 to 8 states, got 9"),
    "params": ("gru", set_at("params", to=-1), "expected 0 to 32 params, got -1"),
    "slots": ("gru", set_at("slots", to=10**6), "slots, got 1000000"),
    "no stages": ("gru", set_at("stages", to=[]), "stages, got 0"),
    "no gates": ("gru", set_at("input", to=[]), "expected 1 to 32 gates, got 0"),
    "other gates": ("gru", lambda d: d["recurrent"].append(3), "expected 1 to 32 gates"),
    "no row block": ("gru", set_at("input", 0, to=-3), "gate 0 has an invalid row block"),
    "a mask in the place of others": ("gru", set_at("mask", to=2), "own, got slot 2"),
    "a mask without a place": (
        "gru",
        set_at("mask", to=4),
        "expected the candidate's mask in a slot of its own, got slot 4",
    ),
    "order of gates": (
        "mut1",
        lambda d: d["input"].reverse(),
        "expected gates with weight_ih first",
    ),
    "row block twice": ("lstm", set_at("input", 1, to=0), "row block 0 twice"),
    "row block skipped": ("lstm", set_at("recurrent", 3, to=9), "but one with number 9"),
    "without a product": (
        "lstm",
        set_at("stages", 0, 0, to=[]),
        "gate 0 has a row block of weight_hh but no product",
    ),
    "product of gates that are not there": (
        "lstm",
        set_at("stages", 0, 0, to=[(True, 0, 0, 99)]),
        "has gates outside the cell's",
    ),
    "two products of a gate": (
        "lstm",
        lambda d: d["stages"][0][0].append((True, 0, 0, 1)),
        "gate 0 does not belong to exactly one product",
    ),
    "product of no state": (
        "lstm",
        set_at("stages", 0, 0, to=[(True, 1, 0, 4)]),
        "multiplies a value that no earlier stage computes",
    ),
    "product of a later value": (
        "mgu",
        lambda d: d["stages"][0].__setitem__(0, [(False, 0, *p[2:]) for p in d["stages"][0][0]]),
        "multiplies a value that no earlier stage computes",
    ),
    "no operation": ("gru", add(0, FORWARD, "run", "tmp", 0, "state", 0), "got 'run'"),
    "no place": ("gru", add(0, FORWARD, "copy", "heap", 0, "state", 0), "got 'heap'"),
    "no number": (
        "gru",
        add(0, FORWARD, "copy", "tmp", "x", "state", 0),
        "expected a number at position 2",
    ),
    "no name": ("gru", add(0, FORWARD, 7, "tmp", 0, "state", 0), "expected a name at position 0"),
    "too few operands": (
        "gru",
        add(0, FORWARD, "add", "tmp", 0, "state", 0),
        "expected 2 operands",
    ),
    "too many operands": (
        "gru",
        add(0, FORWARD, "neg", "tmp", 0, "state", 0, "state", 0),
        "expected 1 operands for neg",
    ),
    "empty instruction": ("gru", add(0, FORWARD), "expected a name at position 0"),
    "a place too far": (
        "gru",
        add(0, FORWARD, "copy", "tmp", 0, "slot", 99),
        "the program of stage 0 has no place slot 99",
    ),
    "a place before": ("gru", add(0, FORWARD, "copy", "tmp", 0, "param", -1), "no place param -1"),
    "a constant too far": (
        "gru",
        add(0, FORWARD, "copy", "tmp", 0, "constant", 9),
        "no place const",
    ),
    "a gate of no product here": (
        "mgu",
        lambda d: d["stages"][0][FORWARD].insert(0, ("copy", "tmp", 0, "h", 1)),
        "has no place h 1",
    ),
    "read before it is written": (
        "gru",
        add(0, FORWARD, "copy", "tmp", 0, "tmp", 1),
        "reads tmp 1 before it is written",
    ),
    "a state after the step before it is made": (
        "lstm",
        add(0, FORWARD, "copy", "tmp", 0, "next", 1),
        "reads next 1 before it is written",
    ),
    "a state that is written": (
        "gru",
        add(0, FORWARD, "copy", "state", 0, "state", 0),
        "writes state 0, which is read-only",
    ),
    "slots written in backward": (
        "gru",
        add(0, BACKWARD, "copy", "slot", 0, "state", 0),
        "writes slot 0, which is read-only",
    ),
    "gradients in forward": (
        "gru",
        add(0, FORWARD, "copy", "dgate", 0, "state", 0),
        "no place dgate",
    ),
    "a product by its number": (
        "mgu",
        add(0, BACKWARD, "copy", "tmp", 0, "product", 31),
        "reads a product",
    ),
    "a state that nobody makes": (
        "gru",
        set_at("stages", 0, FORWARD, to=[]),
        "expected each state to be computed exactly once",
    ),
    "a value that nobody makes": (
        "mgu",
        set_at("stages", 0, FORWARD, to=[]),
        "does not compute value 0",
    ),
    "a norm before its operand": (
        "layer_norm_gru",
        lambda d: d["norms"].__setitem__(0, (0, 1e-5, 1, 1)),
        "used in a later stage than it is computed in, got one of slot 0",
    ),
    "a norm of a slot too far": (
        "layer_norm_gru",
        lambda d: d["norms"].__setitem__(0, (63, 1e-5, *d["norms"][0][2:])),
        "expected a norm of a slot of the cell, .* got one of slot 63",
    ),
    "an opening stage alone": (
        "cornn",
        lambda d: d["stages"].__delitem__(slice(1, None)),
        "stages, got 1",
    ),
    "a name that is there": ("gru", set_at("name", to="lstm"), "a name that no other cell has"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_malformed_definition_is_refused(what: str) -> None:
    cell, change, message = WRONG[what]
    definition = definition_of(cell)
    change(definition)
    before = len(_core.cells())
    with pytest.raises((RuntimeError, ValueError), match=message):
        _core.define(**definition)
    assert len(_core.cells()) == before


JUNK = (-2, -1, 0, 1, 3, 31, 32, 47, 99, 10**9, "state", "tmp", "next", "slot", "add", "fma")


def spoil(value: Any, rng: random.Random) -> Any:
    """Replace, remove or duplicate one thing in a definition."""
    if not isinstance(value, (list, tuple)) or not value:
        return rng.choice(JUNK)
    items, k = list(value), rng.randrange(len(value))
    kind = rng.random()
    if kind < 0.05:
        del items[k]
    elif kind < 0.1:
        items.append(items[k])
    else:
        items[k] = spoil(items[k], rng)
    return type(value)(items)


@pytest.mark.parametrize("cell", ["gru", "mut1", "lstm_fgr", "layer_norm_gru", "brc", "lem"])
def test_what_is_not_refused_runs(cell: str) -> None:
    """The engine refuses a changed definition, or its drivers can run what it says."""
    rng = random.Random(cell)
    accepted = 0
    for _ in range(300):
        definition = definition_of(cell)
        part = rng.choice(["stages"] * 6 + [p for p in PARTS if p not in ("name", "opens")])
        definition[part] = spoil(definition[part], rng)
        try:
            _core.define(**definition)
        except (RuntimeError, ValueError, TypeError, OverflowError):
            continue
        accepted += 1
        run(definition["name"])
    assert 0 < accepted < 300


def _of_many_products(x: Any, recurrent: Any, state: Any, _channel: Any) -> tuple[Any, ...]:
    """Multiply h by 16 matrices in the first stage, and by 15 others in the second."""
    (h,) = state
    early = recurrent(h, *range(16))
    (last,) = recurrent(tanh(sum(early[1:], x[0] + early[0])), 31)
    late = recurrent(h, *range(16, 31))
    return (tanh(sum(late, x[1] + last)),)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_as_many_products_of_h_as_there_may_be(dtype: str) -> None:
    """Two stages may have more products of h than one; backward sums the gradients of them all."""
    cell = Cell("many_products", step=_of_many_products, gates=2, recurrent_gates=32)
    definition = copy.deepcopy(_definition_of(cell)) | {"name": next(NAMES)}
    for stage in definition["stages"]:  # products of one gate, which the compiler would not make
        stage[0] = [
            (*operand, gate, 1)
            for *operand, first, n in stage[0]
            for gate in range(first, first + n)
        ]
    assert [len(stage[0]) for stage in definition["stages"]] == [16, 16]
    _core.define(**definition)
    traced_cases.assert_engine_as_reference(cell, definition["name"], dtype, H=17)


def run(name: str) -> None:
    (info,) = (cell for cell in _core.cells() if cell.name == name)
    weights = {n: np.ones(s, np.float32) for n, s in info.shapes(5, 5).items()}
    x = np.ones((3, 2, 5), np.float32)
    with np.errstate(all="ignore"):
        y, _, reserve = functional.forward(name, x, [functional.Weights(**weights)], training=True)
        assert reserve is not None
        if info.observes:  # forward only
            with pytest.raises(ValueError, match="reserve: expected that of a cell with gradients"):
                functional.backward(reserve, np.ones_like(y))
            return
        functional.backward(reserve, np.ones_like(y))
