"""Layers, their copies, streams, packed weights and optimisers in any order of use, by any threads.

A hypothesis state machine trains, evaluates, packs, writes, copies, saves and loads a layer. In
parallel, it tracks in plain arrays what the weights, gradients and optimiser state should be. A
layer's results must be, bit for bit, those of a layer newly made from these arrays, which runs on
one thread. CI runs the same few hundred orders each time. For a longer run, with new orders each
time:

    RNNFAST_FUZZ_EXAMPLES=20000 pytest tests/test_stateful.py
"""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

import cases
import rnnfast
from rnnfast import Recurrent, functional
from rnnfast._engine.known import COMPILED

# T, B, I and H: small ones, and ones with enough work for several threads.
SIZES = [(4, 2, 3, 5)] * 4 + [(12, 24, 40, 72)]
OPTIMIZERS: list[tuple[type[rnnfast.Optimizer], dict[str, Any]]] = [
    (rnnfast.SGD, {"lr": 0.1, "momentum": 0.5, "nesterov": True}),
    (rnnfast.Adagrad, {"lr": 0.1}),
    (rnnfast.RMSprop, {"lr": 0.01, "centered": True}),
    (rnnfast.Adam, {"lr": 0.01}),
    (rnnfast.AdamW, {"lr": 0.01}),
]
THREADS = rnnfast.get_num_threads()
ELSEWHERE = ThreadPoolExecutor(2)  # other threads of Python than the one that runs the rules
READ_ONLY = "read-only.*layer.train"
seeds = st.integers(0, 2**16)
indices = st.integers(0, 100)


def through_pickle(protocol: int) -> Callable[[Any], Any]:
    return lambda both: pickle.loads(pickle.dumps(both, protocol))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread inside the context."""
    before = rnnfast.get_num_threads()
    rnnfast.set_num_threads(1)
    try:
        yield
    finally:
        rnnfast.set_num_threads(before)


COPIES = [copy.deepcopy, through_pickle(2), through_pickle(4), through_pickle(5)]


class Use(RuleBasedStateMachine):
    """A state machine in which rules are what users do, on a layer and shallow copies of it."""

    @initialize(
        sizes=st.sampled_from(SIZES),
        cell=st.sampled_from(COMPILED),
        num_layers=st.integers(1, 2),
        bias=st.booleans(),
        learn_state=st.booleans(),
        dtype=st.sampled_from(["float32", "float64"]),
        optimizer=st.sampled_from(OPTIMIZERS),
    )
    def make(
        self,
        sizes: tuple[int, int, int, int],
        cell: str,
        num_layers: int,
        bias: bool,
        learn_state: bool,
        dtype: str,
        optimizer: tuple[Any, Any],
    ) -> None:
        self.T, self.B, self.I, self.H = sizes
        self.arguments = (cell, self.I, self.H, num_layers, bias)
        self.num_layers = num_layers
        self.keywords = {"learn_state": learn_state, "dtype": dtype}
        self.dtype = dtype
        self.kind, self.options = optimizer
        layer = Recurrent(*self.arguments, **self.keywords, seed=0)
        self.group = [layer]
        self.optimizer = self.kind(layer, **self.options)
        self.frozen = False
        # The expected values.
        self.weights = layer.state_dict()
        self.gradients = {name: np.zeros_like(w) for name, w in self.weights.items()}
        self.optimizer_state = self.optimizer.state_dict()
        self.left: tuple[Recurrent, dict[str, Any]] | None = None
        self.packed: tuple[Any, Recurrent] | None = None
        self.stream: Any = None

    def teardown(self) -> None:
        rnnfast.set_num_threads(THREADS)

    def member(self, index: int) -> Recurrent:
        return self.group[index % len(self.group)]

    def reals(self, seed: int, *shape: int) -> np.ndarray:
        return np.random.default_rng(seed).standard_normal(shape).astype(self.dtype)

    def fresh(self) -> Recurrent:
        """Return a separate layer with the expected weights and gradients."""
        layer = Recurrent(*self.arguments, **self.keywords)
        layer.load_state_dict(self.weights)
        for p in layer.parameters():
            p.grad[...] = self.gradients[p.name]
        return layer

    def expect(self, layer: Recurrent) -> None:
        """Take the values of this layer as the expected ones from now on."""
        self.weights = layer.state_dict()
        self.gradients = {p.name: p.grad.copy() for p in layer.parameters()}

    def refused_or(self, write: Callable[[], object]) -> bool:
        """Return whether a write succeeded; read-only weights must refuse it."""
        if self.frozen:
            with pytest.raises(ValueError, match=READ_ONLY):
                write()
        else:
            write()
        return not self.frozen

    @rule(index=indices, mode=st.booleans())
    def switch(self, index: int, mode: bool) -> None:
        assert self.member(index).train(mode).training is mode
        self.frozen = self.frozen and not mode

    @rule(count=st.sampled_from([1, 2, 3]))
    def set_threads(self, count: int) -> None:
        rnnfast.set_num_threads(count)

    def input(self, seed: int, rows: int) -> dict[str, Any]:
        """Return the arguments of a call of `rows` sequences."""
        h = self.reals(seed, self.num_layers, rows, self.H)
        states = rnnfast.functional.cells()[self.arguments[0]].states
        state = None if seed % 2 else (h,) * states if states > 1 else h
        x = self.reals(seed, self.T, rows, self.I)
        return {"x": x, "state": state, "lengths": np.arange(rows) % (self.T + 1)}

    @rule(index=indices, seed=seeds, rows=st.sampled_from([1, 2, 9]), calls=st.integers(1, 3))
    def evaluate(self, index: int, seed: int, rows: int, calls: int) -> None:
        """Call a layer here or, if there are several calls, in two threads at the same time."""
        layer, other = self.member(index), self.fresh()
        if layer.training:
            return
        given = [self.input(seed + k, rows) for k in range(calls)]
        call = lambda arguments: (*layer(**arguments),)  # noqa: E731
        results = list(map(call, given) if calls == 1 else ELSEWHERE.map(call, given))
        with one_thread():
            for result, arguments in zip(results, given, strict=True):
                compare(result, (*other(**arguments),))
        self.frozen = layer._freezes  # some ways of pickling do not keep it

    @rule(index=indices, seed=seeds, with_indices=st.booleans(), elsewhere=st.booleans())
    def learn(self, index: int, seed: int, with_indices: bool, elsewhere: bool) -> None:
        layer, other = self.member(index), self.fresh()
        if not layer.training:
            return
        T, B, I = self.T, self.B, self.I
        x = np.arange(T * B).reshape(T, B) % I if with_indices else self.reals(seed, T, B, I)
        dy = self.reals(seed + 1, T, B, self.H)
        step = lambda of: (*of(x), *of.backward(dy))  # noqa: E731
        result = ELSEWHERE.submit(step, layer).result() if elsewhere else step(layer)
        with one_thread():
            compare(result, step(other))
        self.expect(other)

    @rule(index=indices)
    def pack(self, index: int) -> None:
        layer, options = self.member(index), {"num_layers": self.num_layers}
        self.packed = functional.pack(layer.cell, layer._weights, **options), self.fresh()

    @precondition(lambda self: self.packed is not None)
    @rule(seed=seeds, rows=st.sampled_from([1, 2, 9]))
    def use_packed(self, seed: int, rows: int) -> None:
        """Run with the weights as they were when they were packed."""
        packed, other = self.packed
        given = self.input(2 * seed, rows)
        states = given["state"] if isinstance(given["state"], tuple) else (given["state"],)
        y, final, _ = functional.forward(
            other.cell, given["x"], packed, states,
            lengths=given["lengths"], num_layers=self.num_layers,
        )  # fmt: skip
        with one_thread():
            compare((y, final if len(final) > 1 else final[0]), (*other.eval()(**given),))

    @rule(clip=st.sampled_from([None, 0.5]), zero=st.booleans())
    def step(self, clip: float | None, zero: bool) -> None:
        if self.refused_or(lambda: self.optimizer.step(clip_norm=clip, zero_grad=zero)):
            other = self.fresh()
            optimizer = self.kind(other, **self.options)
            optimizer.load_state_dict(self.optimizer_state)
            optimizer.step(clip_norm=clip, zero_grad=zero)
            self.optimizer_state = optimizer.state_dict()
            self.expect(other)

    @rule(index=indices)
    def zero_grad(self, index: int) -> None:
        self.member(index).zero_grad()
        for gradient in self.gradients.values():
            gradient[...] = 0

    @rule(index=indices, way=st.integers(0, 2))
    def write(self, index: int, way: int) -> None:
        layer, half = self.member(index), self.weights["weight_hh_l0"] * 0.5
        ways: list[Callable[[], object]] = [
            lambda: layer.weight_hh_l0.__imul__(0.5),
            lambda: layer.weight_hh_l0.__setitem__(..., half),
            lambda: setattr(layer, "weight_hh_l0", half),
        ]
        if self.refused_or(ways[way]):
            self.weights["weight_hh_l0"] = half

    @rule(index=indices, seed=seeds)
    def load(self, index: int, seed: int) -> None:
        self.weights = {n: self.reals(seed, *w.shape) for n, w in self.weights.items()}
        self.member(index).load_state_dict(self.weights)
        self.frozen = False

    @rule(index=indices)
    def load_nothing(self, index: int) -> None:
        with pytest.raises(ValueError, match="missing 'weight_ih_l0'"):
            self.member(index).load_state_dict({})

    @rule(index=indices)
    def share(self, index: int) -> None:
        self.group = [*self.group[-2:], copy.copy(self.member(index))]
        self.frozen = False

    @rule(index=indices, make=st.sampled_from(COPIES))
    def go_on_with_a_copy(self, index: int, make: Callable[[Any], Any]) -> None:
        layer = self.member(index)
        twin, self.optimizer = make((layer, self.optimizer))
        assert twin.training is layer.training
        self.left = layer, layer.state_dict()
        self.group, self.frozen, self.stream = [twin], False, None

    @rule()
    def go_on_with_a_new_optimizer(self) -> None:
        state = self.optimizer.state_dict()
        self.optimizer = self.kind(self.group[0], **self.options)
        self.optimizer.load_state_dict(state)

    @rule(index=indices)
    def open_a_stream(self, index: int) -> None:
        layer, cell = self.member(index), rnnfast.functional.cells()[self.arguments[0]]
        self.stream, self.streamed = layer.stream(self.B), self.fresh().eval()
        learned = [self.weights.get(f"initial_state_{k}") for k in range(cell.states)]
        zeros = np.zeros((self.num_layers, self.H), self.dtype)
        self.initial = [zeros if value is None else value.copy() for value in learned]
        self.stream_states = [value[:, None].repeat(self.B, 1) for value in self.initial]
        self.frozen = self.frozen or (layer._freezes and not layer.training)

    def rows(self, choice: int) -> np.ndarray:
        """Return some numbers of the stream's sequences, in an order that the choice decides."""
        order = np.random.default_rng(choice).permutation(self.stream.batch)
        return order[: 1 + choice % len(order)]

    def expect_stream(self) -> None:
        """Check the states of the stream."""
        got = self.stream.state
        compare(got if isinstance(got, tuple) else (got,), tuple(self.stream_states))

    @precondition(lambda self: self.stream is not None)
    @rule(seed=seeds, some=st.booleans())
    def step_the_stream(self, seed: int, some: bool) -> None:
        """Take a step with the weights as they were when the stream was opened."""
        rows = self.rows(seed) if some else np.arange(self.stream.batch)
        x = self.reals(seed, 1, len(rows), self.I)
        before = tuple(states[:, rows] for states in self.stream_states)
        with one_thread():
            y, after = self.streamed(x, before if len(before) > 1 else before[0])
        compare((self.stream(x[0], rows if some else None),), (y[0],))
        for states, new in zip(
            self.stream_states, after if len(before) > 1 else (after,), strict=True
        ):
            states[:, rows] = new
        self.expect_stream()

    @precondition(lambda self: self.stream is not None)
    @rule(choice=indices)
    def restart_sequences(self, choice: int) -> None:
        self.stream.reset(self.rows(choice))
        for states, initial in zip(self.stream_states, self.initial, strict=True):
            states[:, self.rows(choice)] = initial[:, None]
        self.expect_stream()

    @precondition(lambda self: self.stream is not None)
    @rule(choice=indices)
    def exchange_sequences(self, choice: int) -> None:
        rows = self.rows(choice)
        self.stream.put(self.stream.take(rows[::-1]), rows)
        for states in self.stream_states:
            states[:, rows] = states[:, rows[::-1]]
        self.expect_stream()

    @precondition(lambda self: self.stream is not None)
    @rule(seed=seeds)
    def assign_states(self, seed: int) -> None:
        self.stream_states = [self.reals(seed, *states.shape) for states in self.stream_states]
        states = tuple(self.stream_states)
        self.stream.state = states if len(states) > 1 else states[0]
        self.expect_stream()

    @precondition(lambda self: self.stream is not None)
    @rule(choice=indices)
    def go_on_with_a_copy_of_the_stream(self, choice: int) -> None:
        rows = self.rows(choice)
        left, self.stream = self.stream, self.stream.copy(rows)
        left.reset()
        self.stream_states = [states[:, rows] for states in self.stream_states]
        self.expect_stream()

    @precondition(lambda self: self.stream is not None)
    @rule(batch=st.integers(1, 5))
    def resize_the_stream(self, batch: int) -> None:
        self.stream.resize(batch)
        more = max(0, batch - self.stream_states[0].shape[1])
        self.stream_states = [
            np.concatenate([states[:, :batch], initial[:, None].repeat(more, 1)], axis=1)
            for states, initial in zip(self.stream_states, self.initial, strict=True)
        ]
        self.expect_stream()

    @invariant()
    def all_is_as_it_should_be(self) -> None:
        if not hasattr(self, "group"):
            return
        for layer in self.group:
            cases.assert_identical(layer.state_dict(), self.weights)
            cases.assert_identical({p.name: p.grad for p in layer.parameters()}, self.gradients)
            assert layer.weight_ih_l0.value.flags.writeable is not self.frozen
        state = self.optimizer.state_dict()
        cases.assert_identical(state["buffers"], self.optimizer_state["buffers"])
        assert (state["steps"], state["lr"]) == (
            self.optimizer_state["steps"],
            self.optimizer_state["lr"],
        )
        if self.left is not None:  # the original of a copy stays untouched
            cases.assert_identical(self.left[0].state_dict(), self.left[1])


def compare(got: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    """Check that results, and tuples inside them, have the same bits."""
    for k, (a, b) in enumerate(zip(got, expected, strict=True)):
        if isinstance(b, tuple):
            compare(a, b)
        elif b is None:
            assert a is None
        else:
            cases.assert_identical({str(k): a}, {str(k): b})


TestUse = Use.TestCase
TestUse.settings = settings(
    max_examples=int(os.environ.get("RNNFAST_FUZZ_EXAMPLES", "250")),
    stateful_step_count=40,
    deadline=None,
    derandomize="RNNFAST_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
