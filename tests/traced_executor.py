"""What the drivers do with a traced cell, in NumPy and float64, with strict checks.

A program may read only places that were written before it, or earlier in it, and may write only its
own places. Anything else is an error here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnfast.reference.network import Gradients, Weights
from rnnfast.traced import LIMITS, Norm, Product, Program, TracedCell

Places = dict[tuple[str, int], NDArray]

OPERATIONS: dict[str, Callable[..., NDArray]] = {
    "copy": lambda a: a,
    "neg": lambda a: -a,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "fma": lambda a, b, c: a * b + c,
    "fnma": lambda a, b, c: c - a * b,
    "fms": lambda a, b, c: a * b - c,
    "sigmoid": lambda a: 0.5 * np.tanh(0.5 * a) + 0.5,
    "tanh": np.tanh,
    "relu": lambda a: np.maximum(a, 0),
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "max": np.maximum,
    "min": np.minimum,
    "select": lambda a, b, c: np.where(a > 0, b, c),
    "greater": lambda a, b: np.where(np.greater(a, b), 1.0, 0.0),
    "softplus": lambda a: np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a))),
    "dsigmoid": lambda a, b: a * (b * (1 - b)),
    "dtanh": lambda a, b: a * (1 - b * b),
    "drelu": lambda a, b: np.where(b > 0, a, 0),
}


def run_program(program: Program, places: Places, writable: set[str]) -> set[tuple[str, int]]:
    """Run a program on its places, and return those that it wrote, except temporaries."""
    written = set()
    for operation, kind, index, *operands in program:
        values = []
        for place in zip(operands[::2], operands[1::2], strict=True):
            assert place in places, f"{operation} reads {place}, which is not there"
            values.append(places[place])
        assert kind in writable | {"tmp"}, f"{operation} writes {kind} {index}"
        assert kind != "tmp" or index < LIMITS["temporaries"]
        shape = np.broadcast_shapes(*(v.shape for v in values), places["state", 0].shape)
        places[kind, index] = np.broadcast_to(OPERATIONS[operation](*values), shape)
        if kind != "tmp":
            assert (kind, index) not in written, f"{kind} {index} is written twice"
            written.add((kind, index))
    return written


class Step(NamedTuple):
    """What a step keeps for its backward pass."""

    x: NDArray
    before: tuple[NDArray, ...]
    after: tuple[NDArray, ...]
    slots: Places
    opening: Places


class Executor:
    """One layer in one direction, for x (T, B, I) and states (B, H)."""

    def __init__(
        self, cell: TracedCell, x: NDArray, weights: Weights, state: Sequence[NDArray]
    ) -> None:
        self.cell = cell
        w_ih, w_hh, b_ih, b_hh, channel = weights
        H = w_hh.shape[1]
        self.w_ih, self.w_hh = w_ih.reshape(-1, H, w_ih.shape[1]), w_hh.reshape(-1, H, H)
        self.b_ih = np.zeros(self.w_ih.shape[:2]) if b_ih is None else b_ih.reshape(-1, H)
        self.b_hh = np.zeros(self.w_hh.shape[:2]) if b_hh is None else b_hh.reshape(-1, H)
        self.common: Places = {("constant", k): np.array(c) for k, c in enumerate(cell.constants)}
        if channel is not None:
            self.common |= {("param", k): p for k, p in enumerate(channel)}
        self.steps: list[Step] = []
        state = tuple(state)
        opening = self._open(state)
        for row in x:
            state, opening = self._forward(row, state, opening)
        self.state = state
        self.y = np.array([step.after[0] for step in self.steps])

    def _states(self, kind: str, values: Sequence[NDArray]) -> Places:
        return {(kind, k): value for k, value in enumerate(values)}

    def _open(self, state: tuple[NDArray, ...]) -> Places:
        """Return the opening values of the states."""
        if self.cell.opening is None:
            assert self.cell.opening_values == 0
            return {}
        places = self.common | self._states("state", state)
        wanted = {("made", k) for k in range(self.cell.opening_values)}
        assert run_program(self.cell.opening[0], places, {"made"}) == wanted
        return {place: places[place] for place in wanted}

    def _operand(self, product: Product, before: tuple[NDArray, ...], made: Places) -> NDArray:
        if product.of_state:
            assert product.operand == 0
            return before[0]
        return made["made", product.operand]

    def _forward(
        self, x: NDArray, before: tuple[NDArray, ...], opening: Places
    ) -> tuple[tuple[NDArray, ...], Places]:
        cell = self.cell
        slots: Places = {}
        for g, row in enumerate(cell.x_rows):
            if row != -1:
                slots["slot", g] = x if row == -2 else x @ self.w_ih[row].T + self.b_ih[row]
        made, after = dict(opening), {}
        for k, stage in enumerate(cell.stages):
            places = self.common | self._states("state", before) | slots
            for product in stage.products:
                operand = self._operand(product, before, made)
                for g in range(product.first, product.first + product.gates):
                    places["h", g] = operand @ self.w_hh[cell.h_rows[g]].T
                    places["h", g] += self.b_hh[cell.h_rows[g]]
            for n, norm in enumerate(cell.norms):
                if norm.used_by == k:
                    assert norm.made_by < k
                    places["norm", n] = normalized(slots["slot", norm.slot], norm.eps)[0]
            written = run_program(stage.forward, places, {"slot", "made", "next"})
            here = {("made", v) for v in stage.made}
            assert {place for place in written if place[0] == "made"} == here
            made |= {place: places[place] for place in here}
            slots |= {place: value for place, value in places.items() if place[0] == "slot"}
            new_states = {place: places[place] for place in written if place[0] == "next"}
            assert not new_states.keys() & after.keys(), "a state is made twice"
            assert ("next", 0) not in new_states or k == len(cell.stages) - 1
            after |= new_states
        assert all(index < cell.slots for _, index in slots)
        new = tuple(after["next", k] for k in range(cell.states))
        self.steps.append(Step(x, before, new, slots, opening))
        return new, self._open(new)

    def backward(self, dy: NDArray, dstate: Sequence[NDArray]) -> Gradients:
        """Return the gradients, given those of y (T, B, H) and of the final states (B, H)."""
        self.dw_ih, self.dw_hh = np.zeros_like(self.w_ih), np.zeros_like(self.w_hh)
        self.db_ih, self.db_hh = np.zeros_like(self.b_ih), np.zeros_like(self.b_hh)
        H = self.w_hh.shape[-1]
        self.dparam = np.zeros((self.cell.params, H))
        carry = [d.copy() for d in dstate]
        dx = np.zeros((len(self.steps), *self.steps[0].x.shape))
        for t in reversed(range(len(self.steps))):
            carry[0] = carry[0] + dy[t]
            dx[t], carry = self._backward(self.steps[t], carry)
        weights = (
            self.dw_ih.reshape(-1, self.dw_ih.shape[-1]),
            self.dw_hh.reshape(-1, H),
            self.db_ih.ravel(),
            self.db_hh.ravel(),
            self.dparam if self.cell.params else None,
        )
        return Gradients(dx, tuple(carry), [weights])

    def _backward(self, step: Step, dnext: list[NDArray]) -> tuple[NDArray, list[NDArray]]:
        cell = self.cell
        given = self.common | self._states("state", step.before) | self._states("next", step.after)
        given |= step.slots
        travelling: Places = {}  # dslot, dstate, dparam
        dgates: Places = {}
        made = dict(step.opening)
        dmade = {("dmade", v): np.zeros_like(dnext[0]) for v in range(cell.values)}
        dh = np.zeros_like(dnext[0])
        last = len(cell.stages) - 1
        for k in reversed(range(len(cell.stages))):
            stage = cell.stages[k]
            places = given | travelling | {("dmade", v): dmade["dmade", v] for v in stage.made}
            places |= {
                ("dsource", n): through_norm(norm, step.slots, dgates["dnorm", n])
                for n, norm in enumerate(cell.norms)
                if norm.made_by == k
            }
            if k == last:
                places |= self._states("dnext", dnext)
            written = run_program(
                stage.backward, places, {"dgate", "dnorm", "made", "dslot", "dstate", "dparam"}
            )
            if k == last:
                assert {("dstate", i) for i in range(cell.states)} <= written
                assert {("dparam", i) for i in range(cell.params)} <= written
            assert {place for place in written if place[0] == "made"} == {
                ("made", v) for v in stage.made
            }
            for place in written:
                if place[0] == "made":
                    made[place] = places[place]
                elif place[0] in ("dgate", "dnorm"):
                    assert place not in dgates, f"{place} is owned by two stages"
                    dgates[place] = places[place]
                else:
                    travelling[place] = places[place]
            for product in stage.products:
                into = dh if product.of_state else dmade["dmade", product.operand]
                for g in range(product.first, product.first + product.gates):
                    into += dgates["dgate", g] @ self.w_hh[cell.h_rows[g]]
        assert len(dgates) == cell.gates + len(cell.norms)
        for stage in cell.stages:
            for product in stage.products:
                operand = self._operand(product, step.before, made)
                for g in range(product.first, product.first + product.gates):
                    self.dw_hh[cell.h_rows[g]] += dgates["dgate", g].T @ operand
                    self.db_hh[cell.h_rows[g]] += dgates["dgate", g].sum(0)
        carry = {place: value for place, value in travelling.items() if place[0] != "dslot"}
        if cell.opening is not None:
            places = self.common | self._states("state", step.before) | carry
            places |= {("dmade", v): dmade["dmade", v] for v in range(cell.opening_values)}
            written = run_program(cell.opening[1], places, {"dstate", "dparam"})
            carry |= {place: places[place] for place in written}
        for p in range(cell.params):
            self.dparam[p] += np.broadcast_to(carry["dparam", p], dh.shape).sum(0)
        new = [np.broadcast_to(carry["dstate", i], dh.shape) for i in range(cell.states)]
        return self._input_gradients(step.x, dgates), [new[0] + dh, *new[1:]]

    def _input_gradients(self, x: NDArray, dgates: Places) -> NDArray:
        dx = np.zeros_like(x)
        for g, row in enumerate(self.cell.x_rows):
            dgate = dgates["dgate", g]
            if row == -2:
                dx += dgate
            elif row >= 0:
                dx += dgate @ self.w_ih[row]
                self.dw_ih[row] += dgate.T @ x
                self.db_ih[row] += dgate.sum(0)
        return dx


def normalized(v: NDArray, eps: float) -> tuple[NDArray, NDArray]:
    """Normalise the units of each row to mean 0 and variance 1; also return the factors."""
    centred = v - v.mean(-1, keepdims=True)
    scale = ((centred * centred).mean(-1, keepdims=True) + eps) ** -0.5
    return centred * scale, scale


def through_norm(norm: Norm, slots: Places, d: NDArray) -> NDArray:
    """Return the gradient of what was normalised, given that of the result."""
    y, scale = normalized(slots["slot", norm.slot], norm.eps)
    along = (d * y).mean(-1, keepdims=True)
    return scale * (d - d.mean(-1, keepdims=True) - y * along)
