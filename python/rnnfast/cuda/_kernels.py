"""C++ source for the kernels of cells that are not compiled ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rnnfast._engine.known import COMPILED, cell_named

if TYPE_CHECKING:
    from rnnfast.traced import TracedCell  # loaded when a cell is first traced

TYPE = "rnnfast::cuda::Compiled"
"""The name of the cell in the source."""


class Unit(NamedTuple):
    """One kernel of a cell in one pass, as the extension's `load` takes it."""

    cell: int
    kernel: str
    backward: bool
    paired: bool


class Kernels(NamedTuple):
    """The input of the compiler.

    Attributes:
        text: The source. It includes headers below the folders `src` and `src/cpp`.
        functions: The names of the kernels in C++.
    """

    text: str
    functions: list[str]


def kernels(extension: Any, unit: Unit, traced: TracedCell | None) -> Kernels:
    """Return the source of the kernels of a unit.

    Args:
        extension: The compiled module.
        unit: The unit.
        traced: The cell; None for a cell of the registry, which has a header.

    Raises:
        CellError: The cell has no header.
    """
    included, functions = extension.functions(**unit._asdict(), type=TYPE)
    if traced is None:
        text, name = '#include "cells/registry.h"\n', f"CellAt<{unit.cell}>"
    else:
        from rnnfast.traced.header import header

        name, text = header(traced)
    text = f'#include "{included}"\n{text}\n'
    text += f"namespace rnnfast::cuda {{\nusing Compiled = {name};\n}}\n"
    return Kernels(text, functions)


def traced_cell(name: str) -> TracedCell | None:
    """Return the equations of a cell that the engine knows; None for a cell of the registry."""
    if name in COMPILED:
        return None
    from rnnfast import traced

    return traced.compile(cell_named(name))


def definition(traced: TracedCell) -> dict[str, Any]:
    """Return the arguments of the extension's `define_cell`, without the name."""
    stages: list[tuple[list[tuple[bool, int, int, int]], int]] = [
        (
            list(stage.products),
            len(stage.made),
        )
        for stage in traced.stages
    ]
    if traced.opening is not None:
        stages.insert(0, ([], traced.opening_values))
    return {
        "states": traced.states,
        "params": traced.params,
        "input": traced.x_rows,
        "recurrent": traced.h_rows,
        "opens": traced.opening is not None,
        "stages": stages,
        "slots": traced.slots,
        "dslots": traced.dslots,
    }
