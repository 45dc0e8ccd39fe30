"""Cells on the command line: `rnnfast cells`, and cells from Python files."""

from __future__ import annotations

import importlib.util
import inspect
import traceback
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from rnnfast._engine.known import COMPILED, cell_named
from rnnfast.cells import ZOO
from rnnfast.cli.errors import CommandError, option_errors
from rnnfast.reference import Cell

HELP = "a name that `rnnfast cells` lists, or FILE.py:NAME for a rnnfast.Cell of your own"


def cells(
    cell: Annotated[
        str | None,
        typer.Argument(help=f"Show this cell: {HELP}.", show_default=False),
    ] = None,
) -> None:
    """List the recurrent cells, or show the equations and the source of one."""
    if cell is not None:
        with option_errors():
            chosen = chosen_cell(cell)
            known = cell_named(chosen) if isinstance(chosen, str) else chosen
        typer.echo(_row(known))
        typer.echo(f"\n{_documentation(known)}")
        return
    typer.echo(_row(None))
    for known in ZOO.values():
        first = _documentation(known).partition("\n")[0]
        typer.echo(f"{_row(known)}  {first}")
    typer.echo(
        "W, R: row blocks of the weights for the input and for the state. Compiled: "
        f"{', '.join(COMPILED)}."
    )


def chosen_cell(text: str) -> str | Cell:
    """Return the cell that an option names: the name itself, or a cell from a Python file.

    Raises:
        CommandError: The file does not exist, cannot be run, or does not contain the cell.
    """
    file, colon, name = text.rpartition(":")
    if not colon:
        if text.endswith(".py"):
            raise CommandError(f"cell: expected FILE.py:NAME, got {text!r}; {_held(_run(text))}")
        return text
    module = _run(file)
    if not hasattr(module, name):
        raise CommandError(
            f"cell: expected FILE.py:NAME, but {file} has no {name!r}; {_held(module)}"
        )
    cell = getattr(module, name)
    if not isinstance(cell, Cell):
        raise CommandError(
            f"cell: expected a rnnfast.Cell as {name!r} of {file}, got {type(cell).__name__}; "
            f"{_held(module)}"
        )
    return cell


def _run(file: str) -> ModuleType:
    """Run a Python file and return its module."""
    path = Path(file)
    if not path.is_file():
        raise CommandError(f"cell: expected FILE.py:NAME, got a file that does not exist: {file}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise CommandError(f"cell: expected a file whose name ends in .py, got {file}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the file may raise anything
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == spec.origin]
        line = getattr(error, "lineno", None) or (lines[-1] if lines else None)
        where = file if line is None else f"{file}, line {line}"
        raise CommandError(f"cell: {where}: {type(error).__name__}: {error}") from error
    return module


def _held(module: ModuleType) -> str:
    names = [name for name, value in vars(module).items() if isinstance(value, Cell)]
    return f"its cells are {', '.join(names)}" if names else "it has no rnnfast.Cell"


def _documentation(cell: Cell) -> str:
    step: Any = cell.step
    while isinstance(step, partial):
        step = step.func
    return inspect.getdoc(step) or "(without a docstring)"


def _row(cell: Cell | None) -> str:
    """Return the line of a cell in the list, without its text; for None the heading."""
    values = ("cell", "states", "W", "R", "params")
    if cell is not None:
        numbers = cell.states, cell.gates, cell.recurrent_blocks, cell.params
        values = cell.name, *map(str, numbers)  # type: ignore[assignment]
    name, states, inputs, recurrent, params = values
    return f"{name:26} {states:>6} {inputs:>2} {recurrent:>2} {params:>6}"
