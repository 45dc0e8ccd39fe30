"""The engine as primitives of JAX, and their rules.

`forward` runs a network. Its derivative is `tangent`, which is linear in the tangents and whose
transpose is `backward`: gradients in reverse mode are therefore those of the engine. Everything
else, namely `tangent` itself and the derivatives of `tangent` and `backward`, is computed step by
step (`stepwise.py`), and so is `forward` on other devices than the CPU. The reserve is an array of
bytes like any other value of a program, which JAX may keep, copy or recompute.

The arrays of a call are its *operands*: see `Call.parts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from rnnfast import _core
from rnnfast.jax import stepwise
from rnnfast.jax.call import Arrays, Call

Flags: TypeAlias = "tuple[bool, ...]"
"""Which of some arrays are there."""

_TARGETS = dict(zip(("rnnfast_forward", "rnnfast_backward"), _core.xla_handlers(), strict=True))
for _name, _handler in _TARGETS.items():
    jax.ffi.register_ffi_target(_name, _handler, platform="cpu")


def forward(*operands: Any, call: Call) -> Arrays:
    """Return y (T, B, D*H) and the final states, (L*D, B, H) each."""
    results: Arrays = _forward.bind(*operands, call=call, training=False)
    return results


def _call_engine(target: str, results: Sequence[ShapedArray], call: Call, **attributes: Any) -> Any:
    shapes = [jax.ShapeDtypeStruct(r.shape, r.dtype) for r in results]
    numbers = {k: jnp.int64.dtype.type(v) for k, v in call._asdict().items() if type(v) is int}
    return partial(jax.ffi.ffi_call(target, shapes), **{**call._asdict(), **numbers}, **attributes)


def _marks(flags: Flags) -> str:
    return "".join("1" if flag else "0" for flag in flags)


def _chosen(values: Sequence[Any], flags: Flags) -> list[Any]:
    return [value for value, flag in zip(values, flags, strict=True) if flag]


def _is_moving(tangent: Any) -> bool:
    return type(tangent) is not ad.Zero


def _differential(
    function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], flags: Flags
) -> Any:
    """Return the derivative of a function in the direction of tangents of some of its arguments."""

    def of_moving(*moving: Any) -> Any:
        values = iter(moving)
        return function(*(next(values) if f else p for p, f in zip(primals, flags, strict=True)))

    return jax.jvp(of_moving, _chosen(primals, flags), list(tangents))[1]


# forward: operands -> y, final states, and the reserve if training


def _forward_shapes(*operands: Any, call: Call, training: bool) -> list[ShapedArray]:
    x, width = operands[0], call.proj_size or call.hidden_size
    T, B, I = x.shape
    results = [ShapedArray((T, B, call.num_directions * width), x.dtype)]
    results += [ShapedArray(shape, x.dtype) for shape in call.state_shapes(B)]
    if training:
        sizes = T, B, I, call.hidden_size, call.proj_size
        is_double, options = x.dtype == jnp.float64, call.options(True)
        size = _core.xla_reserve_bytes(options, *sizes, is_double, call.has_lengths)
        results.append(ShapedArray((size,), jnp.dtype(jnp.uint8)))
    return results


def _forward_engine(*operands: Any, call: Call, training: bool) -> Any:
    shapes = _forward_shapes(*operands, call=call, training=training)
    return _call_engine("rnnfast_forward", shapes, call, training=training)(*operands)


def _forward_stepwise(*operands: Any, call: Call, training: bool) -> Arrays:
    results = stepwise.forward(*operands, call=call)
    shapes = _forward_shapes(*operands, call=call, training=training)
    return results + [jnp.zeros(r.shape, r.dtype) for r in shapes[len(results) :]]


def _forward_derivative(
    operands: Sequence[Any], tangents: Sequence[Any], *, call: Call, training: bool
) -> tuple[list[Any], list[Any]]:
    *results, reserve = _forward.bind(*operands, call=call, training=True)
    moving = tuple(map(_is_moving, tangents))
    derivatives = _tangent.bind(
        *operands, reserve, *_chosen(tangents, moving), call=call, moving=moving
    )
    if training:
        return [*results, reserve], [
            *derivatives,
            ad.Zero(ShapedArray(reserve.shape, jax.dtypes.float0)),
        ]
    return results, derivatives


def _forward_batched(
    operands: Sequence[Any], axes: Sequence[int | None], *, call: Call, training: bool
) -> tuple[Any, list[int]]:
    """Turn a mapped axis into more sequences, if all share the weights.

    With a reserve, gradients may follow, which the weights then have for each element of the axis.
    """
    _, weights, _, _ = call.parts(axes)
    if training or any(axis is not None for of_layer in weights for axis in of_layer):
        bind = partial(_forward.bind, call=call, training=training)
        return _one_by_one(bind, operands, axes)
    size = next(o.shape[a] for o, a in zip(operands, axes, strict=True) if a is not None)

    def fold(operand: Any, axis: int | None) -> Any:
        batch = 0 if operand.ndim == (1 if axis is None else 2) else 1  # of the lengths, or others
        if axis is None:
            operand = jnp.broadcast_to(
                jnp.expand_dims(operand, batch),
                (*operand.shape[:batch], size, *operand.shape[batch:]),
            )
        else:
            operand = jnp.moveaxis(operand, axis, batch)
        shape = operand.shape
        merged = shape[batch] * shape[batch + 1]
        return operand.reshape(*shape[:batch], merged, *shape[batch + 2 :])

    x, _, state, lengths = call.parts([*zip(operands, axes, strict=True)])
    end = len(operands) - len(state) - call.has_lengths
    others = state if lengths is None else [*state, lengths]
    folded = [fold(*x), *operands[1:end], *(fold(*other) for other in others)]
    results = _forward.bind(*folded, call=call, training=False)
    input_, axis = x
    batch = [n for i, n in enumerate(input_.shape) if i != axis][1]
    split = [r.reshape(r.shape[0], size, batch, r.shape[2]) for r in results]
    return split, [1] * len(results)


def _one_by_one(
    function: Callable[..., Any], operands: Sequence[Any], axes: Sequence[int | None]
) -> tuple[Any, list[int]]:
    """Call a function for each element of a mapped axis."""
    mapped = tuple(axis is not None for axis in axes)
    along = [jnp.moveaxis(o, a, 0) for o, a in zip(operands, axes, strict=True) if a is not None]

    def call(of_element: list[Any]) -> Any:
        values = iter(of_element)
        return function(*(next(values) if m else o for o, m in zip(operands, mapped, strict=True)))

    results = jax.lax.map(call, along)
    return results, [0] * len(results)


# tangent: operands, reserve, tangents of some operands -> tangents of y and of the final states


def _tangent_shapes(*operands: Any, call: Call, moving: Flags) -> list[ShapedArray]:
    return _forward_shapes(*operands[: len(moving)], call=call, training=False)


def _tangent_stepwise(*arrays: Any, call: Call, moving: Flags) -> Any:
    count = len(moving)
    function = partial(stepwise.forward, call=call)
    return _differential(function, arrays[:count], arrays[count + 1 :], moving)


def _tangent_transposed(
    gradients: Sequence[Any], *arrays: Any, call: Call, moving: Flags
) -> list[Any]:
    count = len(moving)
    given = tuple(map(_is_moving, gradients))
    if not any(given):
        return [None] * len(arrays)
    found = _backward.bind(
        *arrays[: count + 1], *_chosen(gradients, given), call=call, given=given, wanted=moving
    )
    return [None] * (count + 1) + list(found)


def _tangent_batched(
    arrays: Sequence[Any], axes: Sequence[int | None], **parameters: Any
) -> tuple[Any, list[int]]:
    results = jax.vmap(partial(_tangent_stepwise, **parameters), tuple(axes))(*arrays)
    return results, [0] * len(results)


# backward: operands, reserve, gradients of some of y and the final states -> gradients of the
# wanted operands


def _backward_shapes(*arrays: Any, call: Call, given: Flags, wanted: Flags) -> list[ShapedArray]:
    del call, given
    return [ShapedArray(o.shape, o.dtype) for o in _chosen(arrays[: len(wanted)], wanted)]


def _backward_engine(*arrays: Any, call: Call, given: Flags, wanted: Flags) -> Any:
    shapes = _backward_shapes(*arrays, call=call, given=given, wanted=wanted)
    marks = {"given": _marks(given), "wanted": _marks(wanted)}
    return _call_engine("rnnfast_backward", shapes, call, **marks)(*arrays)


def _backward_stepwise(*arrays: Any, call: Call, given: Flags, wanted: Flags) -> Any:
    operands, gradients = arrays[: len(wanted)], arrays[len(wanted) + 1 :]

    def function(*of_wanted: Any) -> list[Any]:
        values = iter(of_wanted)
        inputs = (next(values) if w else o for o, w in zip(operands, wanted, strict=True))
        return _chosen(stepwise.forward(*inputs, call=call), given)

    return list(jax.vjp(function, *_chosen(operands, wanted))[1](list(gradients)))


def _batched_one_by_one(primitive: Primitive) -> Callable[..., Any]:
    def rule(arrays: Sequence[Any], axes: Sequence[int | None], **parameters: Any) -> Any:
        return _one_by_one(partial(primitive.bind, **parameters), arrays, axes)

    return rule


def _derivative_stepwise(primitive: Primitive, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule for a primitive whose derivative is that of a function of JAX operations."""

    def rule(
        primals: Sequence[Any], tangents: Sequence[Any], **parameters: Any
    ) -> tuple[list[Any], list[Any]]:
        moving = tuple(map(_is_moving, tangents))
        results = primitive.bind(*primals, **parameters)
        function_of = partial(function, **parameters)
        return results, _differential(function_of, primals, _chosen(tangents, moving), moving)

    return rule


def _primitive(
    name: str, shapes: Callable[..., Any], on_cpu: Callable[..., Any], elsewhere: Callable[..., Any]
) -> Primitive:
    primitive = Primitive(f"rnnfast_{name}")
    primitive.multiple_results = True
    parameters = ("call", "training", "moving", "given", "wanted")
    primitive.def_impl(jax.jit(primitive.bind, static_argnames=parameters))
    primitive.def_abstract_eval(shapes)
    mlir.register_lowering(primitive, mlir.lower_fun(elsewhere))
    mlir.register_lowering(primitive, mlir.lower_fun(on_cpu), platform="cpu")
    return primitive


_forward = _primitive("forward", _forward_shapes, _forward_engine, _forward_stepwise)
ad.primitive_jvps[_forward] = _forward_derivative
batching.primitive_batchers[_forward] = _forward_batched

_tangent = _primitive("tangent", _tangent_shapes, _tangent_stepwise, _tangent_stepwise)
ad.primitive_jvps[_tangent] = _derivative_stepwise(_tangent, _tangent_stepwise)
ad.primitive_transposes[_tangent] = _tangent_transposed
batching.primitive_batchers[_tangent] = _tangent_batched

_backward = _primitive("backward", _backward_shapes, _backward_engine, _backward_stepwise)
ad.primitive_jvps[_backward] = _derivative_stepwise(_backward, _backward_stepwise)
batching.primitive_batchers[_backward] = _batched_one_by_one(_backward)
