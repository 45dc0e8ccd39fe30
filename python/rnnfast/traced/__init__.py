"""Cells of any equations: a step is traced, differentiated and written as programs of instructions.

`compile` makes a `TracedCell` of a `Cell`: plain data, which the engine interprets. `cell_of` makes
a cell of its `graph`, without the Python function that it came from.
"""

from rnnfast.traced.compiled import Norm, Product, Stage, TracedCell, compile  # noqa: A004
from rnnfast.traced.description import cell_of
from rnnfast.traced.names import Named, name_values
from rnnfast.traced.observed import Observed, observe
from rnnfast.traced.program import Instruction, Program
from rnnfast.traced.trace import LIMITS
from rnnfast.traced.value import CellError

__all__ = [
    "LIMITS",
    "CellError",
    "Instruction",
    "Named",
    "Norm",
    "Observed",
    "Product",
    "Program",
    "Stage",
    "TracedCell",
    "cell_of",
    "compile",
    "name_values",
    "observe",
]
