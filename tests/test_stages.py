"""The stages in each cell's C++ header match its equations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from rnnfast import functional
from rnnfast.reference import CELLS
from rnnfast.reference.cell import Inputs
from rnnfast.reference.tape import Var

Product = tuple[str, list[int]]  # what is multiplied, and the gates to which it is added


def parents(node: Var) -> list[Var]:
    """Return the values that a value was computed from directly."""
    return [parent for parent, _ in node._parents]


class Trace:
    """A step of a reference cell, run once on random numbers, with a record of each product."""

    def __init__(self, name: str) -> None:
        cell, rng = CELLS[name], np.random.default_rng(0)
        self._rng = rng
        self.inputs, self._state, channel = (
            [Var(rng.standard_normal((2, 3))) for _ in range(count)]
            for count in (cell.gates, cell.states, cell.params)
        )
        self.recurrent: dict[int, Var] = {}  # the recurrent parts of gates
        self._values: list[Var] = []  # operands that are not states
        self._calls: list[tuple[int, Product]] = []  # with the stage, counted from 1
        self._made_in: dict[int, int] = {}  # the stage of a product's result, by its id
        x = Inputs(self.inputs)
        self.results = cell.step(x, self._multiply, self._state, channel)  # type: ignore[arg-type]

    def _multiply(self, operand: Var, *gates: int) -> list[Var]:
        numbers = list(gates or range(len(self.inputs)))
        is_state = [operand is s for s in self._state]
        if any(is_state):
            what = f"state {is_state.index(True)}"
        else:
            self._values.append(operand)
            what = f"value {len(self._values) - 1}"
        stage = self._stage_of(operand) + 1
        self._calls.append((stage, (what, numbers)))
        products = [Var(self._rng.standard_normal((2, 3))) for _ in numbers]
        self._made_in |= {id(p): stage for p in products}
        self.recurrent |= dict(zip(numbers, products, strict=True))
        return products

    def _stage_of(self, node: Var) -> int:
        """Return the last stage whose products a value depends on, or 0 if there is none."""
        before = [self._stage_of(parent) for parent in parents(node)]
        return max([self._made_in.get(id(node), 0), *before])

    def stages(self) -> list[list[Product]]:
        """Return the products of each stage; stage 1 is empty if a value needs only states."""
        last = max(stage for stage, _ in self._calls)
        found = [[p for stage, p in self._calls if stage == k] for k in range(1, last + 1)]
        opens = any(self._stage_of(value) == 0 for value in self._values)
        return [[], *found] if opens else found

    def nodes(self) -> Iterator[Var]:
        """Return everything that the new states are computed from."""
        seen: dict[int, Var] = {}
        todo = [*self.results, *self._values]
        while todo:
            node = todo.pop()
            if id(node) not in seen:
                seen[id(node)] = node
                todo += parents(node)
        return iter(seen.values())

    def is_split(self, gate: int) -> bool:
        """Return whether a gate's two parts are used for anything but their sum."""
        x, h = self.inputs[gate], self.recurrent[gate]
        for node in self.nodes():
            of_it = [p for p in parents(node) if p is x or p is h]
            is_sum = len(of_it) == 2 == len(parents(node))
            if of_it and not (is_sum and np.array_equal(node.value, x.value + h.value)):
                return True
        return False


@pytest.mark.parametrize("cell", CELLS)
def test_products_are_those_of_the_equations(cell: str) -> None:
    stages = [stage.products for stage in functional.cells()[cell].stages]
    assert stages == Trace(cell).stages()


@pytest.mark.parametrize("cell", CELLS)
def test_a_stage_that_sees_sums_needs_no_more(cell: str) -> None:
    trace = Trace(cell)
    for stage in functional.cells()[cell].stages:
        gates = [gate for _, gates in stage.products for gate in gates]
        assert stage.split == any(trace.is_split(gate) for gate in gates)


def test_mut3_has_all_kinds_of_stages() -> None:
    """If both sides were empty, the tests above would pass."""
    opening, first, second = functional.cells()["mut3"].stages
    assert opening.products == []
    assert first.products == [("state 0", [0]), ("value 0", [1])]
    assert second.products == [("value 1", [2])]
