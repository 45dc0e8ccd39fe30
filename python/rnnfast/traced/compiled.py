"""Compilation of the step of a cell to programs that the engine interprets."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from rnnfast.reference import Cell
from rnnfast.traced.derivative import Backward, differentiate
from rnnfast.traced.description import canonical, describe, without_mask
from rnnfast.traced.graph import Node
from rnnfast.traced.places import (
    Kept,
    Place,
    Root,
    backward_place,
    backward_roots,
    forward_place,
    forward_roots,
    opening_place,
)
from rnnfast.traced.program import Constants, Program, write
from rnnfast.traced.saved import keep
from rnnfast.traced.stages import OPENING, Multiplied, Normalised, Plan, cut, is_output
from rnnfast.traced.trace import check_limits, trace


class Product(NamedTuple):
    """Row blocks of weight_hh times an operand, plus bias_hh: the recurrent parts of gates.

    Attributes:
        of_state: Whether the operand is h before the step; otherwise it is a value.
        operand: The number of the state or value.
        first: The first of the gates.
        gates: Number of gates.
    """

    of_state: bool
    operand: int
    first: int
    gates: int


class Norm(NamedTuple):
    """A slot with mean 0 and variance 1 over the units of a row.

    Attributes:
        slot: The slot of the operand, in both passes.
        eps: The number added to the variance.
        made_by: The stage that computes the operand.
        used_by: The stage that sees the normalised value.
    """

    slot: int
    eps: float
    made_by: int
    used_by: int


class Stage(NamedTuple):
    """A stage: its products, then a program.

    Attributes:
        products: The products, which are computed before the program.
        forward: The program that runs for every unit.
        backward: The program of the gradients.
        made: The values that it computes.
    """

    products: tuple[Product, ...]
    forward: Program
    backward: Program
    made: tuple[int, ...]


@dataclass(frozen=True)
class TracedCell:
    """A cell for the engine's interpreter: plain data.

    Attributes:
        name: The name of the cell.
        states: Number of states.
        params: Rows of weight_channel.
        gates: Number of gates, which the engine numbers by itself.
        x_rows: The row block of weight_ih that a gate has; -2 for the input itself, -1 for none.
        h_rows: The row block of weight_hh that a gate has, or -1.
        slots: Places of a unit and step; the first take the inputs' parts of gates.
        mask: The slot in which a step finds the mask of its candidate; -1 where it is not dropped.
        dslots: Gradients of a unit that travel between stages of the backward pass.
        values: What products multiply.
        opening_values: Those of them that are made at the end of the step before.
        constants: Numbers that programs read.
        stages: In the order of the forward pass.
        norms: What is normalised over the units.
        opening: The programs that make the opening values, and that of their gradients; None where
            there are none.
        graph: The equations, as `rnnfast.traced.cell_of` takes them.
        marked: The same with the mask of the candidate in them; None of a cell without a candidate.
        observes: Whether it is a form that runs forward only, for the values that its slots keep.
    """

    name: str
    states: int
    params: int
    gates: int
    x_rows: tuple[int, ...]
    h_rows: tuple[int, ...]
    slots: int
    mask: int
    dslots: int
    values: int
    opening_values: int
    constants: tuple[float, ...]
    stages: tuple[Stage, ...]
    norms: tuple[Norm, ...]
    opening: tuple[Program, Program] | None
    graph: dict[str, Any]
    marked: dict[str, Any] | None
    observes: bool


_compiled: dict[tuple[int, bool], TracedCell] = {}
"""Cache of compiled cells by the identity of the cell, for as long as the cell lives."""


def compile(cell: Cell, *, drops_candidate: bool = False) -> TracedCell:  # noqa: A001
    """Return the programs of a cell, which is compiled only once.

    Args:
        cell: The cell.
        drops_candidate: Whether to multiply its candidate by a mask, which the step finds in a
            slot.

    Raises:
        CellError: The step does what cannot be compiled, or needs more than the engine has.
    """
    key = id(cell), drops_candidate
    traced = _compiled.get(key)
    if traced is None:
        traced = _compile(cell, drops_candidate)
        weakref.finalize(cell, _compiled.pop, key, None)
        _compiled[key] = traced
    return traced


def _compile(cell: Cell, drops_candidate: bool) -> TracedCell:
    traced = trace(cell)
    marked, plain = canonical(traced), canonical(without_mask(traced))
    has_candidate = any(node.op == "mask" for node in marked.graph.nodes)
    descriptions = describe(plain), describe(marked) if has_candidate else None
    plan = cut(marked if drops_candidate else plain)
    backward = differentiate(plan)
    kept = keep(plan, backward)
    return assemble(plan, backward, kept, descriptions)


def assemble(
    plan: Plan,
    backward: Backward | None,
    kept: Kept,
    descriptions: tuple[dict[str, Any], dict[str, Any] | None],
) -> TracedCell:
    """Write the programs of a planned step.

    Args:
        plan: The stages of the step.
        backward: Their gradients; None for a form that runs forward only.
        kept: The values that a step keeps.
        descriptions: The fields `graph` and `marked` of the result.

    Raises:
        CellError: The step needs more than the engine has.
    """
    equations, constants = plan.equations, Constants()

    def program(roots: list[Root], place: Callable[..., Place | None], *given: Any) -> Program:
        return write(equations.graph, roots, partial(place, *given), constants)

    stages = tuple(
        Stage(
            tuple(_product(plan, product) for product in plan.products[k]),
            program(forward_roots(plan, kept, k), forward_place, plan, kept, k),
            ()
            if backward is None
            else program(backward_roots(plan, backward, k), backward_place, plan, kept),
            tuple(number for number, _ in plan.values_of(k)),
        )
        for k in range(plan.stages)
    )
    opening_values = plan.values_of(OPENING)
    opening = None
    if opening_values:
        roots: list[Root] = [(("made", k), node) for k, node in opening_values]
        back = () if backward is None else program(backward.opening, opening_place)
        opening = (program(roots, opening_place), back)
    made = TracedCell(
        equations.name,
        equations.states,
        equations.params,
        len(plan.gates),
        tuple(-1 if gate.x is None else _row(gate.x) for gate in plan.gates),
        tuple(-1 if gate.h is None else _row(gate.h) for gate in plan.gates),
        kept.size,
        next((kept.slot[node] for node in plan.nodes if node.op == "mask"), -1),
        0 if backward is None else backward.dslots,
        len(plan.values),
        len(opening_values),
        tuple(constants.values),
        stages,
        tuple(_norm(kept, norm) for norm in plan.norms),
        opening,
        *descriptions,
        backward is None,
    )
    _check_limits(made)
    return made


def _row(node: Node) -> int:
    return -2 if node.op == "input" else node.item


def _product(plan: Plan, product: Multiplied) -> Product:
    of_state = is_output(product.operand)
    operand = 0 if of_state else plan.values.index(product.operand)
    return Product(of_state, operand, product.first, product.gates)


def _norm(kept: Kept, norm: Normalised) -> Norm:
    eps = norm.node.data
    assert isinstance(eps, float)
    return Norm(kept.slot[norm.operand], eps, norm.made_by, norm.used_by)


def _check_limits(traced: TracedCell) -> None:
    programs = [p for stage in traced.stages for p in (stage.forward, stage.backward)]
    counts = {
        "stages": len(traced.stages) + (traced.opening is not None),
        "products": sum(len(stage.products) for stage in traced.stages),
        "gates": traced.gates,
        "values": traced.values,
        "norms": len(traced.norms),
        "states": traced.states,
        "params": traced.params,
        "slots": traced.slots,
        "constants": len(traced.constants),
        "temporaries": max(map(_temporaries, [*programs, *(traced.opening or ())])),
    }
    check_limits(traced.name, counts)


def _temporaries(program: Program) -> int:
    return max((int(i[2]) + 1 for i in program if i[1] == "tmp"), default=0)
