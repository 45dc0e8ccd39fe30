"""Forms of a cell that keep named values of each step in slots, where they can be read.

Such a form has the weights of the cell and computes the same states, but has no gradients. Its
candidate is not dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rnnfast.traced.compiled import TracedCell, assemble
from rnnfast.traced.description import canonical, without_mask
from rnnfast.traced.names import Named
from rnnfast.traced.saved import keep
from rnnfast.traced.stages import cut


class Observed(NamedTuple):
    """A form of a cell that keeps values.

    Attributes:
        traced: The form.
        slots: The slot of each value, by name.
    """

    traced: TracedCell
    slots: dict[str, int]


def observe(named: Named, values: Sequence[str]) -> Observed:
    """Return the form of a cell that keeps some of its named values.

    Args:
        named: The cell's step, as `name_values` returns it.
        values: Names out of `named.values`.

    Raises:
        CellError: The values need more slots than the engine has.
    """
    equations = named.equations
    nodes = tuple(named.values[name] for name in values)
    # As results they survive the changes of the graph, and sums that are named stay as they are.
    plain = canonical(without_mask(equations._replace(results=(*equations.results, *nodes))))
    states, observed = plain.results[: plain.states], plain.results[plain.states :]
    plan = cut(plain._replace(results=states, observed=observed))
    kept = keep(plan, None)
    traced = assemble(plan, None, kept, ({}, None))
    return Observed(traced, {n: kept.slot[node] for n, node in zip(values, observed, strict=True)})
