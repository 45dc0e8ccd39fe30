"""The recording of layer calls and losses as nodes of the graph.

A layer checks the type of its first argument and passes a `Tensor` to the functions here, so that
calls with arrays cost nothing more than this check. The node that is recorded holds the call that
`layer.call(x)` returns, and takes gradients by its `backward`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

import numpy as np
from numpy.typing import ArrayLike

from rnnfast._engine import backends, checks
from rnnfast.autograd.node import Array, Node
from rnnfast.autograd.tensor import Tensor, computed

P = ParamSpec("P")
Number = TypeVar("Number", covariant=True)


class _Loss(Protocol[P, Number]):
    """A loss of an array or a tensor."""

    @overload
    def __call__(self, y: Tensor, /, *args: P.args, **options: P.kwargs) -> Tensor: ...
    @overload
    def __call__(
        self, y: ArrayLike, /, *args: P.args, **options: P.kwargs
    ) -> tuple[Number, Array]: ...


class _Layer(Protocol):
    """The part of a layer that this module uses."""

    training: bool
    _backend: backends.Backend

    @property
    def call(self) -> Callable[..., Any]: ...


def recorded_call(layer: _Layer, x: Tensor, *args: Any) -> Tensor:
    """Call a layer with a tensor, and record the call; layers do this in `__call__`.

    Args:
        layer: A layer whose `call` takes the value of x and the other arguments, and returns an
            object with `y` and `backward(dy, need_dx=...)`, which returns dx.
        x: First argument of the layer.
        args: Other arguments of the layer.

    Returns:
        y. In evaluation mode nothing is recorded, and taking a gradient through y to x raises an
        error.

    Raises:
        TypeError: The layer is not on the CPU, which tensors require.
    """
    if layer._backend is not backends.CPU:
        _refuse_device(layer)
    value, source = x.value, x._source
    call = layer.call(value, *args) if args else layer.call(value)
    y = call.y
    if not layer.training:
        return Tensor(y, None if source is None else _in_evaluation(layer))
    if y is not value:
        y.setflags(write=False)
    if source is not None:
        dtype = value.dtype
        back = lambda dy: (call.backward(dy).astype(dtype, copy=False),)  # noqa: E731
        return Tensor(y, Node(((source, x._place),), back))

    def of_parameters(dy: Array) -> tuple[()]:
        call.backward(dy, need_dx=False)
        return ()

    return Tensor(y, Node((), of_parameters))


def recorded_recurrent_call(
    layer: _Layer, x: Tensor, state: Any, lengths: Any, reset: Any, context: Any
) -> tuple[Tensor, Any]:
    """Call a recurrent layer with a tensor, and record the call.

    Args:
        layer: The layer.
        x: Input of the layer.
        state: Initial state in the layer's structure, of tensors, parameters, arrays and None.
        lengths: The argument `lengths` of the layer.
        reset: Its argument `reset`.
        context: Its argument `context`, a tensor, a parameter, an array or None.

    Returns:
        y, as in `recorded_call`, and the final state in the layer's structure.

    Raises:
        TypeError: The layer is not on the CPU, which tensors require.
    """
    if layer._backend is not backends.CPU:
        _refuse_device(layer)
    given: list[Any] = []
    values: Any = None
    if state is not None:
        given = [part.tensor() if hasattr(part, "tensor") else part for part in _parts(state)]
        values = [part.value if type(part) is Tensor else part for part in given]
        values = values if isinstance(state, (tuple, list)) else values[0]
    if hasattr(context, "tensor"):
        context = context.tensor()
    is_tensor = type(context) is Tensor
    of_context = context.value if is_tensor else context
    call = layer.call(x.value, values, lengths, reset, of_context)
    y, final = call.y, call.state
    sources, wanted = [], []
    for i, part in enumerate((x, context, *given)):
        if type(part) is Tensor and part._source is not None:
            sources.append((part._source, part._place))
            wanted.append((i, part.value.dtype))
    if not layer.training:
        node = _in_evaluation(layer) if wanted else None
    else:
        need_dx = x._source is not None
        need_dcontext = is_tensor and context._source is not None

        def pullback(dy: Array | None, *dstates: Array | None) -> Sequence[Array]:
            dstate = dstates if len(dstates) > 1 else dstates[0]
            dcontext = np.zeros(of_context.shape, y.dtype) if need_dcontext else None
            dx, dinitial = call.backward(dy, dstate, need_dx=need_dx, dcontext=dcontext)
            if not wanted:
                return ()
            gradients = (dx, dcontext, *_parts(dinitial))
            return [gradients[i].astype(dtype, copy=False) for i, dtype in wanted]

        node = Node(sources, pullback, 1 + len(_parts(final)))
    if isinstance(final, tuple):
        return Tensor(y, node), tuple(Tensor(part, node, i) for i, part in enumerate(final, 1))
    return Tensor(y, node), Tensor(final, node, 1)


def recorded(y: Tensor, loss: Any, gradient: Array | None) -> Tensor:
    """Return a loss as a tensor, for a loss function that was called with a tensor.

    Args:
        y: Tensor that the loss was computed from.
        loss: A number, or an array of losses over the leading axes of y, each of which depends only
            on the elements of y at its index.
        gradient: Gradient of the loss, or of the sum of the losses, with respect to y, in y's
            shape; it may be None if y does not require one.

    Returns:
        The loss in the dtype of y, as a tensor through which gradients reach y.

    Raises:
        ValueError: The gradient has another shape.
    """
    value = np.asarray(loss, np.result_type(y.dtype, np.float32))
    if not y.requires_grad or gradient is None:
        return Tensor(value)
    checks.shape("gradient", gradient, y.shape, "of y")

    return computed(value, (y, by_loss(gradient)))


def by_loss(gradient: Array) -> Callable[[Array], Array]:
    """Return the pullback of a loss, given its gradient as in `recorded`."""

    def back(g: Array) -> Array:
        if not g.ndim and g == 1:  # the loss is itself the objective
            return gradient
        return gradient * g.reshape(g.shape + (1,) * (gradient.ndim - g.ndim))

    return back


def takes_tensors(
    loss: Callable[Concatenate[ArrayLike, P], tuple[Number, Array]],
) -> _Loss[P, Number]:
    """Let a loss take a `Tensor` as its first argument; use it to decorate losses of your own.

    Args:
        loss: A function that takes an array and returns the loss and its gradient with respect to
            the array, as described in `recorded`.

    Returns:
        The same function, except that it returns the loss as a `Tensor` if its first positional
        argument is a `Tensor`.
    """

    @wraps(loss)
    def either(*args: Any, **options: Any) -> Any:
        if args and type(args[0]) is Tensor:
            return recorded(args[0], *loss(args[0].value, *args[1:], **options))
        return loss(*args, **options)

    return cast("_Loss[P, Number]", either)


def _parts(state: Any) -> Sequence[Any]:
    return state if isinstance(state, (tuple, list)) else (state,)


def _in_evaluation(layer: _Layer) -> Node:
    """Return the node of a call in evaluation mode, which refuses to take gradients."""
    return Node(
        (),
        f"{type(layer).__name__}: expected training mode, as a call in evaluation mode keeps no "
        "values for the gradient; switch to training before the call, or pass `x.detach()`, which "
        "needs no gradient",
    )


def _refuse_device(layer: _Layer) -> None:
    raise TypeError(
        f"{type(layer).__name__}: expected a layer on the CPU, as operations on tensors are "
        f"NumPy's, got one on device {layer._backend.name!r}; there, call it with an array, and "
        "take gradients with `layer.call` and `call.backward`"
    )
