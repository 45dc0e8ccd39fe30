"""`trace`: the states and gates of all recurrent layers of a model over time."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from numpy.typing import ArrayLike, NDArray

from rnnfast._engine import backends
from rnnfast._engine.checks import RealArray
from rnnfast._files import AnyPath
from rnnfast.inspection.network import Network, Selection
from rnnfast.inspection.states import States
from rnnfast.inspection.storage import Store
from rnnfast.inspection.tracer import Tracer
from rnnfast.layers.dense import Embedding
from rnnfast.layers.module import Module
from rnnfast.layers.recurrent import Recurrent
from rnnfast.layers.states import as_tuple
from rnnfast.training.model import CharLM

Array = NDArray[Any]


def trace(
    model: Any,
    x: Any,
    state: Any = None,
    *others: Any,
    lengths: ArrayLike | None = None,
    context: Any = None,
    values: Sequence[str] | None = None,
    units: ArrayLike | None = None,
    to: AnyPath | None = None,
) -> States:
    """Run a model, and return the states and gates of its recurrent layers after every step.

    A value has the name that a variable has in the function of the cell's step when it returns
    (docs/states.md): "h", "c", "i", "f", "g" and "o" of an LSTM. `values` tells which there are if
    it names one that there is not.

    The model runs as in evaluation: without dropout, and with the expectation of zoneout. Its mode
    stays as it is, but a call of a model that still waits for its `backward` waits no longer.
    Computing takes about as long as a forward pass in training.

    Layers of `rnnfast`, and `CharLM`, read x a part at a time, so that x may be a memory map; with
    `to` they then need memory that does not depend on the number of steps. Other models need memory
    for what their layers return.

    Args:
        model: A recurrent layer; a model with recurrent layers, such as a `Sequential` or a
            `CharLM`; or a PyTorch model with LSTM, GRU or RNN layers of `torch.nn`, or with any
            layers of `rnnfast.torch`.
        x: The input of the model, (T, B, I) or integers (T, B) for a recurrent layer, with the
            batch first if that is the layer's way.
        state: The initial state, in the structure that the model takes; None for none.
        others: Further arguments of a PyTorch model.
        lengths: The lengths of the sequences, for layers and models of rnnfast; None for T.
        context: The context that a layer with `context_size`, or a model of rnnfast, takes; None
            for none.
        values: Names of the values to take. A layer that lacks one of them is traced without it.
            None takes all states and gates: all values but products and sums of products, which
            gates are functions of.
        units: Numbers of the units to take of every value; None for all.
        to: A folder for the values, in which each is a file `LAYER.VALUE.npy`; None for memory.

    Returns:
        For each layer and direction its values, arrays (T, B, H) with time first in any case. With
        `to`, they are read-only memory maps.

    Raises:
        ValueError: A value is unknown, a unit is out of range, a shape or a length is wrong, there
            is no recurrent layer, or the folder has .npy files already.
        IndexError: An index in x is out of range.
        TypeError: An argument has the wrong type.
        OSError: A file cannot be written.
    """
    if isinstance(model, Recurrent):
        layers = {"": model}
    elif isinstance(model, Module):
        layers = {prefix: m for prefix, m, _ in model._modules() if isinstance(m, Recurrent)}
    elif "torch" in sys.modules and isinstance(model, sys.modules["torch"].nn.Module):
        from rnnfast.inspection import torch_models

        if lengths is not None:
            raise ValueError(
                "lengths: expected None for a PyTorch model, which takes a PackedSequence, got "
                f"{lengths}"
            )
        if context is not None:
            raise ValueError(
                "context: expected None for a PyTorch model, whose forward passes it to layers"
            )
        return torch_models.trace_model(model, (x, state, *others), values, units, to)
    else:
        raise TypeError(
            f"model: expected a module of rnnfast or PyTorch, got {type(model).__name__}"
        )
    if others:
        raise TypeError(f"trace: expected at most x and state, got {2 + len(others)} arguments")
    if not layers:
        raise ValueError(f"model: expected one with recurrent layers, got {type(model).__name__}")
    networks = {prefix: Network.of(layer) for prefix, layer in layers.items()}
    selection = Selection.of(values, units, networks.values())
    with Store(to) as store:
        tracer = Tracer(networks, selection, store)
        if isinstance(model, Recurrent):
            _trace_layer(tracer, "", model, x, state, lengths, context)
        elif isinstance(model, CharLM) and lengths is None and context is None:
            recurrent, embedding = model.recurrent, model.embedding
            _trace_layer(tracer, "recurrent.", recurrent, x, state, None, None, embedding=embedding)
        else:
            given = () if state is None else (state,)
            named = {"lengths": lengths, "context": context}
            options = {name: value for name, value in named.items() if value is not None}
            with _evaluating(model), _calls_traced(tracer, layers):
                model(x, *given, **options)
        return store.finish()


def _trace_layer(
    tracer: Tracer,
    prefix: str,
    layer: Recurrent[Any],
    x: Any,
    state: Any,
    lengths: ArrayLike | None,
    context: Any,
    *,
    embedding: Embedding | None = None,
    wants_y: bool = False,
) -> tuple[RealArray | None, tuple[RealArray, ...]]:
    """Trace a call of a layer, whose input may be that of an embedding before it."""
    x = backends.given("x", x)
    x = x if backends.of(x) is backends.CPU else backends.to_host(x)
    if getattr(x.dtype, "kind", "") in "US":
        raise TypeError(
            "x: expected numbers, got text; the indices that a language model reads are "
            "model.vocabulary.encode(text)[:, None]"
        )
    if x.ndim < 2:
        raise ValueError(f"x: expected shape (T, B, I), or indices (T, B), got {x.shape}")
    _, gates = layer._entered(context, x)
    x = x.swapaxes(0, 1) if layer.batch_first else x
    given: Any = as_tuple("state", state, layer._states, layer.cell)
    if layer._learned is not None:
        given = layer._learned.start(given, x.shape[1], resets=False)[0]
    if given is not None:
        given = [None if s is None else backends.to_host(s) for s in given]

    def read(first: int, last: int) -> Array:
        part: Array = x[first:last]
        return part if embedding is None else backends.to_host(embedding._run(part)[0])

    return tracer.call(prefix, read, x.shape[:2], given, lengths, gates, wants_y=wants_y)


@contextmanager
def _calls_traced(tracer: Tracer, layers: dict[str, Recurrent[Any]]) -> Iterator[None]:
    """Inside the block, let calls of layers be traced instead of computed."""

    def run(
        prefix: str,
        layer: Recurrent[Any],
        x: Any,
        state: Any,
        lengths: Any,
        reset: Any,
        context: Any,
    ) -> Any:
        if reset is not None:
            raise ValueError("reset: expected None, as traced sequences have no resets, got a mask")
        y, final = _trace_layer(tracer, prefix, layer, x, state, lengths, context, wants_y=True)
        y, *states = (layer._backend.asarray(array) for array in (y, *final))
        return y.swapaxes(0, 1) if layer.batch_first else y, layer._from_tuple((*states,)), None

    try:
        for prefix, layer in layers.items():
            vars(layer)["_run"] = partial(run, prefix, layer)
        yield
    finally:
        for layer in layers.values():
            vars(layer).pop("_run", None)


@contextmanager
def _evaluating(model: Module) -> Iterator[None]:
    """Put a model into evaluation mode inside a `with` block."""
    modes = [(module, module.training) for _, module, _ in model._modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:  # outer ones first, as they change those inside
            module.train(training)
