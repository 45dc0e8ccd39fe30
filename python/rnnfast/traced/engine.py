"""Hands traced cells to the engine."""

from __future__ import annotations

from typing import Any

from rnnfast import _core
from rnnfast.traced.compiled import TracedCell
from rnnfast.traced.program import Program


_defined: dict[str, TracedCell] = {}


def defined(name: str) -> TracedCell | None:
    """The traced cell that `define` gave a name; None for cells of the registry."""
    return _defined.get(name)


def define(traced: TracedCell, name: str) -> None:
    """Make a traced cell one of `rnnfast.functional.cells()`.

    Raises:
        RuntimeError: The engine cannot run it, or has another cell of that name.
    """
    norms = _Norms(traced)
    stages: list[Any] = []
    if traced.opening is not None:
        forward, backward = traced.opening
        programs = norms.renamed(forward), norms.renamed(backward)
        stages.append(([], traced.opening_values, *programs))
    for stage in traced.stages:
        products = [
            (p.kind == "state", norms.value(p), p.first, p.gates)
            for p in stage.products
            if p.kind != "norm"
        ]
        made = sum(value not in norms.of_value for value in stage.made)
        stages.append((products, made, norms.renamed(stage.forward), norms.renamed(stage.backward)))
    gates = traced.gates - len(norms.list)
    _core.define(
        name,
        traced.states,
        traced.params,
        list(traced.x_rows[:gates]),
        list(traced.h_rows[:gates]),
        traced.opening is not None,
        stages,
        norms.list,
        list(traced.constants),
        traced.slots,
        traced.dslots,
    )
    _defined[name] = traced


class _Norms:
    """The norms of a cell as the engine has them: apart from products, values and gates."""

    def __init__(self, traced: TracedCell) -> None:
        opens = traced.opening is not None
        made_by = {value: k for k, stage in enumerate(traced.stages) for value in stage.made}
        self.list: list[tuple[int, float, int, int]] = []
        self.of_value: dict[int, int] = {}  # the norm of a value
        self._of_gate: dict[int, int] = {}
        for k, stage in enumerate(traced.stages):
            for product in stage.products:
                if product.kind == "norm":
                    self._of_gate[product.first] = self.of_value[product.operand] = len(self.list)
                    stages = made_by[product.operand] + opens, k + opens
                    self.list.append((product.slot, product.eps, *stages))
        kept = [value for value in range(traced.values) if value not in self.of_value]
        self._numbers = {value: number for number, value in enumerate(kept)}

    def value(self, product: Any) -> int:
        """The engine's number of what a product multiplies."""
        return product.operand if product.kind == "state" else self._numbers[product.operand]

    def renamed(self, program: Program) -> list[tuple[Any, ...]]:
        """A program with the engine's places."""
        renamed: list[tuple[Any, ...]] = []
        for op, *places in program:
            pairs = zip(places[::2], places[1::2], strict=True)
            known = [self._place(*pair) for pair in pairs if pair[0] != "none"]
            renamed.append((op, *(part for place in known for part in place)))
        return renamed

    def _place(self, kind: Any, index: Any) -> tuple[str, int]:
        if kind in ("h", "dgate") and index in self._of_gate:
            return {"h": "norm", "dgate": "dnorm"}[kind], self._of_gate[index]
        if kind in ("made", "dmade"):
            if index in self.of_value:
                norm = self.of_value[index]
                return ("dsource", norm) if kind == "dmade" else ("tmp", 40 + norm)
            return kind, self._numbers[index]
        return ("constant", index) if kind == "const" else (kind, index)
