"""Calls whose arrays lie inside larger ones; a script for test_guarded_arrays.

    RNNFAST_POISON=1 python guarded_calls.py

Each call runs with plain arrays and again with guarded ones. Its results must have the same bits,
without a NaN, and the words around the arrays, and the inputs, must stay as they were. The script
prints a digest of the results of each call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

import cases
import rnnfast
from cases import Case
from guarded_arrays import Guarded, Places, digest_of
from noise_cases import ALL, KINDS, made
from rnnfast import _core, functional
from rnnfast._engine.network import Weights

Results = list[Any]
Call = Callable[["Places"], Results]


def reals(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(shape).normal(0.0, 0.5, shape).astype(dtype)


# ---- networks


def network(case: Case, **options: Any) -> Call:
    """Return both passes of a case, whose gradients are added to given arrays."""

    def call(places: Places) -> Results:
        d = cases.make_data(case)
        weights = [
            Weights(*(None if w is None else places.input(w) for w in layer)) for layer in d.weights
        ]
        arrays = {
            name: [places.input(v) for v in value] if name == "context_gates" else
            places.input(value) if isinstance(value, np.ndarray) else value
            for name, value in ({"lengths": d.lengths} | options).items()
        }  # fmt: skip
        y, state, reserve = functional.forward(
            case.cell, places.input(d.x), weights, tuple(map(places.input, d.state)),
            training=case.trains, **case.options, **arrays,
        )  # fmt: skip
        if reserve is None:
            return [y, *state]
        gates = arrays.get("context_gates")
        added = None if gates is None else [places.output(np.zeros_like(g)) for g in gates]
        sums = [
            Weights(*(None if w is None else places.output(np.ones_like(w)) for w in layer))
            for layer in weights
        ]
        dx, dstate, _ = functional.backward(
            reserve, places.input(d.dy), tuple(map(places.input, d.dstate)),
            dweights=sums, dcontext_gates=added,
        )  # fmt: skip
        return [y, *state, dx, *dstate, *sums, added]

    return call


def packed(case: Case) -> Call:
    """Return a call with packed weights."""

    def call(places: Places) -> Results:
        d = cases.make_data(case)
        weights = [
            Weights(*(None if w is None else places.input(w) for w in layer)) for layer in d.weights
        ]
        weights = functional.pack(case.cell, weights, **case.options)
        state = tuple(map(places.input, d.state))
        y, final, _ = functional.forward(
            case.cell, places.input(d.x), weights, state, **case.options
        )
        return [y, *final]

    return call


def single_step(case: Case) -> Call:
    """Return a step of one layer and its gradient, as a loop in PyTorch calls them."""

    def call(places: Places) -> Results:
        d = cases.make_data(case)
        weights = Weights(*(None if w is None else places.input(w) for w in d.weights[0]))
        packed = functional.pack(case.cell, [weights])
        x, state = places.input(d.x[0]), tuple(places.input(s[0]) for s in d.state)
        *new, memory = _core.step_forward(packed, x, state, 0, True)
        gradient = _core.step_gradient(packed, [weights], [w is not None for w in weights])
        dstate = tuple(places.input(s[0]) for s in d.dstate)
        results = gradient.add(x, state, memory, dstate, True, 0)
        return [*new, results, gradient.gradients()]

    return call


def networks() -> Iterator[tuple[str, Call]]:
    """Yield calls of networks by name."""
    sizes = [
        {"T": 7, "B": 3, "H": 19, "L": 2, "D": 2, "lengths": True},
        {"T": 5, "B": 1, "H": 35},
        {"T": 4, "B": 19, "H": 70},
    ]
    for cell in ALL:
        for k, of_case in enumerate(sizes):
            for dtype in ("float32", "float64"):
                yield f"{cell} {k} {dtype}", network(replace(made(cell, **of_case), dtype=dtype))
    case = made("lstm", **sizes[0])
    gru = made("gru", **sizes[2])
    starts = np.random.default_rng(1).random((gru.T, gru.B)) < 0.3
    for name, of_kind in KINDS.items():
        yield f"noise {name}", network(case, seed=3, **of_kind)
    yield "candidate dropout", network(case, seed=3, candidate_dropout=0.3)
    yield "dropout", network(case, seed=3, dropout=0.3)
    yield "recompute", network(replace(case, T=200, B=9), recompute=1)
    yield "reset", network(gru, reset=starts)
    yield "indices", network(replace(case, indices=True))
    yield "no bias", network(replace(case, bias=False))
    yield "projection", network(replace(case, P=5))
    yield "wave", network(Case("gru", T=90, B=1, H=40, L=4))
    for shape in ((gru.B, 3 * gru.H), (gru.T, gru.B, 3 * gru.H)):
        yield f"context {len(shape)}", network(gru, context_gates=[reals(*shape)])
    for precision in ("full", "bfloat16", "int8"):
        of_format = replace(case, precision=precision)
        yield f"{precision} products", network(of_format)
        yield f"packed {precision}", packed(of_format)
    for cell in ("lstm", "gru"):
        yield f"single step {cell}", single_step(made(cell, T=1, B=5, H=19))


# ---- layers of one array


def linear(rows: int, inputs: int, outputs: int, dtype: str) -> Call:
    def call(places: Places) -> Results:
        x, dy = reals(rows, inputs, dtype=dtype), reals(rows, outputs, dtype=dtype)
        x, dy = places.input(x), places.input(dy)
        weight = places.input(reals(outputs, inputs, dtype=dtype))
        bias = places.input(reals(outputs, dtype=dtype))
        y = _core.linear_forward(x=x, weight=weight, bias=bias)
        dweight = places.output(np.ones_like(weight))
        dbias = places.output(np.ones_like(bias))
        dx = _core.linear_backward(
            dy=dy, x=x, weight=weight, dweight=dweight, dbias=dbias, need_dx=True
        )
        return [y, dx, dweight, dbias]

    return call


def convolution(dtype: str) -> Call:
    def call(places: Places) -> Results:
        x, weight = reals(9, 3, 5, dtype=dtype), reals(7, 5, 3, dtype=dtype)
        x, weight = places.input(x), places.input(weight)
        bias = places.input(reals(7, dtype=dtype))
        options: dict[str, Any] = {"stride": 2, "dilation": 2, "padding": 3}
        y = _core.convolution_forward(x=x, weight=weight, bias=bias, out_steps=6, **options)
        dweight = places.output(np.ones_like(weight))
        dbias = places.output(np.ones_like(bias))
        dx = _core.convolution_backward(
            dy=places.input(y), x=x, weight=weight, dweight=dweight, dbias=dbias, need_dx=True,
            **options,
        )  # fmt: skip
        return [y, dx, dweight, dbias]

    return call


def layer_norm(dtype: str) -> Call:
    def call(places: Places) -> Results:
        x, weight = reals(37, 21, dtype=dtype), reals(21, dtype=dtype)
        x, weight = places.input(x), places.input(weight)
        bias = places.input(reals(21, dtype=dtype))
        y, moments = _core.layer_norm_forward(
            x=x, weight=weight, bias=bias, eps=1e-5, need_moments=True
        )
        dweight, dbias = places.output(np.ones_like(weight)), places.output(np.ones_like(bias))
        dx = _core.layer_norm_backward(
            dy=places.input(y), x=x, moments=places.input(moments), weight=weight,
            dweight=dweight, dbias=dbias, need_dx=True,
        )  # fmt: skip
        return [y, moments, dx, dweight, dbias]

    return call


def embedding(dtype: str) -> Call:
    def call(places: Places) -> Results:
        weight = places.input(reals(11, 13, dtype=dtype))
        indices = places.input(np.arange(35).reshape(7, 5) % 11)
        y = _core.embedding_forward(weight=weight, indices=indices)
        dweight = places.output(np.ones_like(weight))
        _core.embedding_backward(dy=places.input(y), indices=indices, dweight=dweight)
        return [y, dweight]

    return call


def activation(kind: str, dtype: str) -> Call:
    def call(places: Places) -> Results:
        x = places.input(reals(37, 3, dtype=dtype))
        y = _core.activation_forward(kind=kind, x=x)
        kept = places.input(y) if kind in ("tanh", "sigmoid", "relu") else x
        return [y, _core.activation_backward(kind=kind, dy=places.input(y), kept=kept)]

    return call


def pool(function: Callable[..., Any], dtype: str) -> Call:
    def call(places: Places) -> Results:
        lengths = places.input(np.array([9, 0, 4, 7, 1]))
        return [function(x=places.input(reals(9, 5, 3, dtype=dtype)), lengths=lengths)]

    return call


def of_one_array(function: Callable[[np.ndarray], Any], dtype: str) -> Call:
    return lambda places: [function(places.input(reals(9, 5, 3, dtype=dtype)))]


def layers() -> Iterator[tuple[str, Call]]:
    """Yield calls of layers by name, in both dtypes."""
    for dtype in ("float32", "float64"):
        yield f"linear {dtype}", linear(37, 23, 29, dtype)
        yield f"linear of one row {dtype}", linear(1, 23, 29, dtype)
        yield f"linear of threads {dtype}", linear(301, 130, 67, dtype)
        yield f"convolution {dtype}", convolution(dtype)
        yield f"layer norm {dtype}", layer_norm(dtype)
        yield f"embedding {dtype}", embedding(dtype)
        for kind in ("tanh", "sigmoid", "relu", "gelu", "gelu_tanh", "silu"):
            yield f"{kind} {dtype}", activation(kind, dtype)
        yield f"mean {dtype}", pool(_core.mean_pool, dtype)
        yield f"max {dtype}", pool(_core.max_pool, dtype)
        yield f"dropout {dtype}", of_one_array(lambda x: _core.dropout(x=x, p=0.3, seed=5), dtype)
        yield f"swapped axes {dtype}", of_one_array(_core.swap_axes, dtype)


# ---- streams


def stream(chosen: bool) -> Call:
    """Return two steps of a stream with all kinds of layers, by all sequences or by some."""

    def call(places: Places) -> Results:
        model = rnnfast.Sequential(
            rnnfast.Linear(5, 19, seed=0), rnnfast.Tanh(),
            rnnfast.Residual(rnnfast.LSTM(19, 19, 2, seed=1)), rnnfast.LayerNorm(19),
            rnnfast.Conv1d(19, 7, 3, padding="causal", seed=2),
            rnnfast.GRU(7, 9, context_size=3, seed=3),
        ).eval()  # fmt: skip
        of_all = model.stream(4)
        of_all._values = places.states(of_all._values)
        rows = places.input(np.array([3, 0, 2])) if chosen else None
        count = 3 if chosen else 4
        context = places.input(reals(count, 3))
        first = of_all(places.input(reals(count, 5)), rows, context=context)
        second = of_all(places.input(reals(count, 5) + 1), rows)
        return [first, second, of_all.take(rows).values]

    return call


# ---- losses and optimisers


def loss(function: Callable[..., Any], *arrays: np.ndarray, **options: Any) -> Call:
    def call(places: Places) -> Results:
        given = {n: places.input(v) if isinstance(v, np.ndarray) else v for n, v in options.items()}
        value, gradient = function(*map(places.input, arrays), **given)
        return [np.asarray(value), gradient]

    return call


def cross_entropy_of_rows(places: Places) -> Results:
    losses = places.output(np.full(37, np.nan))
    _, dlogits = _core.cross_entropy(
        logits=places.input(reals(37, 21)), targets=places.input(np.arange(37) % 21),
        ignore_index=3, need_gradient=True, weight=places.input(np.abs(reals(21))),
        label_smoothing=0.1, mean=False, losses=losses,
    )  # fmt: skip
    return [losses, dlogits]


def losses() -> Iterator[tuple[str, Call]]:
    """Yield calls of losses by name."""
    for dtype in ("float32", "float64"):
        y, target = reals(7, 5, dtype=dtype), np.abs(reals(5, 7, dtype=dtype).T) % 1
        lengths = np.array([7, 0, 3, 5, 1])
        for name in ("mse", "l1", "huber", "bce_with_logits"):
            function = getattr(rnnfast, name)
            yield f"{name} {dtype}", loss(function, y, target, lengths=lengths, reduction="none")
        q = np.array([0.1, 0.5], dtype)
        yield f"quantile {dtype}", loss(rnnfast.quantile, np.stack([y, y], -1), target, q)
        logits, classes = reals(7, 5, 11, dtype=dtype), np.arange(35).reshape(7, 5) % 11
        for name in ("softmax_cross_entropy", "nll"):
            function = getattr(rnnfast, name)
            weight = np.abs(reals(11, dtype=dtype))
            yield f"{name} {dtype}", loss(function, logits, classes, weight=weight, lengths=lengths)
        spans, counts = np.array([7, 6, 7, 5, 7]), np.array([3, 2, 1, 0, 2])
        labels = 1 + np.arange(20).reshape(5, 4) % 10
        yield f"ctc {dtype}", loss(rnnfast.ctc, logits, labels, spans, counts, reduction="none")
    yield "losses of rows", cross_entropy_of_rows


def optimiser(function: Any, buffers: int, dtype: str, **options: Any) -> Call:
    """Return a step for parameters of two sizes, whose gradients are clipped and zeroed."""

    def call(places: Places) -> Results:
        care = _core.care(clip_norm=1.0, zero=True)
        values = [[reals(37, 3, dtype=dtype), reals(70, dtype=dtype)] for _ in range(2)]
        values += [list(map(np.zeros_like, values[0]))] * buffers
        lists = [list(map(places.output, arrays)) for arrays in values]
        group = _core.group(lists=lists)
        function(group=group, care=care, lr=0.1, weight_decay=0.01, **options)
        return lists

    return call


def optimisers() -> Iterator[tuple[str, Call]]:
    """Yield calls of the optimisers by name."""
    of_adam = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "decoupled": True, "step": 3}
    of_rmsprop = {"alpha": 0.9, "eps": 1e-8, "momentum": 0.5}
    for dtype in ("float32", "float64"):
        yield f"sgd {dtype}", optimiser(_core.sgd, 1, dtype, momentum=0.5, nesterov=True)
        yield f"adagrad {dtype}", optimiser(_core.adagrad, 1, dtype, eps=1e-8)
        yield f"rmsprop {dtype}", optimiser(_core.rmsprop, 3, dtype, **of_rmsprop)
        yield f"adam {dtype}", optimiser(_core.adam, 2, dtype, **of_adam)


def all_calls() -> Iterator[tuple[str, Call]]:
    """Yield all calls by name."""
    yield from networks()
    yield from layers()
    yield "stream", stream(chosen=False)
    yield "some rows of a stream", stream(chosen=True)
    yield from losses()
    yield from optimisers()


# ---- the script


def main() -> None:
    for threads in (1, 3):
        rnnfast.set_num_threads(threads)
        for name, call in all_calls():
            try:
                plain = digest_of(call, Places())
                assert digest_of(call, Guarded()) == plain, "other results with guarded arrays"
            except AssertionError as error:
                raise AssertionError(f"{name}, {threads} threads: {error}") from error
            print(name, plain)


if __name__ == "__main__":
    main()
