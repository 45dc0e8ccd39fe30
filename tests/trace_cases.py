"""What `rnnfast.trace` must return: the variables of the reference's steps, in float64."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cases import Case, Data, Task, worst
from rnnfast._engine import known
from rnnfast.reference import Cell, Network
from rnnfast.reference.rounding import Rounding
from rnnfast.reference.tape import Var
from tolerances import bound


class Recorder:
    """A cell that keeps what the variables of its step are at the end of each step."""

    def __init__(self, cell: Cell) -> None:
        self._step = cell.step
        self.cell = replace(cell, step=self.step)
        self.steps: list[tuple[Sequence[Var], dict[str, NDArray]]] = []

    def step(self, x: Any, recurrent: Any, state: Any, channel: Any) -> tuple[Var, ...]:
        returned: list[tuple[Any, dict[str, Any]]] = []

        def watch(frame: Any, event: str, value: Any) -> None:
            if event == "return":
                returned.append((value, dict(frame.f_locals)))

        sys.setprofile(watch)
        try:
            new = self._step(x, recurrent, state, channel)
        finally:
            sys.setprofile(None)
        variables: dict[str, Any] = {}
        for value, of_function in returned:
            if value is new:
                variables |= of_function  # those of outer functions come later
        found: dict[str, NDArray] = {}
        for name, value in variables.items():
            items = value if isinstance(value, (list, tuple)) else ()
            named = {name: value} | {f"{name}[{k}]": item for k, item in enumerate(items)}
            arrays = {n: v.value for n, v in named.items() if isinstance(v, Var)}
            found |= {n: v for n, v in arrays.items() if v.ndim == 2}  # but for parameters
        self.steps.append((state, found))
        return new


def reference(
    case: Case,
    data: Data,
    dtype: str = "float64",
    rounding: Rounding | None = None,
    **noise: Any,
) -> dict[str, dict[str, NDArray]]:
    """Return the states and variables of every step, (T, B, H), by layer and name.

    States have the names that rnnfast gives them; what is after the end of a sequence is 0.
    """
    recorder = Recorder(known.cell_named(case.cell))
    states = known.named_values(case.cell).states
    network = Network(
        recorder.cell,
        data.x,
        data.weights,
        data.state,
        lengths=data.lengths,
        bidirectional=case.D == 2,
        dtype=dtype,
        rounding=rounding or case.rounding,
        **noise,
    )
    ends = np.full(case.B, case.T) if data.lengths is None else data.lengths
    layers: dict[str, dict[str, NDArray]] = {}
    for k in range(case.L * case.D):
        reverse = k % case.D == 1
        steps = recorder.steps[k * case.T : (k + 1) * case.T]
        after = [[s.value for s in state] for state, _ in steps[1:]]
        after.append([s[k] for s in network.state])
        found = [
            {n: v for n, v in variables.items() if n not in states}
            | dict(zip(states, new, strict=True))
            for new, (_, variables) in zip(after, steps, strict=True)
        ]
        found = found[::-1] if reverse else found
        values = {}
        for name in found[0]:
            value = np.stack([one[name] for one in found])
            value[np.arange(case.T)[:, None] >= ends] = 0
            values[name] = value
        layers[f"l{k // case.D}" + ("_reverse" if reverse else "")] = values
    return layers


def assert_reference(
    got: Any, expected: dict[str, dict[str, NDArray]], plain: dict[str, Any], case: Case | Task
) -> None:
    """Check every array of a trace against the reference, given plain float32 results."""
    assert list(got) == list(expected)
    wrong = []
    for layer, values in got.items():
        assert values, layer
        for name, value in values.items():
            want = expected[layer][name]
            assert value.dtype == case.dtype, (layer, name, value.dtype)
            assert value.shape == want.shape, (layer, name, value.shape)
            error = worst(value, want)
            allowed = bound(
                want, worst(plain[layer][name], want), case.longest_sum, np.dtype(case.dtype)
            )
            if not error <= allowed:
                wrong.append(f"{layer} {name}: error {error:.3g} > {allowed:.3g}")
    assert not wrong, "\n".join(wrong)
