"""Layers, their copies, streams and optimisers in any order of use, against fresh ones.

A hypothesis state machine trains, evaluates, writes, copies, saves and loads a layer. In parallel,
it tracks in plain arrays what the weights, gradients and optimiser state should be. A layer's
results must be, bit for bit, those of a layer newly made from these arrays. CI runs the same few
hundred orders each time. For a longer run, with new orders each time:

    RNNFAST_FUZZ_EXAMPLES=20000 pytest tests/test_stateful.py
"""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable
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
from rnnfast import Recurrent
from rnnfast._engine.known import COMPILED

I, H, T, B = 3, 5, 4, 2
OPTIMIZERS: list[tuple[type[rnnfast.Optimizer], dict[str, Any]]] = [
    (rnnfast.SGD, {"lr": 0.1, "momentum": 0.5, "nesterov": True}),
    (rnnfast.Adagrad, {"lr": 0.1}),
    (rnnfast.RMSprop, {"lr": 0.01, "centered": True}),
    (rnnfast.Adam, {"lr": 0.01}),
    (rnnfast.AdamW, {"lr": 0.01}),
]
READ_ONLY = "read-only.*layer.train"
seeds = st.integers(0, 2**16)
indices = st.integers(0, 100)


def through_pickle(protocol: int) -> Callable[[Any], Any]:
    return lambda both: pickle.loads(pickle.dumps(both, protocol))


COPIES = [copy.deepcopy, through_pickle(2), through_pickle(4), through_pickle(5)]


class Use(RuleBasedStateMachine):
    """A state machine in which rules are what users do, on a layer and shallow copies of it."""

    @initialize(
        cell=st.sampled_from(COMPILED),
        num_layers=st.integers(1, 2),
        bias=st.booleans(),
        learn_state=st.booleans(),
        dtype=st.sampled_from(["float32", "float64"]),
        optimizer=st.sampled_from(OPTIMIZERS),
    )
    def make(
        self,
        cell: str,
        num_layers: int,
        bias: bool,
        learn_state: bool,
        dtype: str,
        optimizer: tuple[Any, Any],
    ) -> None:
        self.arguments = (cell, I, H, num_layers, bias)
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
        self.stream: Any = None

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

    @rule(index=indices, seed=seeds, with_state=st.booleans(), rows=st.sampled_from([1, B, 9]))
    def evaluate(self, index: int, seed: int, with_state: bool, rows: int) -> None:
        layer, other = self.member(index), self.fresh()
        if layer.training:
            return
        x = self.reals(seed, T, rows, I)
        h = self.reals(seed, other.num_layers, rows, H)
        states = rnnfast.functional.cells()[layer.cell].states
        state = None if not with_state else (h,) * states if states > 1 else h
        lengths = np.arange(rows) % (T + 1)
        compare((*layer(x, state, lengths),), (*other(x, state, lengths),))
        self.frozen = layer._freezes  # some ways of pickling do not keep it

    @rule(index=indices, seed=seeds, with_indices=st.booleans())
    def learn(self, index: int, seed: int, with_indices: bool) -> None:
        layer, other = self.member(index), self.fresh()
        if not layer.training:
            return
        x = np.arange(T * B).reshape(T, B) % I if with_indices else self.reals(seed, T, B, I)
        dy = self.reals(seed + 1, T, B, H)
        compare((*layer(x),), (*other(x),))
        compare((*layer.backward(dy),), (*other.backward(dy),))
        self.expect(other)

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
        layer = self.member(index)
        self.stream, self.streamed, self.stream_state = layer.stream(B), self.fresh(), None
        self.frozen = self.frozen or (layer._freezes and not layer.training)

    @precondition(lambda self: self.stream is not None)
    @rule(seed=seeds)
    def step_the_stream(self, seed: int) -> None:
        x = self.reals(seed, 1, B, I)  # with the weights as they were when the stream was opened
        y, self.stream_state = self.streamed.eval()(x, self.stream_state)
        compare((self.stream(x[0]), self.stream.state), (y[0], self.stream_state))

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
    max_examples=int(os.environ.get("RNNFAST_FUZZ_EXAMPLES", "300")),
    stateful_step_count=40,
    deadline=None,
    derandomize="RNNFAST_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
