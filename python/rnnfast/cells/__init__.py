"""The zoo: recurrent cells from the literature as plain equations, and functions to write more.

`ZOO` maps names to cells, including the compiled ones: `ZOO["mgu"]`. A cell is defined by the
function of one step; everything else follows from it. docs/cells.md lists all cells with their
equations, and explains which ones were left out. The options of a cell are keyword arguments of its
step:

    replace(ZOO["lem"], step=partial(ZOO["lem"].step, dt=0.5))

Steps, including those of your own cells, are written with `sigmoid`, `tanh`, `where` and the other
functions exported here: see docs/your_own_cell.md.
"""

from rnnfast.cells import (
    continuous,
    gated,
    highway,
    independent,
    lstm_variants,
    mutants,
    normalized,
)
from rnnfast.cells.highway import recurrent_highway
from rnnfast.reference import CELLS, Cell
from rnnfast.reference.tape import (
    exp,
    hard_sigmoid,
    log,
    maximum,
    minimum,
    normalize,
    relu,
    sigmoid,
    softplus,
    tanh,
    where,
)

ZOO: dict[str, Cell] = {
    cell.name: cell
    for cell in (
        *CELLS.values(),
        *gated.CELLS,
        *independent.CELLS,
        *continuous.CELLS,
        *mutants.CELLS,
        *highway.CELLS,
        *lstm_variants.CELLS,
        *normalized.CELLS,
    )
}

__all__ = [
    "ZOO",
    "exp",
    "hard_sigmoid",
    "log",
    "maximum",
    "minimum",
    "normalize",
    "recurrent_highway",
    "relu",
    "sigmoid",
    "softplus",
    "tanh",
    "where",
]
