"""Calls of layers, and losses, as nodes of the graph.

A layer that is called with a `Tensor` makes a call that keeps what its gradient needs, as by
`layer.call(x)`; the node takes the gradient of that call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnnfast import _backend, _checks
from rnnfast.autograd.node import Array, Node, ended
from rnnfast.autograd.tensor import Tensor, computed

if TYPE_CHECKING:
    from rnnfast.calls import Layer
    from rnnfast.layers import Recurrent


def recorded_call(layer: Layer, x: Tensor, *args: Any, **options: Any) -> Tensor:
    """Call a layer with a tensor, and record the call; `__call__` of every layer begins so.

    Args:
        layer: Its `call` takes the value of x and the other arguments, and returns a call with the
            attribute `y` and `backward(dy, need_dx=...)`, which returns dx; of integers, by which
            there is no gradient, `backward(dy)`.
        x: The first argument of the layer.
        args: The other arguments.
        options: Those by name.

    Returns:
        y; in evaluation mode nothing is recorded, and a gradient that would go through y to x is
        refused.

    Raises:
        TypeError: The layer is on a device, where there are no tensors.
    """
    _check_device(layer)
    call = layer.call(x.value, *args, **options)
    if not layer.training:
        return Tensor(call.y, _in_evaluation(layer, x))
    source, dtype = x._source, x.value.dtype
    if source is None:
        unwanted = {} if dtype.kind in "iu" else {"need_dx": False}

        def of_parameters(dy: Array) -> tuple[()]:
            call.backward(dy, **unwanted)
            return ()

        return Tensor(_read_only(call.y), Node([], of_parameters))

    def of_all(dy: Array) -> tuple[Array]:
        return (call.backward(dy).astype(dtype, copy=False),)

    return Tensor(_read_only(call.y), Node([(source, x._place)], of_all))


def recorded_recurrent_call(
    layer: Recurrent[Any], x: Tensor, state: Any, lengths: Any
) -> tuple[Tensor, Any]:
    """Call a recurrent layer with a tensor, and record the call.

    Args:
        layer: The layer.
        x: Its input.
        state: The initial state in the layer's structure, of tensors, parameters, arrays and None.
        lengths: As of the layer.

    Returns:
        y and the final state, as of `recorded_call`, in the layer's structure.

    Raises:
        TypeError: The layer is on a device, where there are no tensors.
    """
    _check_device(layer)
    parts = [p.tensor() if hasattr(p, "tensor") else p for p in _parts(state)]
    values = tuple(part.value if type(part) is Tensor else part for part in parts)
    call = layer.call(x.value, values if isinstance(state, (tuple, list)) else values[0], lengths)
    inputs = [(i, t) for i, t in enumerate([x, *parts]) if type(t) is Tensor and t.requires_grad]
    need_dx, wanted = x.requires_grad, [(i, t.dtype) for i, t in inputs]

    def pullback(dy: Array | None, *dstates: Array | None) -> list[Array]:
        dstate = dstates if len(dstates) > 1 else dstates[0]
        if all(d is None for d in dstates):
            dstate = None
        dx, dinitial = call.backward(dy, dstate, need_dx=need_dx)
        gradients = [dx, *_parts(dinitial)]
        return [gradients[i].astype(dtype, copy=False) for i, dtype in wanted]

    results = [call.y, *_parts(call.state)]
    if layer.training:
        node: Node | None = Node(
            [(t._source, t._place) for _, t in inputs if t._source is not None],
            pullback,
            len(results),
        )
        results = [_read_only(result) for result in results]
    else:
        node = _in_evaluation(layer, *(t for _, t in inputs))
    y, *final = [Tensor(result, node, place) for place, result in enumerate(results)]
    return y, tuple(final) if len(final) > 1 else final[0]


def recorded(y: Tensor, loss: Any, gradient: Array | None) -> Tensor:
    """Make the tensor that a loss returns where it is given one; for losses of your own, too.

    A loss of arrays, which returns `loss, gradient`, takes tensors if it begins so:

        if type(y) is Tensor:
            return recorded(y, *mse(y.value, target))

    Args:
        y: The tensor that the loss was computed from.
        loss: A number, or an array of losses of the leading axes of y, each of which depends on its
            own elements of y alone.
        gradient: The gradient of the loss, or of the sum of the losses, by y, in y's shape; may be
            None if there is none to take, `not y.requires_grad`.

    Returns:
        The loss in the dtype of y, through which the gradient goes to y.

    Raises:
        ValueError: The gradient has another shape.
    """
    value = np.asarray(loss, np.result_type(y.dtype, np.float32))
    if not y.requires_grad or gradient is None:
        return Tensor(value)
    _checks.shape("gradient", gradient, y.shape, "of y")

    def back(g: Any) -> Any:
        if not g.ndim and g == 1:  # that of the objective itself
            return gradient
        return gradient * g.reshape(g.shape + (1,) * (gradient.ndim - g.ndim))

    return computed(value, (y, back))


def _parts(state: Any) -> list[Any]:
    return list(state) if isinstance(state, (tuple, list)) else [state]


def _read_only(array: Array) -> Array:
    view: Array = array.view()
    view.flags.writeable = False
    return view


def _in_evaluation(layer: Layer, *inputs: Tensor) -> Node | None:
    """What stands for a call in evaluation mode: nothing, if no gradient can go to its inputs."""
    if not any(x.requires_grad for x in inputs):
        return None
    return ended(
        f"{type(layer).__name__}: expected training mode in a call that a gradient goes through, "
        "as a call in evaluation mode keeps nothing for it; switch to training before the call, or "
        "give it `x.detach()`, by which no gradient is taken"
    )


def _check_device(layer: Layer) -> None:
    if layer._on is not _backend.CPU:
        raise TypeError(
            f"{type(layer).__name__}: expected a layer on the CPU, as operations on tensors are "
            f"NumPy's, got one on device {layer._on.name!r}; there, call it with an array and take "
            "gradients by `layer.call` and `call.backward`"
        )
