"""The cells that exist, by name: compiled cells, cells of the zoo and user-defined cells.

A cell that is not compiled is traced and defined in the engine when it is first used. As long as
the process lives, a name stands for one set of equations and equations have one name, so whatever
is compiled, packed or cached under a name always fits its equations.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from rnnfast import _core
from rnnfast.cells import ZOO
from rnnfast.reference import Cell
from rnnfast.reference.cell import check_text

if TYPE_CHECKING:
    from rnnfast.traced import Named, TracedCell

COMPILED: tuple[str, ...] = tuple(cell.name for cell in _core.cells())
"""Names of the cells with compiled kernels."""

_MARK = "@"  # between the name of an unregistered cell and the digest of its equations


_DROPPING = f"{_MARK}candidate_dropout"  # suffix of the form of a cell that drops its candidate

_OBSERVED = f"{_MARK}observed:"  # between the name of a cell and the values that a form of it keeps

_lock = threading.RLock()
_defined: dict[str, Cell] = {}  # traced cells that are defined in the engine
_dropping: set[str] = set()  # names of the defined forms that drop their candidate
_registered: dict[str, str] = {}  # names given by `register`, by digest
_named: dict[str, Named] = {}  # names of the values of steps, by cell
_observed: dict[str, dict[str, int]] = {}  # slots of the values that defined forms keep
_names: dict[int, tuple[weakref.ref[Cell], str]] = {}  # names of cells passed as objects, by id


def register(cell: Cell, name: str | None = None) -> str:
    """Register a cell under a name that layers, functions, models and `rnnfast.torch` then accept.

    Registration is optional: whatever takes the name of a cell also takes the cell itself.

    Args:
        cell: The cell, which is traced now.
        name: The name; None for `cell.name`.

    Returns:
        The name.

    Raises:
        ValueError: A cell with other equations has this name, or the name is empty or contains "@".
        rnnfast.traced.CellError: The step cannot be compiled; the message names the line. This is a
            `ValueError`, too.
        TypeError: An argument has the wrong type.
    """
    if not isinstance(cell, Cell):
        raise TypeError(f"cell: expected a rnnfast.Cell, got {type(cell).__name__}")
    name = cell.name if name is None else name
    if not isinstance(name, str):
        raise TypeError(f"name: expected a string, got {type(name).__name__}")
    if not name or _MARK in name:
        raise ValueError(f"name: expected a non-empty string without {_MARK!r}, got {name!r}")
    check_text("name", name)
    with _lock:
        traced = _traced(cell)
        if name in ZOO or name in _defined:
            if not _stands_for(name, traced):
                raise ValueError(
                    "name: expected a name that is not taken by a cell with other equations, got "
                    f"{name!r}; register the cell under another name, or pass the cell itself "
                    "instead of a name"
                )
            return name_of(name)
        _define(name, cell)
        _registered.setdefault(_digest(traced), name)
        _names.clear()  # the new name may now apply to some of these cells
    return name


def name_of(cell: str | Cell) -> str:
    """Return the engine's name of a cell, which is defined in the engine if it is new.

    The name of an unregistered cell consists of its own name and a digest of its equations, so it
    is the same in every process.

    Raises:
        ValueError: No cell has this name, or the cell cannot be compiled.
        TypeError: `cell` is neither a cell nor a name.
    """
    if isinstance(cell, str):
        if cell not in COMPILED and cell not in _defined:
            if cell not in ZOO:
                raise ValueError(f"cell: {_unknown(cell)}")
            _define(cell, ZOO[cell])
        return cell
    if not isinstance(cell, Cell):
        raise TypeError(
            f"cell: expected the name of a cell or a rnnfast.Cell, got {type(cell).__name__}"
        )
    kept = _names.get(id(cell))
    if kept is None or kept[0]() is not cell:
        with _lock:
            kept = _names[id(cell)] = weakref.ref(cell), _name_of_object(cell)
    return kept[1]


def cell_named(name: str) -> Cell:
    """Return the cell with a name that `name_of` returned."""
    name_of(name)
    return ZOO[name] if name in ZOO else _defined[name]


def graph_of(name: str) -> dict[str, Any] | None:
    """Return the equations of a cell as plain data for files; None for a compiled cell.

    The data of a user-defined cell marks the candidate. That of a cell of the zoo need not, as its
    name determines the candidate. `name_of_graph` reads the data back.
    """
    if name in COMPILED:
        return None
    traced = _traced(cell_named(name))
    graph = traced.graph if name in ZOO else traced.marked or traced.graph
    return graph | {"name": name.partition(_MARK)[0]}


def has_candidate(name: str) -> bool:
    """Return whether the step of a cell marks a candidate by `x.candidate(v)`."""
    return _traced(cell_named(name)).marked is not None


def dropping(name: str) -> str:
    """Return the name of the form of a cell that multiplies the candidate by a mask.

    It has the same weights as the cell, and is defined in the engine if it is new.
    """
    form = name + _DROPPING
    if form not in _dropping:
        from rnnfast.traced.engine import define

        with _lock:
            if form not in _dropping:
                define(_traced(cell_named(name), drops_candidate=True), form)
                _dropping.add(form)
    return form


def named_values(name: str) -> Named:
    """Return the step of a cell with the names of its values."""
    if name not in _named:
        from rnnfast.traced import name_values

        _named[name] = name_values(cell_named(name))
    return _named[name]


def observing(name: str, values: tuple[str, ...]) -> tuple[str, dict[str, int]]:
    """Return the name of the form of a cell that keeps values of its steps, and their slots.

    It has the same weights as the cell but no gradients, and is defined in the engine if it is new.

    Args:
        name: The name of the cell.
        values: Names out of the `values` of `named_values`.

    Raises:
        rnnfast.traced.CellError: The values need more slots than the engine has.
    """
    form = name + _OBSERVED + ",".join(values)
    if form not in _observed:
        from rnnfast.traced import observe
        from rnnfast.traced.engine import define

        with _lock:
            if form not in _observed:
                observed = observe(named_values(name), values)
                define(observed.traced, form)
                _observed[form] = observed.slots
    return form, _observed[form]


def name_of_graph(graph: object) -> str:
    """Return the name of the cell that a graph describes.

    The graph may come from an untrusted file: nothing in it is run as code.

    Raises:
        rnnfast.traced.CellError: The data is not the graph of a cell.
    """
    from rnnfast.traced import cell_of

    return name_of(cell_of(graph))


def _traced(cell: Cell, *, drops_candidate: bool = False) -> TracedCell:
    from rnnfast import traced  # imported late, as most programs never need it

    return traced.compile(cell, drops_candidate=drops_candidate)


def _define(name: str, cell: Cell) -> None:
    """Define a cell in the engine, unless another thread has just defined it."""
    from rnnfast.traced.engine import define

    with _lock:
        if name not in _defined:
            define(_traced(cell), name)
            _defined[name] = cell


def _name_of_object(cell: Cell) -> str:
    """Return `name_of` a cell object that has not been seen before."""
    if ZOO.get(cell.name) is cell:
        return name_of(cell.name)
    traced = _traced(cell)
    if _stands_for(cell.name, traced):
        return name_of(cell.name)
    digest = _digest(traced)
    if digest in _registered:
        return _registered[digest]
    name = f"{cell.name.partition(_MARK)[0]}{_MARK}{digest[:12]}"
    _define(name, cell)
    return name


def _stands_for(name: str, traced: TracedCell) -> bool:
    """Return whether a name stands for the equations of a cell and any candidate it marks."""
    if name not in ZOO and name not in _defined:
        return False
    known = _traced(cell_named(name))
    return _digest(traced) == _digest(known) or (
        traced.marked is None and _digest_of(traced.graph) == _digest_of(known.graph)
    )


def _digest(traced: TracedCell) -> str:
    """Return a digest of the equations and their candidate, independent of the cell's name."""
    return _digest_of(traced.marked or traced.graph)


def _digest_of(graph: dict[str, Any]) -> str:
    import hashlib  # imported late, like difflib below: few programs need them, and it takes ms
    import json

    unnamed = {key: value for key, value in graph.items() if key != "name"}
    return hashlib.sha256(json.dumps(unnamed, sort_keys=True).encode()).hexdigest()


def _unknown(name: str) -> str:
    """Return an error message for an unknown name, with suggestions."""
    import difflib

    close = difflib.get_close_matches(name.lower(), {*ZOO, *_defined}, 3)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    return (
        "expected a name in rnnfast.cells.ZOO, a registered name, or a rnnfast.Cell, got "
        f"{name!r}{hint}"
    )
