"""Names of cells: the zoo's, registered ones, and those of cells passed as objects."""

from __future__ import annotations

import copy
import gc
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

import rnnfast
from rnnfast import functional
from rnnfast._engine import known
from rnnfast._engine.known import COMPILED, cell_named, name_of
from rnnfast.cells import ZOO, sigmoid, tanh
from rnnfast.reference import CELLS

T, B, I, H = 4, 3, 5, 6


def made(slope: float, name: str = "sloped") -> rnnfast.Cell:
    """Return a new cell with equations that depend on a number."""

    def step(x: Any, recurrent: Any, state: Any, _channel: Any) -> tuple[Any, ...]:
        (h,) = state
        return (tanh(slope * x[0] + recurrent(h)[0]) + sigmoid(h),)

    return rnnfast.Cell(name, step)


def outputs(cell: str | rnnfast.Cell) -> np.ndarray:
    layer = rnnfast.Recurrent(cell, I, H, seed=1)
    return layer(np.linspace(-1, 1, T * B * I, dtype=np.float32).reshape(T, B, I))[0]


def test_a_registered_name_is_taken_wherever_names_are() -> None:
    cell = made(0.25)
    assert rnnfast.register(cell, "a name for it") == "a name for it"
    assert rnnfast.register(cell, "a name for it") == "a name for it"
    assert rnnfast.register(made(0.25), "a name for it") == "a name for it"  # the same equations
    info = functional.cells()["a name for it"]
    assert (info.states, info.gates, info.recurrent_gates, info.params) == (1, 1, 1, 0)
    assert rnnfast.Recurrent(cell, I, H).cell == "a name for it"
    assert rnnfast.Recurrent(made(0.25), I, H).cell == "a name for it"
    np.testing.assert_array_equal(outputs("a name for it"), outputs(cell))
    assert repr(rnnfast.Recurrent(cell, I, H, device="cpu")) == "Recurrent('a name for it', 5, 6)"


def test_a_name_stands_for_one_set_of_equations() -> None:
    rnnfast.register(made(0.5, "half"))
    wrong = r"name: expected a name that is not taken by .*, got '{}'; register the cell"
    with pytest.raises(ValueError, match=wrong.format("half")):
        rnnfast.register(made(0.75, "half"))
    with pytest.raises(ValueError, match=wrong.format("lstm")):
        rnnfast.register(made(0.5), "lstm")
    with pytest.raises(ValueError, match=wrong.format("mgu")):
        rnnfast.register(made(0.5), "mgu")
    other = rnnfast.Recurrent(made(0.75, "half"), I, H)  # needs no name of its own
    assert other.cell.startswith("half@")
    assert not np.array_equal(outputs(other.cell), outputs("half"))
    assert rnnfast.register(CELLS["gru"]) == "gru"
    assert rnnfast.register(ZOO["mgu"]) == "mgu"


def test_wrong_names_and_cells_are_refused() -> None:
    for name, message in {
        "": "name: expected a non-empty string without '@', got ''",
        "a@b": "name: expected a non-empty string without '@', got 'a@b'",
    }.items():
        with pytest.raises(ValueError, match=message):
            rnnfast.register(made(1.5), name)
    with pytest.raises(TypeError, match="name: expected a string, got int"):
        rnnfast.register(made(1.5), 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"cell: expected a rnnfast.Cell, got str"):
        rnnfast.register("lstm")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"the name of a cell or a rnnfast.Cell, got int"):
        rnnfast.Recurrent(3, I, H)  # type: ignore[arg-type]
    with pytest.raises(rnnfast.traced.CellError, match="neither true nor false"):
        rnnfast.register(rnnfast.Cell("branch", lambda x, *_: (x[0] or 1,)))


def test_the_same_equations_are_defined_once_in_whatever_objects_they_come() -> None:
    before = set(functional.cells())
    names = {rnnfast.Recurrent(made(2.5), I, H).cell for _ in range(5)}
    (name,) = names
    assert name.startswith("sloped@")
    assert set(functional.cells()) - before == names
    x = np.ones((T, B, I), np.float32)
    shapes = functional.cells()[name].shapes(I, H)
    weights = [functional.Weights(**{n: np.ones(s, np.float32) for n, s in shapes.items()})]
    y, _, _ = functional.forward(made(2.5), x, weights)
    packed = functional.pack(made(2.5), weights)
    assert packed.cell == name
    np.testing.assert_array_equal(functional.forward(made(2.5), x, packed)[0], y)
    np.testing.assert_array_equal(functional.forward(name, x, packed)[0], y)
    noisy = [functional.forward(c, x, weights, zoneout=0.3)[0] for c in (made(2.5), name)]
    np.testing.assert_array_equal(*noisy)
    assert not np.array_equal(noisy[0], y)
    with pytest.raises(ValueError, match="weights: expected weights packed for"):
        functional.forward(made(2.75), x, packed)
    assert cell_named(name).step(*stand_ins())  # the first one registered


def stand_ins() -> tuple[Any, ...]:
    one = rnnfast.reference.tape.Var(np.ones(1))
    return [one], lambda _: [one], [one], []


def test_cells_that_are_gone_leave_no_trace_in_those_that_come_to_lie_there() -> None:
    expected = {slope: outputs(rnnfast.register(made(slope), f"slope {slope}")) for slope in (3, 4)}
    for k in range(12):
        slope = 3 + k % 2
        cell = made(slope)
        np.testing.assert_array_equal(outputs(cell), expected[slope])
        del cell
        gc.collect()


def test_a_name_is_the_same_in_every_process_and_the_options_tell_cells_apart() -> None:
    code = (
        "from dataclasses import replace; from functools import partial; import rnnfast\n"
        "from rnnfast.cells import ZOO\n"
        "cell = replace(ZOO['lem'], step=partial(ZOO['lem'].step, dt=0.5))\n"
        "print(rnnfast.Recurrent(cell, 3, 4).cell)"
    )
    child = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    cell = replace(ZOO["lem"], step=partial(ZOO["lem"].step, dt=0.5))
    assert rnnfast.Recurrent(cell, 3, 4).cell == child.stdout.strip()
    assert child.stdout.startswith("lem@")
    assert rnnfast.Recurrent(ZOO["lem"], 3, 4).cell == "lem"


def test_compiled_cells_stay_compiled_as_objects() -> None:
    for name in COMPILED:
        assert name_of(CELLS[name]) == name
    again = rnnfast.Cell("gru", CELLS["gru"].step, gates=3)
    assert rnnfast.Recurrent(again, I, H).cell == "gru"


def test_names_that_do_not_exist_bring_near_ones() -> None:
    expected = (
        "cell: expected a name in rnnfast.cells.ZOO, a registered name, or a "
        "rnnfast.Cell, got '{}'{}"
    )
    for name, hint in {
        "peephole": "; did you mean 'peephole_lstm'?",
        "MUT-1": "; did you mean 'mut1' or 'mut3' or 'mut2'?",
        "transformer": "",
    }.items():
        with pytest.raises(ValueError, match="cell: ") as caught:
            rnnfast.Recurrent(name, I, H)
        assert str(caught.value) == expected.format(name, hint)


def test_threads_that_ask_for_a_cell_at_once_get_the_same() -> None:
    found: list[str] = []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        found.append(rnnfast.Recurrent(made(6.25), I, H).cell)
        found.append(rnnfast.Recurrent("star", I, H).cell)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len(set(found)) == 2


def test_copies_of_layers_keep_their_cell() -> None:
    layer = rnnfast.Recurrent(made(7.5), I, H, seed=3)
    twin = copy.deepcopy(layer)
    x = np.ones((T, B, I), np.float32)
    assert twin.cell == layer.cell
    np.testing.assert_array_equal(twin(x)[0], layer(x)[0])


def test_graphs_of_files_bring_back_names() -> None:
    assert known.graph_of("lstm") is None
    for name in ("mgu", rnnfast.register(made(8.5), "of a file")):
        graph = known.graph_of(name)
        assert graph is not None
        assert graph["name"] == name
        assert known.name_of_graph(graph) == name
    graph = known.graph_of(rnnfast.Recurrent(made(9.5, "alone"), I, H).cell)
    assert graph is not None
    assert graph["name"] == "alone"
    assert known.name_of_graph(graph | {"name": "other"}).startswith("other@")


def test_importing_rnnfast_loads_no_tracer() -> None:
    code = (
        "import sys, rnnfast; rnnfast.LSTM(3, 4)\n"
        "assert not [m for m in sys.modules if m.startswith('rnnfast.traced')]\n"
        "rnnfast.Recurrent('mgu', 3, 4)\n"
        "assert 'rnnfast.traced.engine' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
