"""The zoo: recurrent cells of the literature as plain equations, and what to write others with.

`ZOO` has every cell by its name, those that are compiled among them: `ZOO["mgu"]`. A cell is a
function of one step, from which everything else follows; docs/cells.md lists them all with their
equations, and tells what was left out. A cell's options are keyword arguments of its step:

    replace(ZOO["lem"], step=partial(ZOO["lem"].step, dt=0.5))

`sigmoid`, `tanh`, `where` and the other functions here are those that a step is written with, of
users' own cells as well: see docs/your_own_cell.md.
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
