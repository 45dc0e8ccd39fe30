"""Unforeseen arguments of `functional` and `_core` are refused, or as good as plain ones.

A valid call is made strange in a few places. It must then raise one of REFUSALS or return, bit for
bit, what it returns for the same values in ordinary arrays. RNNFAST_FUZZ_EXAMPLES sets the number
of calls of each test, for longer runs.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rnnfast
from rnnfast import _core, functional
from rnnfast._engine.known import COMPILED, has_candidate
from rnnfast.functional import Weights

EXAMPLES = os.environ.get("RNNFAST_FUZZ_EXAMPLES")
REFUSALS = (ValueError, TypeError, IndexError, OverflowError)
fuzz = settings(
    max_examples=int(EXAMPLES or 250),
    deadline=None,
    derandomize=EXAMPLES is None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
CELLS = COMPILED
INTEGERS = (-(2**63), -(2**31), -1, 0, 1, 2, 7, 2**31, 2**63 - 1, 2**64, 2**70)
STRANGE = (None, "", "x", b"x", 1.5, float("nan"), True, [], (), {}, [[1, [2]]], object, 1j)


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(0.0, 0.5, shape).astype(np.float32)


def same_values(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """Return the same values in a form that the engine cannot read in place."""
    form = rng.integers(6)
    if form == 0:
        return np.asfortranarray(array)
    if form == 1 and array.ndim:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if form == 2 and array.ndim:
        return array[::-1].copy()[::-1]
    if form == 3:
        return array.astype(array.dtype.newbyteorder())
    if form == 4:
        bytes_ = np.zeros(array.nbytes + 1, np.uint8)
        odd = bytes_[1:].view(array.dtype).reshape(array.shape)  # at an odd address
        odd[...] = array
        return odd
    view = array.view()
    view.flags.writeable = False
    return view


def other_values(rng: np.random.Generator, array: np.ndarray) -> Any:
    """Return another shape, another type or something that is no array."""
    form = rng.integers(9)
    if form == 0:
        return array[None]
    if form == 1 and array.ndim:
        return array[..., :-1]
    if form == 2 and array.ndim:
        return array[:0]
    if form == 3:
        types = "bool", "int8", "uint64", "float16", "float64", "complex64", "object", "U3"
        # C leaves open what a negative real is as an unsigned integer, and NumPy warns on AArch64.
        return abs(array).astype(str(rng.choice(types)))
    if form == 4:
        return np.broadcast_to(np.ones((), array.dtype), array.shape)
    if form == 5:
        return np.full_like(array, -1 if array.dtype.kind == "i" else np.nan)
    if form == 6:
        return np.full(array.shape, INTEGERS[rng.integers(9)])
    if form == 7:
        return np.zeros((), array.dtype)
    return STRANGE[rng.integers(len(STRANGE))]


def plain(value: Any) -> Any:
    """Return the same values in ordinary arrays."""
    if isinstance(value, np.ndarray):
        return np.array(value, value.dtype.newbyteorder("="), order="C")
    if isinstance(value, (list, tuple)) and not isinstance(value, Weights):
        return type(value)(plain(v) for v in value)
    return Weights(*map(plain, value)) if isinstance(value, Weights) else value


def flat(value: Any) -> list[np.ndarray]:
    """Return all arrays of a result."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, (list, tuple)) and not isinstance(value, functional.Reserve):
        return [array for part in value for array in flat(part)]
    return []


class Call:
    """A valid call of a small network, of which some arguments were made strange."""

    def __init__(self, rng: Any) -> None:
        """Draw the call from a generator of NumPy, or from what tools/fuzz.py has in its place."""
        self.rng = rng
        self.cell = CELLS[rng.integers(len(CELLS))]
        info = functional.cells()[self.cell]
        T, B, I, H, self.L, D = (int(rng.integers(1, high)) for high in (6, 4, 5, 9, 3, 3))
        indexed = rng.random() < 0.3
        self.x = rng.integers(0, I, (T, B)) if indexed else normal(rng, T, B, I)
        self.weights = [
            Weights(
                **{
                    name: normal(rng, *shape)
                    for name, shape in info.shapes(D * H if i >= D else I, H).items()
                    if not name.startswith("bias") or rng.random() < 0.8
                }
            )
            for i in range(self.L * D)
        ]
        state = self.L * D, B, H
        rows = B + int(rng.random() < 0.2)  # a row for resets
        first = [normal(rng, self.L * D, rows, H)] * info.states
        self.state = None if rng.random() < 0.3 else first
        self.dy, self.dstate = normal(rng, T, B, D * H), [normal(rng, *state)] * info.states
        of_context = (B, info.gates * H) if rng.random() < 0.5 else (T, B, info.gates * H)
        gates = [normal(rng, *of_context) for _ in self.weights] if rng.random() < 0.3 else None
        self.dcontext = None if gates is None else [np.zeros_like(g) for g in gates]
        self.options: dict[str, Any] = {
            "context_gates": gates,
            "lengths": rng.integers(0, T + 1, B) if rng.random() < 0.4 else None,
            "reset": rng.random((T, B)) < 0.3 if rng.random() < 0.4 else None,
            "num_layers": self.L,
            "bidirectional": D == 2,
            "dropout": 0.3,
            "seed": 5,
            "training": rng.random() < 0.7,
            "recompute": bool(rng.random() < 0.2),
            "zoneout": (0.3,) * info.states if rng.random() < 0.2 else 0.0,
            "input_dropout": 0.3 if rng.random() < 0.2 else 0.0,
            "recurrent_dropout": 0.3 if rng.random() < 0.2 else 0.0,
            "candidate_dropout": 0.3 if has_candidate(self.cell) and rng.random() < 0.2 else 0.0,
        }

    def changed(self, array: Any, chance: float = 0.25) -> Any:
        if not isinstance(array, np.ndarray) or self.rng.random() > chance:
            return array
        change = other_values if self.rng.random() < 0.3 else same_values
        return change(self.rng, array)

    def spoil(self) -> None:
        self.x = self.changed(self.x)
        self.weights = [Weights(*(self.changed(w, 0.1) for w in layer)) for layer in self.weights]
        if self.state is not None:
            self.state = [self.changed(s) for s in self.state]
        self.dy, self.dstate = self.changed(self.dy), [self.changed(d) for d in self.dstate]
        for name in ("lengths", "reset"):
            self.options[name] = self.changed(self.options[name])
        if self.dcontext is not None:
            gates = self.options["context_gates"]
            self.options["context_gates"] = [self.changed(g, 0.1) for g in gates]
            self.dcontext = [self.changed(d, 0.1) for d in self.dcontext]
        for name in self.options:
            if self.rng.random() < 0.03:
                choice = (*INTEGERS, *STRANGE)
                self.options[name] = choice[self.rng.integers(len(choice))]

    def results(self, form: Any = lambda value: value) -> list[np.ndarray]:
        weights, options = form(self.weights), {k: form(v) for k, v in self.options.items()}
        call = self.cell, form(self.x), weights, form(self.state)
        y, final, reserve = functional.forward(*call, **options)
        found = [y, *final]
        if reserve is not None:
            dcontext = None
            if self.dcontext is not None:
                dcontext = [np.zeros_like(d) for d in self.dcontext]
            backward = functional.backward
            found += flat(
                backward(reserve, form(self.dy), form(self.dstate), dcontext_gates=dcontext)
            )
            found += dcontext or []
        return found


def check_same(call: Any) -> None:
    try:
        found = call(lambda value: value)
    except REFUSALS:
        return
    with np.errstate(all="ignore"):
        for one, other in zip(found, call(plain), strict=True):
            np.testing.assert_array_equal(one, other)


@fuzz
@given(st.integers(0, 2**32 - 1))
def test_networks_refuse_what_is_wrong_and_read_the_rest_right(seed: int) -> None:
    call = Call(np.random.default_rng(seed))
    call.spoil()
    check_same(call.results)


@fuzz
@given(st.integers(0, 2**32 - 1))
def test_packed_weights_are_those_that_were_given(seed: int) -> None:
    call = Call(np.random.default_rng(seed))
    call.options |= {"training": False, "recompute": False}
    names = "num_layers", "bidirectional"
    call.spoil()

    def results(form: Any) -> list[np.ndarray]:
        options = {k: form(v) for k, v in call.options.items()}
        packed = functional.pack(
            call.cell, form(call.weights), **{name: options[name] for name in names}
        )
        y, final, _ = functional.forward(
            call.cell, form(call.x), packed, form(call.state), **options
        )
        return [y, *final]

    check_same(results)


@fuzz
@given(st.integers(0, 2**32 - 1))
def test_streams_refuse_what_is_wrong_and_read_the_rest_right(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cell = ("lstm", "gru", "nas")[rng.integers(3)]
    layer = rnnfast.Recurrent(cell, 4, 6, num_layers=2, seed=1).eval()
    call = Call(np.random.default_rng(seed))
    xs = [call.changed(normal(rng, 3, 4), 0.5) for _ in range(3)]

    def results(form: Any) -> list[np.ndarray]:
        stream = layer.stream(3)
        return [stream(form(x)) for x in xs]

    check_same(results)


@fuzz
@given(st.integers(0, 2**32 - 1))
def test_the_core_says_no_or_computes_whatever_it_is_given(seed: int) -> None:
    """Without the Python layer in front, the core returns None or an error, but never crashes."""
    call = Call(np.random.default_rng(seed))
    call.spoil()
    rng, o = call.rng, call.options
    names = "num_layers", "bidirectional", "dropout", "training"
    dropouts = o["input_dropout"], o["recurrent_dropout"], o["candidate_dropout"]
    noise = o["zoneout"], *dropouts, bool(rng.random() < 0.5)
    options: list[Any] = [call.cell, *(o[name] for name in names), "full", 0, 1, False, noise]
    spans = o["lengths"], o["reset"]
    arguments: list[Any] = [None, call.x, call.weights, call.state, *spans, o["seed"]]
    arguments.append(o["context_gates"])
    for values in (options, arguments):
        for i in range(len(values)):
            if rng.random() < 0.05:
                choice = (*INTEGERS, *STRANGE)
                values[i] = choice[rng.integers(len(choice))]
    try:
        arguments[0] = arguments[0] or _core.network_options(*options)
        result = _core.forward(*arguments)
        if result is not None and result[2] is not None:
            _core.backward(result[2], call.dy, call.dstate, True, None, call.dcontext)
    except REFUSALS:
        return


@fuzz
@given(st.integers(0, 2**32 - 1))
def test_linear_embedding_and_loss_refuse_or_read_right(seed: int) -> None:
    rng = np.random.default_rng(seed)
    call = Call(np.random.default_rng(seed))
    linear, embedding = rnnfast.Linear(4, 3, seed=1).eval(), rnnfast.Embedding(5, 3, seed=1).eval()
    x = call.changed(normal(rng, 2, 4), 0.6)
    indices = call.changed(rng.integers(0, 5, (2, 3)), 0.6)
    logits, targets = call.changed(normal(rng, 6, 5), 0.6), call.changed(rng.integers(0, 5, 6), 0.6)
    check_same(lambda form: [linear(form(x))])
    check_same(lambda form: [embedding(form(indices))])
    check_same(
        lambda form: flat(
            rnnfast.softmax_cross_entropy(form(logits), form(targets), ignore_index=-1)
        )
    )
