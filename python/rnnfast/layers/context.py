"""The context of a recurrent layer: numbers that its gates read in every step beside the input.

A context v adds W_c v to the input part of the gates of each layer and direction, each with a
weight W_c of its own.

Sizes: T seq_len, B batch, C context_size, G row blocks of a cell's weight_ih, H hidden_size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rnnfast import _core
from rnnfast._engine import backends, checks
from rnnfast._engine.backends import CPU, Backend
from rnnfast._engine.checks import RealArray
from rnnfast.layers.arrays import check_unchanged, trained_gradient
from rnnfast.layers.axes import time_first
from rnnfast.layers.parameter import Parameter


class KeptContext(NamedTuple):
    """What a call keeps for the gradient of its context.

    Attributes:
        values: The context, (B, C) or (T, B, C).
        fingerprints: Fingerprints of the context with each weight, on the CPU.
    """

    values: RealArray
    fingerprints: list[int]


class ContextWeights:
    """The weights of a layer's context.

    Args:
        backend: The backend of the layer.
        size: C.
        parameters: weight_ch (G*H, C) of each layer and direction.
    """

    def __init__(self, backend: Backend, size: int, parameters: Sequence[Parameter]) -> None:
        self._backend, self._size, self._parameters = backend, size, list(parameters)

    @property
    def values(self) -> list[RealArray]:
        """The weights."""
        return [parameter.value for parameter in self._parameters]

    def checked(self, context: Any, x: ArrayLike, batch_first: bool) -> RealArray:
        """Return the context of a call as (B, C) or (T, B, C), after checking it.

        Args:
            context: The argument of the call.
            x: The input of the call, whose leading axes are T and B, or B and T.
            batch_first: Whether the batch axis comes first.

        Raises:
            ValueError: It is None, or has another shape.
            TypeError: It does not hold real numbers.
        """
        given = tuple(backends.given("x", x).shape[:2])
        if len(given) < 2:
            raise ValueError(f"x: expected at least 2 axes, of steps and sequences, got {given}")
        of_sequences = given[0 if batch_first else 1 :][:1]
        axes = "batch, seq_len" if batch_first else "seq_len, batch"
        expected = (
            f"(batch, context_size) = {(*of_sequences, self._size)}, or ({axes}, context_size) = "
            f"{(*given, self._size)}"
        )
        if context is None:
            raise ValueError(
                f"context: expected shape {expected}, as the layer has context_size = "
                f"{self._size}, got None"
            )
        values: RealArray = backends.given("context", context)
        if values.shape not in ((*of_sequences, self._size), (*given, self._size)):
            raise ValueError(f"context: expected shape {expected}, got {values.shape}")
        dtype = self._parameters[0].value.dtype
        values = checks.real_array("context", values, dtype, " (the layer's)", self._backend)
        if batch_first and values.ndim == 3:
            values = self._backend.contiguous(time_first("context", values))
        return values

    def gates(self, values: RealArray) -> list[RealArray]:
        """Return W_c v of each layer and direction: (B, G*H), or (T, B, G*H)."""
        forward = self._backend.linear_forward
        return [forward(x=values, weight=p.value, bias=None) for p in self._parameters]

    def kept(self, values: RealArray) -> KeptContext:
        """Return what the gradients of a call need."""
        arrays = self._parameters if self._backend is CPU else []
        return KeptContext(values, [_core.fingerprint(values, p.value) for p in arrays])

    def new_gradients(self, kept: KeptContext) -> list[RealArray]:
        """Return zeros in the shapes of `gates`, to which a call's gradients are added."""
        leading, dtype = kept.values.shape[:-1], kept.values.dtype
        return [np.zeros((*leading, len(p.value)), dtype) for p in self._parameters]

    def check_unchanged(self, kept: KeptContext) -> None:
        """Check that the context and the weights are those of the call.

        Raises:
            RuntimeError: They have changed.
        """
        for parameter, fingerprint in zip(self._parameters, kept.fingerprints, strict=False):
            check_unchanged(
                fingerprint,
                kept.values,
                parameter.value,
                "context, weight_ch",
                "pass a copy of the context to forward, and change the weight after backward",
            )

    def add_gradients(
        self, kept: KeptContext, dgates: Sequence[RealArray], dcontext: RealArray | None
    ) -> None:
        """Add the gradients of a call to those of the weights, and to `dcontext` if given.

        Args:
            kept: What the call kept.
            dgates: The gradients of `gates`.
            dcontext: (B, C) or (T, B, C).
        """
        for parameter, dy in zip(self._parameters, dgates, strict=True):
            dx = self._backend.linear_backward(
                dy=dy,
                x=kept.values,
                weight=parameter.value,
                dweight=trained_gradient(parameter),
                dbias=None,
                need_dx=dcontext is not None,
            )
            if dcontext is not None:
                dcontext += dx

    def checked_gradient(
        self, dcontext: Any, kept: KeptContext, batch_first: bool
    ) -> RealArray | None:
        """Return the argument `dcontext` of `backward` as (B, C) or (T, B, C); it may be a view."""
        if dcontext is None:
            return None
        if not isinstance(dcontext, np.ndarray) or dcontext.dtype != kept.values.dtype:
            got = getattr(dcontext, "dtype", type(dcontext).__name__)
            raise TypeError(
                f"dcontext: expected an array of {kept.values.dtype} to add to, got {got}"
            )
        if not dcontext.flags.writeable:
            raise ValueError("dcontext: expected a writable array to add to, got a read-only one")
        turns = batch_first and kept.values.ndim == 3 == dcontext.ndim
        turned: RealArray = dcontext.swapaxes(0, 1) if turns else dcontext
        checks.shape("dcontext", turned, kept.values.shape, "of the context")
        return turned
