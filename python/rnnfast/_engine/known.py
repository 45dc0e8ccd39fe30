"""Which cells there are, by name: the compiled ones, those of the zoo, and users' own.

A cell that is not compiled is traced, and becomes known to the engine, when it is first asked for.
Equations have one name, and a name has one set of equations, as long as the process lives: what is
compiled, packed or kept for a name never is of other equations.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from rnnfast import _core
from rnnfast.cells import ZOO
from rnnfast.reference import Cell

if TYPE_CHECKING:
    from rnnfast.traced import TracedCell

COMPILED: tuple[str, ...] = tuple(cell.name for cell in _core.cells())
"""The cells that have kernels of their own."""

_MARK = "@"  # between the name of a cell that was not registered and what tells its equations


_DROPPING = f"{_MARK}candidate_dropout"  # after the name of a cell whose candidate is dropped

_lock = threading.RLock()
_defined: dict[str, Cell] = {}  # traced cells that the engine has
_dropping: set[str] = set()  # likewise, by the names of their forms whose candidate is dropped
_registered: dict[str, str] = {}  # names by digests, of `register` alone
_names: dict[int, tuple[weakref.ref[Cell], str]] = {}  # of cells that came as objects


def register(cell: Cell, name: str | None = None) -> str:
    """Give a cell a name, by which layers, functions, models and `rnnfast.torch` then know it.

    A cell need not be registered: whatever takes a name takes the cell itself, too.

    Args:
        cell: The cell, which is traced now.
        name: The name; None for the cell's own.

    Returns:
        The name.

    Raises:
        ValueError: Another cell has this name, with other equations; or the name is empty or has
            an "@" in it.
        rnnfast.traced.CellError: A `ValueError`, too: the step does what cannot be compiled. The
            message names the line.
        TypeError: An argument is of the wrong type.
    """
    if not isinstance(cell, Cell):
        raise TypeError(f"cell: expected a rnnfast.Cell, got {type(cell).__name__}")
    name = cell.name if name is None else name
    if not isinstance(name, str):
        raise TypeError(f"name: expected a string, got {type(name).__name__}")
    if not name or _MARK in name:
        raise ValueError(f"name: expected a text without {_MARK!r} that is not empty, got {name!r}")
    with _lock:
        traced = _traced(cell)
        if name in ZOO or name in _defined:
            if not _stands_for(name, traced):
                raise ValueError(
                    f"name: expected one that no cell with other equations has, got {name!r}; "
                    "register the cell under another name, or pass the cell itself in place of a "
                    "name"
                )
            return name_of(name)
        _define(name, cell)
        _registered.setdefault(_digest(traced), name)
        _names.clear()  # they may have this name now
    return name


def name_of(cell: str | Cell) -> str:
    """The name by which the engine knows a cell, which it does from now on.

    That of a cell which is not registered is made of its own name and a digest of its equations, so
    that it is the same in every process.

    Raises:
        ValueError: There is no cell of this name, or the cell cannot be compiled.
        TypeError: It is neither a cell nor a name.
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
    """The equations of a cell that `name_of` gave the name."""
    name_of(name)
    return ZOO[name] if name in ZOO else _defined[name]


def graph_of(name: str) -> dict[str, Any] | None:
    """A cell's equations as plain data for files, None of compiled cells; see `name_of_graph`.

    The candidate of a cell of the zoo is known by its name, that of others stands in the equations.
    """
    if name in COMPILED:
        return None
    traced = _traced(cell_named(name))
    graph = traced.graph if name in ZOO else traced.marked or traced.graph
    return graph | {"name": name.partition(_MARK)[0]}


def has_candidate(name: str) -> bool:
    """Whether the step of a cell marks a candidate, `x.candidate(v)`, which may be dropped."""
    return _traced(cell_named(name)).marked is not None


def dropping(name: str) -> str:
    """The name of the form of a cell with a candidate in which that is dropped.

    The engine knows it from now on. Its weights are those of the cell, its step multiplies the
    candidate with a mask.
    """
    form = name + _DROPPING
    if form not in _dropping:
        from rnnfast.traced.engine import define

        with _lock:
            if form not in _dropping:
                define(_traced(cell_named(name), drops_candidate=True), form)
                _dropping.add(form)
    return form


def name_of_graph(graph: object) -> str:
    """The name of the cell of a graph, which may come from anywhere: nothing in it is run as code.

    Raises:
        rnnfast.traced.CellError: It is no graph of a cell.
    """
    from rnnfast.traced import cell_of

    return name_of(cell_of(graph))


def _traced(cell: Cell, *, drops_candidate: bool = False) -> TracedCell:
    from rnnfast import traced  # loaded when it is first needed, as most programs have no need

    return traced.compile(cell, drops_candidate=drops_candidate)


def _define(name: str, cell: Cell) -> None:
    """Let the engine know a cell by a name that is free, or has this cell by now."""
    from rnnfast.traced.engine import define

    with _lock:
        if name not in _defined:
            define(_traced(cell), name)
            _defined[name] = cell


def _name_of_object(cell: Cell) -> str:
    """`name_of` a cell that comes for the first time."""
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
    """Whether a name is that of a cell's equations and, if it marks one, of its candidate."""
    if name not in ZOO and name not in _defined:
        return False
    known = _traced(cell_named(name))
    return _digest(traced) == _digest(known) or (
        traced.marked is None and _digest_of(traced.graph) == _digest_of(known.graph)
    )


def _digest(traced: TracedCell) -> str:
    """Tells equations and their candidate from others, whatever the name of the cell."""
    return _digest_of(traced.marked or traced.graph)


def _digest_of(graph: dict[str, Any]) -> str:
    import hashlib  # these, and difflib below, are milliseconds of an import that few need
    import json

    unnamed = {key: value for key, value in graph.items() if key != "name"}
    return hashlib.sha256(json.dumps(unnamed, sort_keys=True).encode()).hexdigest()


def _unknown(name: str) -> str:
    """What is wrong with a name, and what may be meant."""
    import difflib

    close = difflib.get_close_matches(name.lower(), {*ZOO, *_defined}, 3)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    return (
        "expected a name out of rnnfast.cells.ZOO, one that was registered, or a rnnfast.Cell, "
        f"got {name!r}{hint}"
    )
