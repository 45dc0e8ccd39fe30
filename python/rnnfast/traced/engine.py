"""Definition of traced cells in the engine."""

from __future__ import annotations

from typing import Any

from rnnfast import _core
from rnnfast.traced.compiled import TracedCell


def define(traced: TracedCell, name: str) -> None:
    """Add a traced cell to `rnnfast.functional.cells()`.

    Raises:
        RuntimeError: The engine cannot run it, or has another cell with this name.
    """
    first = 0 if traced.opening is None else 1  # the engine counts the opening as a stage
    stages: list[Any] = []
    if traced.opening is not None:
        stages.append(([], traced.opening_values, *traced.opening))
    stages += [(s.products, len(s.made), s.forward, s.backward) for s in traced.stages]
    norms = [(n.slot, n.eps, n.made_by + first, n.used_by + first) for n in traced.norms]
    _core.define(
        name,
        traced.states,
        traced.params,
        list(traced.x_rows),
        list(traced.h_rows),
        traced.opening is not None,
        stages,
        norms,
        list(traced.constants),
        traced.slots,
        traced.dslots,
        traced.mask,
        traced.observes,
    )
