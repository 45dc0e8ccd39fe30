"""Checks of the arguments of a network, which `functional` documents.

The C++ core checks arguments faster, but only accepts arrays that it can use as they are. If it
rejects a call, `functional` comes here to convert the arguments or to report the error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnfast._core import CellInfo, NetworkOptions, Packed
from rnnfast._engine import backends, checks
from rnnfast._engine.backends import Backend
from rnnfast._engine.checks import RealArray
from rnnfast._engine.network import Weights, cells, check_sizes, state_shapes


def checked_call(
    backend: Backend,
    options: NetworkOptions,
    x: ArrayLike,
    weights: Sequence[Weights] | Packed,
    state: Sequence[ArrayLike | None] | None,
    lengths: ArrayLike | None,
    reset: ArrayLike | None,
    seed: int,
    context_gates: Sequence[ArrayLike] | None = None,
) -> tuple[
    NetworkOptions,
    RealArray | NDArray[np.int64],
    Sequence[Weights] | Packed,
    list[RealArray | None] | None,
    NDArray[np.int64] | None,
    NDArray[np.bool_] | None,
    int,
    list[RealArray] | None,
]:
    """Check and convert the arguments of `forward` for `on.forward`."""
    seed = checks.integer("seed", seed, 0, 2**64 - 1)
    of_first: Packed | Weights
    if not isinstance(weights, Sequence):
        dtype: np.dtype[np.floating] = np.dtype(weights.dtype)
        checks.precision("precision", options.precision, dtype, backend)
        _check_packed(weights, options)
        input_size, of_first = weights.input_size, weights
    else:
        weights = checked_weights(backend, weights, options)
        dtype = weights[0].weight_ih.dtype
        input_size, of_first = weights[0].weight_ih.shape[1], weights[0]
    inputs = checked_x(backend, x, dtype, input_size)
    seq_len, batch = inputs.shape[:2]
    resets = None if reset is None else checked_reset(backend, reset, (seq_len, batch))
    rows = batch if resets is None else batch + _has_reset_state(state, batch)
    shapes = state_shapes(options, rows, of_first.hidden_size, of_first.proj_size)
    states = checked_states(backend, "state", state, dtype, shapes)
    spans = None if lengths is None else checked_lengths(backend, lengths, seq_len, batch)
    gates = None
    if context_gates is not None:
        sizes = seq_len, batch, options.cell.gates * of_first.hidden_size
        gates = _checked_context_gates(backend, context_gates, dtype, shapes[0][0], sizes)
    return options, inputs, weights, states, spans, resets, seed, gates


def checked_gradients(
    backend: Backend, core: Any, dy: ArrayLike | None, dstate: Sequence[ArrayLike | None] | None
) -> tuple[RealArray | None, list[RealArray | None] | None]:
    """Check and convert the arguments of `backward` for `on.backward`."""
    dtype: np.dtype[np.floating] = np.dtype(core.dtype)
    if dy is not None:
        meaning = "(seq_len, batch, num_directions*hidden_size)"
        dy = checks.shaped_array("dy", dy, dtype, core.y_shape, meaning, backend=backend)
    return dy, checked_states(backend, "dstate", dstate, dtype, core.state_shapes)


def checked_dweights(backend: Backend, core: Any, dweights: Sequence[Weights]) -> list[Weights]:
    """Check the arrays to which `backward` adds the gradients of the weights; None for no sum."""
    dtype: np.dtype[np.floating] = np.dtype(core.dtype)
    if len(dweights) != len(core.weights):
        raise ValueError(
            f"dweights: expected one entry for each of {len(core.weights)} layers and directions, "
            f"got {len(dweights)}"
        )
    for i, (weights, gradients) in enumerate(zip(core.weights, dweights, strict=True)):
        for field, weight, gradient in zip(Weights._fields, weights, gradients, strict=True):
            name = f"dweights[{i}].{field}"
            if gradient is not None:
                if weight is None:
                    raise ValueError(f"{name}: expected None, as in weights, got an array")
                checks.output_array(name, gradient, dtype, backend)
                checks.shape(name, gradient, weight.shape, "of the weight")
    return [Weights(*gradients) for gradients in dweights]


def _checked_context_gates(
    backend: Backend,
    gates: Sequence[ArrayLike],
    dtype: np.dtype[np.floating],
    count: int,
    sizes: tuple[int, int, int],
) -> list[RealArray]:
    """Check and convert what a context adds to the gates of `count` layers and directions."""
    checks.contexts("context_gates", backend)
    _check_context_list("context_gates", gates, count)
    given = [backends.given(f"context_gates[{i}]", value) for i, value in enumerate(gates)]
    for i, array in enumerate(given):
        checks.check_real(f"context_gates[{i}]", array, dtype, " (the weights')", backend)
    _check_context_shapes("context_gates", given, sizes)
    return [
        checks.real_array(f"context_gates[{i}]", array, dtype, " (the weights')", backend)
        for i, array in enumerate(given)
    ]


def check_dcontext_gates(backend: Backend, core: Any, gradients: Sequence[RealArray]) -> None:
    """Check the arrays to which `backward` adds the gradients of what a context adds."""
    checks.contexts("dcontext_gates", backend)
    _check_context_list("dcontext_gates", gradients, len(core.weights))
    for i, gradient in enumerate(gradients):
        checks.output_array(f"dcontext_gates[{i}]", gradient, np.dtype(core.dtype), backend)
    rows = len(core.weights[0][0])
    _check_context_shapes("dcontext_gates", gradients, (*core.y_shape[:2], rows))


def _check_context_list(name: str, gates: Any, count: int) -> None:
    if not isinstance(gates, (tuple, list)) or len(gates) != count:
        got = len(gates) if isinstance(gates, (tuple, list)) else type(gates).__name__
        raise ValueError(
            f"{name}: expected a list of {count} arrays, one for each layer and direction, got "
            f"{got}"
        )


def _check_context_shapes(
    name: str, gates: Sequence[RealArray], sizes: tuple[int, int, int]
) -> None:
    """Check that all arrays have a row for each sequence, or all have one for each step."""
    shapes = [array.shape for array in gates]
    if shapes not in ([sizes] * len(gates), [sizes[1:]] * len(gates)):
        raise ValueError(
            f"{name}: expected arrays of shape (batch, gates*hidden_size) = {sizes[1:]}, or of "
            f"(seq_len, batch, gates*hidden_size) = {sizes}, got {shapes}"
        )


def _check_packed(packed: Packed, options: NetworkOptions) -> None:
    if options.training and not options.cell.observes:  # a form without gradients
        raise ValueError(
            "weights: expected arrays, as packed weights cannot be trained, got packed weights"
        )
    expected = options.cell.name, options.num_layers, options.bidirectional, options.precision
    got = packed.cell, packed.num_layers, packed.bidirectional, packed.precision
    if got != expected:
        raise ValueError(
            "weights: expected weights packed for (cell, num_layers, bidirectional, precision) = "
            f"{expected}, got {got}"
        )


def checked_weights(
    backend: Backend, weights: Sequence[Weights], options: NetworkOptions
) -> list[Weights]:
    """Check and convert weights for `backend`, and check that their dtype suits the precision."""
    directions = 2 if options.bidirectional else 1
    if len(weights) != options.num_layers * directions:
        raise ValueError(
            "weights: expected num_layers * num_directions = "
            f"{options.num_layers * directions} entries, got {len(weights)}"
        )
    weight_ih = backends.array_of("weight_ih", weights[0].weight_ih, backend)
    weight_hh = backends.array_of("weight_hh", weights[0].weight_hh, backend)
    dtype = checks.known_dtype(weight_ih.dtype)
    if dtype == np.float16:
        dtype = np.dtype(np.float32)  # the smallest type that holds all of its values
    dtype = checks.real_dtype("weight_ih.dtype", dtype, backend)
    if weight_ih.ndim != 2 or weight_hh.ndim != 2 or not weight_ih.shape[1] * weight_hh.shape[1]:
        raise ValueError(
            "weight_ih, weight_hh: expected matrices with at least one column, got shapes "
            f"{weight_ih.shape} and {weight_hh.shape}"
        )
    input_size, hidden_size, proj_size = weight_ih.shape[1], weight_hh.shape[1], 0
    if weights[0].weight_hr is not None:
        proj_size, hidden_size = _projection(
            backend, backends.array_of("weight_hr", weights[0].weight_hr, backend), options.cell
        )
    outputs = directions * (proj_size or hidden_size)
    backend.check_cell(options.cell.name)
    check_sizes(options.cell, input_size, hidden_size, options.num_layers, options.bidirectional)
    checked = [
        _checked_layer(
            backend,
            w,
            options.cell,
            dtype,
            options.cell.shapes(outputs if i >= directions else input_size, hidden_size, proj_size),
        )
        for i, w in enumerate(weights)
    ]
    checks.precision("precision", options.precision, dtype, backend)
    return checked


def _projection(backend: Backend, weight_hr: RealArray, info: CellInfo) -> tuple[int, int]:
    """Return proj_size and hidden_size from the shape of weight_hr."""
    if not info.projects:
        names = ", ".join(name for name, cell in cells().items() if cell.projects)
        raise ValueError(
            f"weight_hr: expected none for cell {info.name!r}, as only {names} have projections, "
            "got an array"
        )
    checks.projects("weight_hr", backend)
    if weight_hr.ndim != 2 or not weight_hr.size:
        raise ValueError(
            f"weight_hr: expected a matrix (proj_size, hidden_size), got shape {weight_hr.shape}"
        )
    proj_size, hidden_size = weight_hr.shape
    return proj_size, hidden_size


def checked_proj_size(value: int, cell: CellInfo, backend: Backend) -> int:
    """Return the argument proj_size, which must be 0 if the cell or the backend cannot project."""
    size = checks.size("proj_size", value, 0)
    if size and not cell.projects:
        raise ValueError(
            f"proj_size: expected 0, as cell {cell.name!r} has no projection, got {size}"
        )
    if size:
        checks.projects("proj_size", backend)
    return size


def checked_context_size(value: int, cell: CellInfo, backend: Backend) -> int:
    """Return context_size, which must be 0 if no gate of the cell or no backend can use one."""
    size = checks.size("context_size", value, 0)
    if size and not cell.gates:
        raise ValueError(
            f"context_size: expected 0, as no gate of cell {cell.name!r} has an input part, got "
            f"{size}"
        )
    if size:
        checks.contexts("context_size", backend)
    return size


def _checked_layer(
    backend: Backend,
    weights: Weights,
    info: CellInfo,
    dtype: np.dtype[np.floating],
    shapes: Mapping[str, tuple[int, ...]],
) -> Weights:
    projected = "weight_hr" in shapes
    if (weights.weight_hr is not None) != projected:
        expected, got = ("an array", "none") if projected else ("none", "an array")
        raise ValueError(f"weight_hr: expected {expected}, as in the first layer, got {got}")
    if (weights.weight_channel is None) != (info.params == 0):
        raise ValueError(
            f"weight_channel: expected {info.params or 'no'} per-channel parameters for cell "
            f"{info.name!r}, got {'none' if weights.weight_channel is None else 'an array'}"
        )
    rows, recurrent_rows = f"{info.gates}*hidden_size", f"{info.recurrent_gates}*hidden_size"
    meanings = {
        "weight_ih": f"({rows}, input_size)",
        "weight_hh": f"({recurrent_rows}, {'proj_size' if projected else 'hidden_size'})",
        "bias_ih": f"({rows},)",
        "bias_hh": f"({recurrent_rows},)",
        "weight_channel": f"({info.params}, hidden_size)",
        "weight_hr": "(proj_size, hidden_size)",
    }
    checked: dict[str, RealArray | None] = {}
    for name, shape in shapes.items():
        value = getattr(weights, name)
        if value is None and name in ("weight_ih", "weight_hh"):
            meaning = f"{meanings[name]} = {shape}"
            raise TypeError(f"{name}: expected an array of shape {meaning}, got None")
        if value is not None:
            value = checks.shaped_array(name, value, dtype, shape, meanings[name], backend=backend)
        checked[name] = value
    return Weights(**checked)  # type: ignore[arg-type]  # weight_ih and weight_hh are not None


def checked_x(
    backend: Backend, x: ArrayLike, dtype: np.dtype[np.floating], input_size: int
) -> RealArray | NDArray[np.int64]:
    array = given_x(x, input_size)
    if array.dtype.kind in "iu" and array.ndim != 3:
        if array.ndim != 2:
            raise ValueError(f"x: expected indices of shape (seq_len, batch), got {array.shape}")
        expected = "x: expected indices in [0, input_size)"
        return checks.index_array("x", array, expected, input_size, backend)
    if array.ndim != 3:
        raise ValueError(
            f"x: expected shape (seq_len, batch, input_size = {input_size}), got {array.shape}"
        )
    return checks.real_array("x", array, dtype, " (the weights')", backend)


def given_x(x: ArrayLike, input_size: int) -> NDArray[Any]:
    """Return x as an array, not yet converted, and refuse rows of another size than input_size."""
    array: NDArray[Any] = backends.given("x", x)
    if array.ndim == 3:
        checks.last_axis("x", array, input_size, "input_size")
    return array


def checked_states(
    backend: Backend,
    name: str,
    state: Sequence[ArrayLike | None] | None,
    dtype: np.dtype[np.floating],
    shapes: Sequence[tuple[int, int, int]],
) -> list[RealArray | None] | None:
    if state is None:
        return None
    if not isinstance(state, (tuple, list)) or len(state) != len(shapes):
        got = f"{len(state)}" if isinstance(state, (tuple, list)) else type(state).__name__
        raise ValueError(f"{name}: expected a tuple of {len(shapes)} arrays, got {got}")
    checked: list[RealArray | None] = []
    for value, shape in zip(state, shapes, strict=True):
        if value is not None:
            width = "hidden_size" if shape == shapes[-1] else "proj_size"
            meaning = f"(num_layers*num_directions, batch, {width})"
            value = checks.shaped_array(
                name, value, dtype, shape, meaning, " (the weights')", backend
            )
        checked.append(value)
    return checked


def recomputed_steps(recompute: bool | int, x: ArrayLike, backend: Backend) -> int:
    """Return the number of steps between two states that are kept, at most T."""
    steps = checks.recompute("recompute", recompute, backend)
    shape = np.shape(x)
    seq_len = shape[0] if shape else 0  # `checked_x` reports an x without axes
    return isqrt(seq_len) if steps is True else min(int(steps), seq_len)


def checked_lengths(
    backend: Backend, lengths: ArrayLike, seq_len: int, batch: int, name: str = "lengths"
) -> NDArray[np.int64]:
    given = backends.given(name, lengths)
    checks.shape(name, given, (batch,), "(batch,)")
    array = checks.integer_array(name, given, backend)
    # None on a device, where a length beyond seq_len counts as seq_len.
    host = backend.on_host(given)
    if host is not None and batch and not (host.min() >= 0 and host.max() <= seq_len):
        raise ValueError(
            f"{name}: expected values in [0, seq_len] = [0, {seq_len}], got "
            f"{host.min()} to {host.max()}"
        )
    return array


def checked_reset(
    backend: Backend, reset: ArrayLike, shape: tuple[int, ...], meaning: str = "(seq_len, batch)"
) -> NDArray[np.bool_]:
    """Check the steps at which episodes start, and return them as booleans in C order."""
    if not backend.resets:
        raise ValueError(
            f"reset: expected None on device {backend.name!r}, which does not reset states; the "
            "CPU does"
        )
    array = backends.given("reset", reset)
    if array.dtype.kind not in "biu":
        raise TypeError(
            f"reset: expected an array of booleans, or of integers 0 and 1, got {array.dtype}"
        )
    checks.shape("reset", array, shape, meaning)
    if array.dtype.kind in "iu" and not ((array == 0) | (array == 1)).all():
        raise ValueError(
            "reset: expected booleans, or integers 0 and 1, got values from "
            f"{array.min()} to {array.max()}"
        )
    return np.ascontiguousarray(array, np.bool_)


def _has_reset_state(state: Any, batch: int) -> bool:
    """Return whether initial states have one more row than the batch, which resets set."""
    if not isinstance(state, (tuple, list)):
        return False  # `checked_states` reports it
    return any(s is not None and np.shape(s)[1:2] == (batch + 1,) for s in state)
