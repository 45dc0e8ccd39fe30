"""Tracing of PyTorch models: layers of `torch.nn` and of `rnnfast.torch`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from rnnfast._files import AnyPath
from rnnfast.functional import Weights
from rnnfast.inspection.network import Network, Selection
from rnnfast.inspection.states import States
from rnnfast.inspection.storage import Store
from rnnfast.inspection.tracer import Tracer
from rnnfast.torch.forms import Packed, Padded
from rnnfast.torch.layer import Layer
from rnnfast.torch.network import Options, states_of
from rnnfast.torch.quantized import precision_of


def trace_model(
    model: torch.nn.Module,
    inputs: Sequence[Any],
    values: Sequence[str] | None,
    units: ArrayLike | None,
    to: AnyPath | None,
) -> States:
    """Run a PyTorch model once, and trace its recurrent layers on the inputs that they get.

    See `rnnfast.inspection.trace`.
    """
    layers = {path: m for path, m in model.named_modules() if isinstance(m, torch.nn.RNNBase)}
    if not layers:
        raise ValueError(
            f"model: expected one with LSTM, GRU or RNN layers, got {type(model).__name__}"
        )
    prefixes = {path: f"{path}." if path else "" for path in layers}
    networks = {prefixes[path]: _network(layer) for path, layer in layers.items()}
    selection = Selection.of(values, units, networks.values())
    while inputs and inputs[-1] is None:
        inputs = inputs[:-1]
    with Store(to) as store, _evaluating(model), torch.no_grad(), ExitStack() as hooks:
        tracer = Tracer(networks, selection, store)
        for path, layer in layers.items():
            hook: Any = partial(_trace_call, tracer, prefixes[path])
            if "torch._dynamo" in sys.modules:  # the model may be compiled, which a trace is not
                hook = torch.compiler.disable(hook)
            handle = layer.register_forward_pre_hook(hook, with_kwargs=True)
            hooks.callback(handle.remove)
        model(*inputs)
        return store.finish()


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode inside a `with` block."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _network(layer: torch.nn.RNNBase) -> Network:
    """Return the network of a layer, with a copy of weights that are not in memory of the CPU."""
    cell = layer.cell if isinstance(layer, Layer) else layer.mode.lower()
    options = Options(cell, layer.num_layers, layer.bidirectional, layer.bias, 0.0, "full")
    # Not the list that PyTorch keeps: a parametrization replaces attributes.
    weights = [getattr(layer, name) for name in layer._flat_weights_names]
    zoneout = layer._zoneout() if isinstance(layer, Layer) else ()
    return Network(
        cell,
        [Weights(*of_layer) for of_layer in options.by_layer([_array(w) for w in weights])],
        layer.num_layers,
        layer.bidirectional,
        precision_of(layer.precision if isinstance(layer, Layer) else "full", weights[0].dtype),
        zoneout or (0.0,) * states_of(cell),
    )


def _array(tensor: torch.Tensor) -> Any:
    """Return a tensor as an array of float32 or float64."""
    tensor = tensor.detach().cpu()
    return (tensor if tensor.dtype == torch.float64 else tensor.float()).contiguous().numpy()


def _trace_call(
    tracer: Tracer, prefix: str, layer: torch.nn.RNNBase, given: Sequence[Any], named: Any
) -> None:
    """Trace a layer right before it is called, as later code may change the input."""
    x, hx, *_ = (*given, *(named[name] for name in ("input", "hx") if name in named), None)
    reset, context = (*given[3:5], None, None)[:2]
    if named.get("reset", reset) is not None:
        raise ValueError("reset: expected None, as traced sequences have no resets, got a mask")
    if not isinstance(x, (torch.Tensor, PackedSequence)):
        name = f" of layer {prefix.removesuffix('.')!r}" if prefix else ""
        raise TypeError(f"x{name}: expected a tensor or PackedSequence, got {type(x).__name__}")
    gates = _context_gates(layer, named.get("context", context), x)
    lengths, batched = None, True
    if isinstance(x, PackedSequence):
        x, lengths = pad_packed_sequence(x)
    else:
        batched = x.dim() == 3
        x = Padded(batched, layer.batch_first).enter(x)
    if isinstance(layer, Layer):
        hx = layer._given_states(hx, x, (x.shape[1],) if batched else ()) or None
    state = None
    if hx is not None:
        states = (hx,) if isinstance(hx, torch.Tensor) else hx
        state = [_array(Padded(batched, False).enter_state(s)) for s in states]
    array = _array(x)
    seq_len, batch = array.shape[:2]
    spans = None if lengths is None else lengths.numpy()
    read = lambda first, last: array[first:last]  # noqa: E731
    tracer.call(prefix, read, (seq_len, batch), state, spans, gates)


def _context_gates(layer: torch.nn.RNNBase, context: Any, x: Any) -> list[Any] | None:
    """Return what the context of a call adds to the gates, for sequences in the caller's order."""
    if not isinstance(layer, Layer) or not layer.context_size:
        return None  # the call itself refuses a context
    packed = isinstance(x, PackedSequence)
    form = Packed(x) if packed else Padded(x.dim() == 3, layer.batch_first)
    layer._check_context(context, x.data if packed else x, form)
    if isinstance(context, PackedSequence):
        values = pad_packed_sequence(context)[0]
    else:
        values = context if packed else form.enter_context(context)
    return [_array(gates) for gates in layer._context_gates(values)]
